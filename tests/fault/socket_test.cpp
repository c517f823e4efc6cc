#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <linux/filter.h>
#include <unistd.h>
#include <cerrno>

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "os/sys.hpp"
#include "support/descriptors.hpp"
#include "support/faults.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::fail_each_call;
using parley::test::interrupt_each_call;
using parley::test::Outcome;
using parley::test::TempDir;

namespace {

constexpr std::array<sock_filter, 1> keep_all{BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};

auto client() -> Socket {
  return Socket::create(Family::local, SocketType::stream).value();
}

}  // namespace

TEST_CASE("every failing call of making and adopting sockets gives its error and leaks nothing") {
  const int calls = fail_each_call([]() -> Outcome {
    auto [one, other] = PARLEY_TRY(Socket::pair(SocketType::seqpacket));
    PARLEY_TRY(Socket::adopt(std::move(one).into_fd()));
    auto created = PARLEY_TRY(Socket::create(Family::local, SocketType::seqpacket));
    PARLEY_TRY(created.autobind());
    auto listener = PARLEY_TRY(Listener::listen(std::move(created), 1));
    PARLEY_TRY(Listener::adopt(std::move(listener).into_fd()));
    return {};
  });
  CHECK(calls >= 17);
}

TEST_CASE("every failing call of a listener, its path and its clients leaves no path behind") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  const int calls = fail_each_call([&]() -> Outcome {
    struct Cleaner {
      const TempDir& directory;
      ~Cleaner() { std::filesystem::remove(directory / "socket"); }
    };
    auto listener = Listener::create(where, {.bind = {.mode = 0700}});
    if (!listener) {
      CHECK_FALSE(std::filesystem::exists(directory / "socket"));
      return parley::failure(listener.error());
    }
    const Cleaner cleaner{directory};
    auto socket = PARLEY_TRY(Socket::create(Family::local, SocketType::stream));
    PARLEY_TRY(socket.connect(where, Deadline::now()));
    PARLEY_TRY(listener->accept_from(Deadline::now()));
    PARLEY_TRY(listener->unlink());
    return {};
  });
  CHECK(calls >= 10);
}

TEST_CASE("every failing call of replacing a stale path gives its error") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  const int calls = fail_each_call([&]() -> Outcome {
    // A stale path, made past the seam's count by a call that cannot fail now.
    const auto injected = std::exchange(sys::injection, {});
    std::filesystem::remove(directory / "socket");
    REQUIRE(Listener::create(where).has_value());
    sys::injection = injected;
    auto socket = PARLEY_TRY(Socket::create(Family::local, SocketType::stream));
    PARLEY_TRY(socket.bind(where, {.existing = ExistingPath::replace_stale}));
    return {};
  });
  // socket, bind (its failure is no taken path), lstat, socket, connect, unlink, bind, lstat
  CHECK(calls == 8);
}

TEST_CASE("every failing call of sending and receiving gives its error and leaks nothing") {
  const int calls = fail_each_call([]() -> Outcome {
    auto [one, other] = PARLEY_TRY(Socket::pair(SocketType::seqpacket));
    const std::vector<BorrowedFd> fds(300, BorrowedFd(one.fd()));
    std::array<std::byte, 8> buffer{};
    PARLEY_TRY(one.send_message({.bytes = bytes_of("abc"), .attachments = {.descriptors = fds}},
                                Deadline::now()));
    PARLEY_TRY(other.receive_split(buffer, fds.size(), Deadline::now()));
    PARLEY_TRY(one.send(bytes_of("abc"), Deadline::now()));
    PARLEY_TRY(other.next_message_bytes(Deadline::now()));
    PARLEY_TRY(other.bytes_waiting());
    PARLEY_TRY(one.bytes_in_flight());
    PARLEY_TRY(other.receive(buffer, Deadline::now()));
    PARLEY_TRY(one.shutdown(Direction::both));
    return {};
  });
  CHECK(calls >= 13);
}

TEST_CASE("every failing call of a batch gives its error and leaks nothing") {
  const auto batch = [](Socket& one, Socket& other, Deadline deadline) -> Outcome {
    const std::array<BorrowedFd, 1> fds{one.fd()};
    const std::vector<Outgoing> messages(
        3, {.bytes = bytes_of("abc"), .attachments = {.descriptors = fds}});
    std::array<std::byte, 8> buffer{};
    const std::vector<Incoming> places(4, {.into = buffer});
    PARLEY_TRY(one.send_batch(messages, deadline));
    CHECK(PARLEY_TRY(other.receive_batch(places, deadline)).size() == 3);
    return {};
  };
  CHECK(fail_each_call([&]() -> Outcome {
          auto [one, other] = PARLEY_TRY(Socket::pair(SocketType::seqpacket));
          return batch(one, other, Deadline::now());
        }) == 5);
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  CHECK(interrupt_each_call([&] { return batch(one, other, Deadline::never()); }) == 2);
}

TEST_CASE("every failing call of asking about a socket and its peer gives its error") {
  const int calls = fail_each_call([]() -> Outcome {
    auto [one, other] = PARLEY_TRY(Socket::pair(SocketType::stream));
    PARLEY_TRY(one.local_address());
    PARLEY_TRY(one.peer_address());
    PARLEY_TRY(one.peer_credentials());
    PARLEY_TRY(one.peer_groups());
    PARLEY_TRY(one.peer_pidfd());
    PARLEY_TRY(one.at_urgent_mark());
    PARLEY_TRY(one.get(option::pass_credentials));
    PARLEY_TRY(one.get(option::bind_to_device));
    PARLEY_TRY(one.get(option::attached_filter));
    PARLEY_TRY(one.set(option::pass_credentials, true));
    PARLEY_TRY(one.set(option::attach_filter, keep_all));
    PARLEY_TRY(one.set(option::detach_filter, {}));
    PARLEY_TRY(socket_limits());
    return {};
  });
  CHECK(calls >= 13 + 3 * 7);
}

TEST_CASE("every failing call of options that are bytes gives its error") {
  CHECK(fail_each_call([]() -> Outcome {
          auto socket = PARLEY_TRY(Socket::create(Family::ipv4, SocketType::datagram));
          PARLEY_TRY(socket.set(option::ip_options, std::vector<std::byte>(4, std::byte{1})));
          PARLEY_TRY(socket.get(option::ip_options));
          return {};
        }) == 3);
}

TEST_CASE("every failing call of waiting for a backlog gives its error, not a blocking socket") {
  auto listener = Listener::create(Address::unnamed(), {.backlog = 0}).value();
  const auto where = listener.local_address().value();
  auto first = client();
  REQUIRE(first.connect(where, Deadline::now()));
  int fired = 0;
  for (int call = 2;; ++call) {
    auto second = client();
    const auto deadline = Deadline::after(1ms);
    sys::injection = {.calls_until_failure = call, .error = Error::io};
    const auto connected = second.connect(where, deadline);
    const bool was_fired = std::exchange(sys::injection, {}).fired;
    REQUIRE_FALSE(connected.has_value());
    if (!was_fired) break;
    ++fired;
    CAPTURE(call);
    // Putting the socket back comes after the wait has ended, whose error then counts.
    if (connected.error() == Error::io) CHECK(is_nonblocking(second.fd()).value());
  }
  CHECK(fired >= 8);
}

TEST_CASE("every failing call of fixing a datagram socket's peer and freeing it gives its error") {
  CHECK(fail_each_call([]() -> Outcome {
          auto one = PARLEY_TRY(Socket::create(Family::local, SocketType::datagram));
          auto other = PARLEY_TRY(Socket::create(Family::local, SocketType::datagram));
          PARLEY_TRY(one.connect(PARLEY_TRY(other.autobind()), Deadline::now()));
          PARLEY_TRY(one.disconnect());
          return {};
        }) == 6);
}

TEST_CASE("every failing call of connecting over TCP gives its error") {
  auto listener = Listener::create(Address::loopback_ipv4(0)).value();
  const auto where = listener.local_address().value();
  CHECK(fail_each_call([&]() -> Outcome {
          auto socket = PARLEY_TRY(Socket::create(Family::ipv4, SocketType::stream));
          PARLEY_TRY(socket.connect(where, Deadline::after(10s)));
          return {};
        }) == 4);
}

TEST_CASE("every failing call of waiting past an unread error queue gives its error") {
  auto gone = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(gone.bind(Address::loopback_ipv4(0)));
  const auto nobody = gone.local_address().value();
  static_cast<void>(std::move(gone).into_fd());
  auto socket = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(socket.set(option::ip_receive_error, true));
  REQUIRE(socket.send_to(bytes_of("x"), nobody, Deadline::now()));
  std::array<std::byte, 1> buffer{};
  REQUIRE(socket.receive(buffer, Deadline::after(10s)).error() == Error::refused);
  CHECK(fail_each_call([&]() -> Outcome {
          const auto received = socket.receive(buffer, Deadline::after(5ms));
          if (received.error() == Error::timed_out) return {};
          return parley::failure(received.error());
        }) >= 8);
}

TEST_CASE("every failing call of waiting for a full datagram receiver gives its error") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto sender = Socket::create(Family::local, SocketType::datagram).value();
  while (sender.send_to({}, where, Deadline::now())) {
  }
  CHECK(fail_each_call([&]() -> Outcome {
          const auto sent = sender.send_to({}, where, Deadline::after(5ms));
          if (sent.error() == Error::timed_out) return {};
          return parley::failure(sent.error());
        }) == 5);
}

TEST_CASE("an interrupted call of a socket is made again") {
  auto listener = Listener::create(Address::unnamed()).value();
  const auto where = listener.local_address().value();
  std::vector<Socket> clients;
  clients.reserve(10);
  for (int i = 0; i < 10; ++i) clients.push_back(client());
  std::size_t next = 0;
  CHECK(interrupt_each_call([&]() -> Outcome {
          auto& one = clients.at(next++);
          std::array<std::byte, 4> buffer{};
          PARLEY_TRY(one.connect(where, Deadline::never()));
          auto other = PARLEY_TRY(listener.accept(Deadline::never()));
          PARLEY_TRY(one.send(bytes_of("abcd"), Deadline::never()));
          PARLEY_TRY(other.receive_all(buffer, Deadline::never()));
          return {};
        }) == 4);
}

TEST_CASE("a connection that its peer gave up is passed over, and the next one accepted") {
  auto listener = Listener::create(Address::unnamed()).value();
  auto one = client();
  REQUIRE(one.connect(listener.local_address().value(), Deadline::now()));
  for (const int error : {ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH}) {
    CAPTURE(error);
    sys::injection = {.calls_until_failure = 1, .error = static_cast<Error>(error)};
    CHECK(listener.accept(Deadline::now()).has_value());
    CHECK(std::exchange(sys::injection, {}).fired);
    one = client();
    REQUIRE(one.connect(listener.local_address().value(), Deadline::now()));
  }
  sys::injection = {.calls_until_failure = 1, .error = static_cast<Error>(EMFILE)};
  CHECK(static_cast<int>(listener.accept(Deadline::now()).error()) == EMFILE);
  sys::injection = {};
  CHECK(listener.accept(Deadline::now()).has_value());
}

TEST_CASE("a kernel without a peer's pidfd says that it has no such option") {
  const auto [one, other] = Socket::pair(SocketType::stream).value();
  sys::injection = {.calls_until_failure = 1, .error = Error::no_such_option};
  CHECK(one.peer_pidfd().error() == Error::no_such_option);
  sys::injection = {};
}
