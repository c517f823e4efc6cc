// Another process says hello, and both sides know until when they wait.
#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>

#include <array>
#include <cstdio>
#include <string_view>

using namespace parley;
using namespace std::chrono_literals;

auto main() -> int {
  auto pipe = os::Pipe::create().value();
  auto child =
      os::Child::fork([&] {
        constexpr std::string_view text = "hello from another process\n";
        return pipe.writer.write(std::as_bytes(std::span(text)), Deadline::after(1s)) ? 0 : 1;
      }).value();
  std::array<std::byte, 64> buffer{};
  const auto count = pipe.reader.read(buffer, Deadline::after(1s)).value();
  std::fwrite(buffer.data(), 1, count, stdout);
  return child.wait(Deadline::after(1s)).value().succeeded() ? 0 : 1;
}
