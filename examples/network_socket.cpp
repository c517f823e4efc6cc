// A client finds a server by name, connects over TCP and gets its bytes back.
#include <parley/os/socket.hpp>

#include <array>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <thread>

using namespace parley::os;
using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Result;

namespace {

auto echo_once(Listener& listener) -> Result<void> {
  auto caller = PARLEY_TRY(listener.accept(Deadline::after(10s)));
  std::array<std::byte, 1024> block{};
  for (;;) {
    const auto received = PARLEY_TRY(caller.receive(block, Deadline::after(10s)));
    if (received.ended) return {};
    PARLEY_TRY(caller.send(std::span(block).first(received.size_bytes), Deadline::after(10s)));
  }
}

/// Tries each address of the name in turn, as a host may have several.
auto connect_by_name(const std::string& host, const std::string& service) -> Result<Socket> {
  Error last = Error::not_found;
  for (const Address& address : PARLEY_TRY(resolve(host, service))) {
    auto socket = PARLEY_TRY(Socket::create(address.family(), SocketType::stream));
    const auto connected = socket.connect(address, Deadline::after(5s));
    if (connected) return socket;
    std::printf("%s: %s\n", address.text().c_str(), parley::message(connected.error()).c_str());
    last = connected.error();
  }
  return parley::failure(last);
}

auto talk(std::uint16_t port) -> Result<void> {
  auto socket = PARLEY_TRY(connect_by_name("127.0.0.1", std::to_string(port)));
  PARLEY_TRY(socket.set(option::tcp_no_delay, true));
  constexpr std::string_view line = "there and back again\n";
  PARLEY_TRY(socket.send(std::as_bytes(std::span(line)), Deadline::after(10s)));
  PARLEY_TRY(socket.shutdown(Direction::sending));
  std::array<std::byte, line.size()> back{};
  const auto count = PARLEY_TRY(socket.receive_all(back, Deadline::after(10s)));
  std::fwrite(back.data(), 1, count, stdout);
  return {};
}

}  // namespace

auto main() -> int {
  auto listener = Listener::create(Address::loopback_ipv4(0)).value();
  Result<void> served;
  std::jthread server([&] { served = echo_once(listener); });
  const auto talked = talk(*listener.local_address().value().port());
  server.join();
  return talked && served ? 0 : 1;
}
