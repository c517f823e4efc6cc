#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "support/descriptors.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::TempDir;

namespace {

auto client() -> Socket {
  return Socket::create(Family::local, SocketType::stream).value();
}

/// Sends one byte from each end to the other and sees it come.
void check_connected(Socket& one, Socket& other) {
  std::array<std::byte, 1> byte{};
  REQUIRE(one.send(bytes_of("1"), Deadline::after(5s)));
  CHECK(other.receive(byte, Deadline::after(5s)).value().size_bytes == 1);
  REQUIRE(other.send(bytes_of("2"), Deadline::after(5s)));
  CHECK(one.receive(byte, Deadline::after(5s)).value().size_bytes == 1);
}

}  // namespace

TEST_CASE("a client connects to a path, to an abstract name and to one that the kernel chose") {
  const TempDir directory;
  const auto abstract = Address::abstract("parley-test-" + std::to_string(getpid())).value();
  for (const auto type : {SocketType::stream, SocketType::seqpacket}) {
    for (const Address& where :
         {Address::local(directory / "socket").value(), abstract, Address::unnamed()}) {
      auto listener = Listener::create(where, {.type = type}).value();
      const auto address = listener.local_address().value();
      CAPTURE(address.text());
      auto one = Socket::create(Family::local, type).value();
      REQUIRE(one.connect(address, Deadline::now()));
      auto [other, from] = listener.accept_from(Deadline::now()).value();
      CHECK(from.is_unnamed());
      CHECK(one.peer_address().value() == address);
      CHECK(other.peer_credentials().value().pid == getpid());
      check_connected(one, other);
      if (address.path()) CHECK(listener.unlink());
    }
  }
}

TEST_CASE("autobind gives a socket a name of the kernel's choice and tells it") {
  auto one = Socket::create(Family::local, SocketType::datagram).value();
  const auto address = one.autobind().value();
  CHECK(address.abstract_name()->size() == 5);
  auto other = Socket::create(Family::local, SocketType::datagram).value();
  REQUIRE(other.send_to(bytes_of("x"), address, Deadline::now()));
  std::array<std::byte, 8> buffer{};
  CHECK(one.receive_from(buffer, Deadline::now()).value().from.is_unnamed());
}

TEST_CASE("datagrams to a path tell their sender's path, which can be answered") {
  const TempDir directory;
  const auto server_path = Address::local(directory / "server").value();
  const auto client_path = Address::local(directory / "client").value();
  auto server = Socket::create(Family::local, SocketType::datagram).value();
  auto asker = Socket::create(Family::local, SocketType::datagram).value();
  REQUIRE(server.bind(server_path));
  REQUIRE(asker.bind(client_path));
  REQUIRE(asker.send_to(bytes_of("ping"), server_path, Deadline::now()));
  std::array<std::byte, 8> buffer{};
  const auto request = server.receive_from(buffer, Deadline::now()).value();
  CHECK(request.from == client_path);
  REQUIRE(server.send_to(bytes_of("pong"), request.from, Deadline::now()));
  CHECK(asker.receive_from(buffer, Deadline::now()).value().from == server_path);
  CHECK(server.unlink());
  CHECK(asker.unlink());
}

TEST_CASE("a path that is taken is refused, and a stale one replaced only when asked") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  const ListenOptions replacing{.bind = {.existing = ExistingPath::replace_stale}};
  {
    const auto live = Listener::create(where).value();
    CHECK(Listener::create(where).error() == Error::address_in_use);
    CHECK(Listener::create(where, replacing).error() == Error::address_in_use);
    CHECK(client().connect(where, Deadline::now()));
  }
  CHECK(client().connect(where, Deadline::now()).error() == Error::refused);
  CHECK(Listener::create(where).error() == Error::address_in_use);
  auto next = Listener::create(where, replacing).value();
  CHECK(client().connect(where, Deadline::now()));
  CHECK(next.unlink());
  CHECK(client().connect(where, Deadline::now()).error() == Error::not_found);
}

TEST_CASE("replacing a stale path disturbs neither a listener, nor a datagram socket, nor a file") {
  const TempDir directory;
  const auto where = Address::local(directory / "it").value();
  const BindOptions replacing{.existing = ExistingPath::replace_stale};
  auto late = client();
  SUBCASE("a listener") {
    auto live = Listener::create(where).value();
    CHECK(late.bind(where, replacing).error() == Error::address_in_use);
    CHECK(live.accept(Deadline::now()).error() == Error::would_block);
  }
  SUBCASE("a datagram socket") {
    auto live = Socket::create(Family::local, SocketType::datagram).value();
    REQUIRE(live.bind(where));
    CHECK(late.bind(where, replacing).error() == Error::address_in_use);
  }
  SUBCASE("a file") {
    std::ofstream(directory / "it") << "precious";
    CHECK(late.bind(where, replacing).error() == Error::address_in_use);
    CHECK(std::filesystem::file_size(directory / "it") == 8);
  }
}

TEST_CASE("unlink removes only the path that this very socket was bound to") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  auto listener = Listener::create(where).value();
  REQUIRE(std::filesystem::remove(directory / "socket"));
  CHECK(listener.unlink().error() == Error::not_found);
  auto other = Listener::create(where).value();
  CHECK(listener.unlink().error() == Error::exists);
  CHECK(other.unlink());
  CHECK(other.unlink().error() == Error::invalid);
  CHECK(client().unlink().error() == Error::invalid);
}

TEST_CASE("the mode asked for is the path's from the first moment") {
  const TempDir directory;
  const mode_t before = umask(0);
  auto listener =
      Listener::create(Address::local(directory / "socket").value(), {.bind = {.mode = 0600}})
          .value();
  umask(before);
  struct stat status{};
  REQUIRE(stat((directory / "socket").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("connecting to nothing says what is wrong") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  CHECK(client().connect(where, Deadline::never()).error() == Error::not_found);
  CHECK(client().connect(Address::abstract("parley-nobody").value(), Deadline::never()).error() ==
        Error::refused);
  CHECK(client().connect(Address(), Deadline::never()).error() == Error::invalid);
  std::ofstream(directory / "file") << "x";
  CHECK(client().connect(Address::local(directory / "file").value(), Deadline::never()).error() ==
        Error::refused);
  auto listener = Listener::create(where).value();
  auto packets = Socket::create(Family::local, SocketType::seqpacket).value();
  CHECK(static_cast<int>(packets.connect(where, Deadline::never()).error()) == EPROTOTYPE);
}

TEST_CASE("an accept without a client ends at its deadline, and the try form at once") {
  auto listener = Listener::create(Address::unnamed()).value();
  CHECK(listener.accept(Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(listener.accept(Deadline::after(10ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 10ms);
}

TEST_CASE("connecting to a full backlog ends at its deadline and leaves the socket as it was") {
  auto listener = Listener::create(Address::unnamed(), {.backlog = 0}).value();
  const auto where = listener.local_address().value();
  auto first = client();
  REQUIRE(first.connect(where, Deadline::now()));
  auto second = client();
  CHECK(second.connect(where, Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(second.connect(where, Deadline::after(30ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 30ms);
  CHECK(is_nonblocking(second.fd()).value());
  auto accepted = listener.accept(Deadline::now()).value();
  CHECK(second.connect(where, Deadline::now()));
}

TEST_CASE("a listener can be made of a socket with options of one's own") {
  auto socket = client();
  REQUIRE(socket.set(option::pass_credentials, true));
  const auto where = socket.autobind().value();
  auto listener = Listener::listen(std::move(socket), 3).value();
  CHECK(listener.get(option::accepts_connections).value());
  auto one = client();
  REQUIRE(one.connect(where, Deadline::now()));
  auto other = listener.accept(Deadline::now()).value();
  CHECK(other.get(option::pass_credentials).value());
  auto datagrams = Socket::create(Family::local, SocketType::datagram).value();
  CHECK(Listener::listen(std::move(datagrams)).error() == Error::not_supported);
}

TEST_CASE("a connected datagram socket is freed again by disconnect") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto sender = Socket::create(Family::local, SocketType::datagram).value();
  REQUIRE(sender.connect(where, Deadline::now()));
  CHECK(sender.send(bytes_of("x"), Deadline::now()));
  REQUIRE(sender.disconnect());
  CHECK(sender.send(bytes_of("x"), Deadline::now()).error() == Error::not_connected);
  CHECK(client().disconnect().error() == Error::invalid);
}

TEST_CASE("a send to a full datagram receiver waits for room in its queue") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto sender = Socket::create(Family::local, SocketType::datagram).value();
  while (sender.send_to(bytes_of("x"), where, Deadline::now())) {
  }
  const auto start = Deadline::Clock::now();
  CHECK(sender.send_to(bytes_of("x"), where, Deadline::after(10ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 10ms);
  std::array<std::byte, 1> byte{};
  REQUIRE(receiver.receive(byte, Deadline::now()));
  CHECK(sender.send_to(bytes_of("x"), where, Deadline::now()));
}
