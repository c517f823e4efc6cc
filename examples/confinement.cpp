// A worker gives up every right to open something, then counts the lines of what it is handed.
#include <fcntl.h>
#include <parley/os/child.hpp>
#include <parley/os/confinement.hpp>
#include <parley/os/pipe.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <span>
#include <string_view>
#include <utility>

using parley::Deadline;
using namespace parley::os;
using namespace std::chrono_literals;

namespace {

auto count_lines(PipeReader& untrusted) -> int {
  const auto report = Confinement::enter();
  if (!report) {
    std::fprintf(stderr, "not confined: %s\n", message(report.error()).c_str());
    return 255;
  }
  // From here on a mistake in the parsing opens nothing: no file, no socket, no program.
  if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0) return 254;

  std::array<std::byte, 4096> buffer{};
  auto lines = std::ptrdiff_t{0};
  while (const auto count = untrusted.read(buffer, Deadline::after(10s)).value()) {
    lines += std::ranges::count(std::span(buffer).first(count), std::byte{'\n'});
  }
  return static_cast<int>(lines);
}

}  // namespace

auto main() -> int {
  auto pipe = Pipe::create().value();
  auto worker = Child::fork(
                    [&] {
                      static_cast<void>(std::move(pipe.writer).into_fd());
                      return count_lines(pipe.reader);
                    },
                    {.die_with_parent = true})
                    .value();
  constexpr std::string_view text = "one\ntwo\nthree\n";
  pipe.writer.write(std::as_bytes(std::span(text)), Deadline::after(10s)).value();
  static_cast<void>(std::move(pipe.writer).into_fd());

  const auto status = worker.wait(Deadline::after(10s)).value();
  std::printf("%d lines, counted by a process that can open nothing\n", status.value);
  return status == ExitStatus{ExitStatus::Kind::exited, 3} ? 0 : 1;
}
