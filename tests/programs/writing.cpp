// A program that claims the writer's end of the Stream that it is given at descriptor 3, writes a
// few words and closes it.
#include <span>
#include <string_view>

#include <parley/os/child.hpp>
#include <parley/stream.hpp>

auto main() -> int {
  auto descriptor = parley::os::Child::inherited(3);
  if (!descriptor) return 1;
  auto stream = parley::Stream::adopt(std::move(*descriptor));
  if (!stream) return 2;
  auto writer = stream->writer();
  if (!writer) return 3;
  const std::string_view words = "from the program";
  return writer->write(std::as_bytes(std::span(words)), parley::Deadline::now()) ? 0 : 4;
}
