// A child sends a line to its parent; the end of the pipe tells that the child is done.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/pipe.hpp>

#include <array>
#include <cstdio>
#include <string_view>

using parley::Deadline;
using namespace std::chrono_literals;

auto main() -> int {
  auto pipe = parley::os::Pipe::create().value();
  const pid_t child = fork();
  if (child == 0) {
    constexpr std::string_view line = "hello through a pipe\n";
    _exit(pipe.writer.write(std::as_bytes(std::span(line)), Deadline::never()) ? 0 : 1);
  }
  // Our own copy of the writing end must go, or the pipe would never end.
  static_cast<void>(std::move(pipe.writer).into_fd());

  std::array<std::byte, 64> buffer{};
  while (const auto count = pipe.reader.read(buffer, Deadline::after(10s)).value()) {
    std::fwrite(buffer.data(), 1, count, stdout);
  }
  return waitpid(child, nullptr, 0) == child ? 0 : 1;
}
