// A parent opens a file and hands it to a child that may not open it: the descriptor itself
// travels.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/socket.hpp>

#include <array>
#include <cstdio>
#include <span>
#include <string_view>
#include <utility>

using namespace parley::os;
using namespace std::chrono_literals;
using parley::Deadline;

namespace {

auto count_lines(BorrowedFd file) -> int {
  int lines = 0;
  std::array<char, 4096> block{};
  for (;;) {
    const auto count = read(file.number(), block.data(), block.size());
    if (count <= 0) return lines;
    for (const char character : std::span(block).first(static_cast<std::size_t>(count))) {
      if (character == '\n') ++lines;
    }
  }
}

auto receive_and_count(Socket& socket) -> parley::Result<void> {
  std::array<std::byte, 64> name{};
  const auto message = PARLEY_TRY(socket.receive_message({.into = name}, Deadline::after(10s)));
  // The sender's identity is the kernel's word, not the sender's.
  const auto who = message.ancillary.credentials.value_or(Credentials{});
  for (const OwnedFd& file : message.ancillary.descriptors) {
    std::printf("user %u handed over %.*s: %d lines\n", who.uid,
                static_cast<int>(message.size_bytes), reinterpret_cast<const char*>(name.data()),
                count_lines(file));
  }
  std::fflush(stdout);
  return {};
}

}  // namespace

auto main() -> int {
  auto [ours, theirs] = Socket::pair(SocketType::seqpacket).value();
  if (!theirs.set(option::pass_credentials, true)) return 1;
  const pid_t child = fork();
  if (child == 0) _exit(receive_and_count(theirs) ? 0 : 1);

  const char* const path = "/proc/self/status";
  const std::string_view name = path;
  const auto file = OwnedFd::from_number(open(path, O_RDONLY | O_CLOEXEC));
  const std::array<BorrowedFd, 1> files{file};
  const auto sent = ours.send_message(
      {.bytes = std::as_bytes(std::span(name)), .attachments = {.descriptors = files}},
      Deadline::after(10s));
  int status = 0;
  return sent && waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
