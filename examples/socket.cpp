// A server and a client of two processes talk over a path; the server learns who calls.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/socket.hpp>

#include <array>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

using namespace parley::os;
using namespace std::chrono_literals;
using parley::Deadline;

namespace {

auto ask(const Address& where) -> parley::Result<void> {
  auto socket = PARLEY_TRY(Socket::create(Family::local, SocketType::seqpacket));
  PARLEY_TRY(socket.connect(where, Deadline::after(10s)));
  constexpr std::string_view question = "what is the time?";
  PARLEY_TRY(socket.send(std::as_bytes(std::span(question)), Deadline::after(10s)));
  std::array<std::byte, 64> answer{};
  const auto received = PARLEY_TRY(socket.receive(answer, Deadline::after(10s)));
  std::fwrite(answer.data(), 1, received.size_bytes, stdout);
  std::fflush(stdout);
  return {};
}

auto serve(Listener& listener) -> parley::Result<void> {
  auto caller = PARLEY_TRY(listener.accept(Deadline::after(10s)));
  std::array<std::byte, 64> question{};
  PARLEY_TRY(caller.receive(question, Deadline::after(10s)));
  const auto who = PARLEY_TRY(caller.peer_credentials());
  const std::string answer = "late, user " + std::to_string(who.uid) + "\n";
  PARLEY_TRY(caller.send(std::as_bytes(std::span(answer)), Deadline::after(10s)));
  return {};
}

}  // namespace

auto main() -> int {
  const auto where = Address::local("/tmp/parley-example-" + std::to_string(getpid())).value();
  auto listener = Listener::create(where, {.type = SocketType::seqpacket}).value();
  const pid_t child = fork();
  if (child == 0) _exit(ask(where) ? 0 : 1);

  const auto served = serve(listener);
  const auto unlinked = listener.unlink();  // a path outlives its socket
  int status = 0;
  const bool child_is_well = waitpid(child, &status, 0) == child && status == 0;
  return served && unlinked && child_is_well ? 0 : 1;
}
