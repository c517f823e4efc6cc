// Sends itself three bytes: enough to need the headers, the library and what it links.
#include <parley/os/pipe.hpp>

#include <array>
#include <cstddef>

using parley::Deadline;

auto main() -> int {
  auto pipe = parley::os::Pipe::create().value();
  const std::array<std::byte, 3> sent{std::byte{1}, std::byte{2}, std::byte{3}};
  pipe.writer.write(sent, Deadline::now()).value();
  std::array<std::byte, 3> received{};
  const auto count = pipe.reader.read_all(received, Deadline::now()).value();
  return count == sent.size() && received == sent ? 0 : 1;
}
