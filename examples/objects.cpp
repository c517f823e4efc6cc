// An object without a name is handed to one process, over a local socket, and to nobody else.
#include <parley/os/child.hpp>
#include <parley/os/socket.hpp>
#include <parley/semaphore_set.hpp>

#include <array>
#include <cstdio>
#include <utility>

using namespace parley::os;
using namespace std::chrono_literals;
using parley::Deadline;
using parley::Semaphore;

namespace {

auto receive_and_wait(Socket& socket) -> parley::Result<void> {
  std::array<std::byte, 16> what{};
  auto message = PARLEY_TRY(socket.receive_message({.into = what}, Deadline::after(10s)));
  if (message.ancillary.descriptors.empty()) return parley::failure(parley::Error::invalid);
  // Adopting checks that it is whole, and a semaphore, before anything in it is believed.
  auto bell = PARLEY_TRY(Semaphore::adopt(std::move(message.ancillary.descriptors.front())));
  PARLEY_TRY(bell.wait(Deadline::after(10s)));
  std::puts("the bell rang");
  return {};
}

}  // namespace

auto main() -> int {
  auto [ours, theirs] = Socket::pair(SocketType::seqpacket).value();
  auto child = Child::fork([&] {
                 const auto done = receive_and_wait(theirs);
                 std::fflush(stdout);
                 return done ? 0 : 1;
               }).value();

  auto bell = Semaphore::create(0).value();  // the child was there before: it inherited nothing
  const std::array<BorrowedFd, 1> objects{bell.descriptor()};
  constexpr std::array letter{std::byte{'b'}};
  if (!ours.send_message({.bytes = letter, .attachments = {.descriptors = objects}},
                         Deadline::after(10s))) {
    return 1;
  }
  if (!bell.post()) return 1;
  return child.wait(Deadline::after(10s)).value().succeeded() ? 0 : 1;
}
