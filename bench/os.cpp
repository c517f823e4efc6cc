#include "os.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>

#include <parley/os/pipe.hpp>

#include "paired.hpp"

namespace parley::bench {
namespace {

using Message = std::array<std::byte, 64>;

void pipe() {
  auto typed = parley::os::Pipe::create().value();
  std::array<int, 2> bare{};
  if (pipe2(bare.data(), O_CLOEXEC) != 0) return;
  Message message{};
  paired(
      "pipe: write and read 64 bytes",
      [&] {
        typed.writer.write(message, Deadline::never()).value();
        keep(typed.reader.read(message, Deadline::never()).value());
      },
      [&] {
        keep(write(bare[1], message.data(), message.size()));
        keep(read(bare[0], message.data(), message.size()));
      });
  close(bare[0]);
  close(bare[1]);
}

}  // namespace

void os() {
  print_heading("parley::os", "bare calls");
  pipe();
}

}  // namespace parley::bench
