#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <parley/os/pipe.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/signalled.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::skip;
using parley::test::TempDir;
using parley::test::text_of;
using parley::test::wait_until_asleep;

namespace {

auto client() -> Socket {
  return Socket::create(Family::local, SocketType::stream).value();
}

void drop(Socket& socket) {
  static_cast<void>(std::move(socket).into_fd());
}

/// Runs `blocking`, which must end in `timed_out` after 200 ms, in a peer that gets signal after
/// signal meanwhile.
void check_signals_do_not_lengthen(const std::function<Error(Deadline)>& blocking) {
  run_among_signals([&] {
    const auto start = Deadline::Clock::now();
    REQUIRE(blocking(Deadline::after(200ms)) == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}

}  // namespace

TEST_CASE("a client and a server of two processes talk over a path") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  auto listener = Listener::create(where).value();
  Peer asker([&] {
    auto socket = client();
    REQUIRE(socket.connect(where, Deadline::never()));
    REQUIRE(socket.peer_credentials().value().pid == getppid());
    REQUIRE(socket.send(bytes_of("question"), Deadline::never()));
    std::array<std::byte, 6> answer{};
    REQUIRE(socket.receive_all(answer, Deadline::never()).value() == answer.size());
    REQUIRE(text_of(answer) == "answer");
  });
  auto server = listener.accept(Deadline::never()).value();
  CHECK(server.peer_credentials().value() ==
        Credentials{.pid = asker.pid(), .uid = geteuid(), .gid = getegid()});
  std::array<std::byte, 8> question{};
  CHECK(server.receive_all(question, Deadline::never()).value() == question.size());
  CHECK(text_of(question) == "question");
  REQUIRE(server.send(bytes_of("answer"), Deadline::never()));
}

TEST_CASE("a client and a server of two processes talk over TCP") {
  auto listener = Listener::create(Address::loopback_ipv4(0)).value();
  const auto where = listener.local_address().value();
  Peer sender([&] {
    auto socket = Socket::create(Family::ipv4, SocketType::stream).value();
    REQUIRE(socket.connect(where, Deadline::never()));
    const std::vector<std::byte> much(5'000'000, std::byte{'m'});
    REQUIRE(socket.send(much, Deadline::never()));
  });
  auto server = listener.accept(Deadline::never()).value();
  std::vector<std::byte> got(6'000'000);
  CHECK(server.receive_all(got, Deadline::never()).value() == 5'000'000);
}

TEST_CASE("a sender that is killed leaves what it sent, and then the end") {
  for (const auto type : {SocketType::stream, SocketType::seqpacket}) {
    auto [one, other] = Socket::pair(type).value();
    Peer sender([&] {
      drop(other);
      REQUIRE(one.send(bytes_of("last words"), Deadline::never()));
      for (;;) pause();
    });
    drop(one);
    pollfd arrived{.fd = other.fd().number(), .events = POLLIN, .revents = 0};
    REQUIRE(poll(&arrived, 1, -1) == 1);
    sender.kill();
    std::array<std::byte, 100> buffer{};
    CHECK(other.receive(buffer, Deadline::never()).value().size_bytes == 10);
    CHECK(other.receive(buffer, Deadline::never()).value().ended);
  }
}

TEST_CASE("a peer that is killed ends a receive that waits, and breaks a send that waits") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  auto [full, unread] = Socket::pair(SocketType::stream).value();
  Peer holder([&] {
    drop(one);
    drop(full);
    for (;;) pause();
  });
  drop(other);
  drop(unread);
  Peer receiver([&] {
    std::array<std::byte, 1> buffer{};
    REQUIRE(one.receive(buffer, Deadline::never()).value().ended);
  });
  Peer sender([&] {
    const std::vector<std::byte> much(1 << 22);
    const auto sent = full.send(much, Deadline::never());
    REQUIRE_FALSE(sent.has_value());
    const Error error = sent.error();
    REQUIRE((error == Error::broken_pipe || error == Error::connection_reset));
    REQUIRE(sent.error().bytes_sent < much.size());
  });
  wait_until_asleep(receiver.pid());
  wait_until_asleep(sender.pid());
  holder.kill();
}

TEST_CASE("the peer's pidfd becomes readable once the peer has died") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  auto listener = Listener::create(where).value();
  Peer peer([&] {
    auto socket = client();
    REQUIRE(socket.connect(where, Deadline::never()));
    for (;;) pause();
  });
  auto server = listener.accept(Deadline::never()).value();
  const auto pidfd = server.peer_pidfd();
  if (!pidfd) {
    CHECK(pidfd.error() == Error::no_such_option);
    peer.kill();
    skip("this kernel has no SO_PEERPIDFD (before Linux 6.5)");
    return;
  }
  CHECK(closes_on_exec(*pidfd).value());
  pollfd dead{.fd = pidfd->number(), .events = POLLIN, .revents = 0};
  CHECK(poll(&dead, 1, 0) == 0);
  peer.kill();
  CHECK(poll(&dead, 1, -1) == 1);
}

TEST_CASE("a listener that died refuses, and so do those who waited for its backlog") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  auto pipe = Pipe::create().value();
  Peer server([&] {
    const auto listener = Listener::create(where, {.backlog = 0}).value();
    REQUIRE(pipe.writer.write(bytes_of("r"), Deadline::never()));
    for (;;) pause();
  });
  std::array<std::byte, 1> ready{};
  REQUIRE(pipe.reader.read(ready, Deadline::never()));
  auto first = client();
  REQUIRE(first.connect(where, Deadline::now()));
  Peer waiting([&] {
    auto second = client();
    REQUIRE(second.connect(where, Deadline::never()).error() == Error::refused);
  });
  wait_until_asleep(waiting.pid());
  server.kill();
  CHECK(first.receive(ready, Deadline::never()).error() == Error::connection_reset);
  CHECK(client().connect(where, Deadline::never()).error() == Error::refused);
}

TEST_CASE("a connect that waits for a full backlog goes on when there is room") {
  auto listener = Listener::create(Address::unnamed(), {.backlog = 0}).value();
  const auto where = listener.local_address().value();
  auto first = client();
  REQUIRE(first.connect(where, Deadline::now()));
  Peer waiting([&] {
    auto second = client();
    REQUIRE(second.connect(where, Deadline::after(60s)));
    REQUIRE(is_nonblocking(second.fd()).value());
    REQUIRE(second.send(bytes_of("in"), Deadline::never()));
  });
  wait_until_asleep(waiting.pid());
  const auto accepted = listener.accept(Deadline::never());
  auto other = listener.accept(Deadline::never()).value();
  std::array<std::byte, 2> buffer{};
  CHECK(other.receive_all(buffer, Deadline::never()).value() == 2);
}

TEST_CASE("a send that waits for a full datagram receiver goes on when it has read") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto filler = Socket::create(Family::local, SocketType::datagram).value();
  while (filler.send_to(bytes_of("x"), where, Deadline::now())) {
  }
  Peer waiting([&] {
    auto sender = Socket::create(Family::local, SocketType::datagram).value();
    REQUIRE(sender.send_to(bytes_of("waited"), where, Deadline::never()));
  });
  wait_until_asleep(waiting.pid());
  std::array<std::byte, 8> buffer{};
  while (receiver.receive(buffer, Deadline::never()).value().size_bytes != 6) {
  }
}

TEST_CASE(
    "a batch of more messages than the kernel takes at once, or has room for, arrives whole") {
  constexpr std::size_t count = 3000;
  constexpr std::size_t at_once = 7;
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  std::vector<std::uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0U);
  std::vector<Outgoing> messages;
  messages.reserve(count);
  for (const std::uint32_t& number : numbers) {
    messages.push_back({.bytes = std::as_bytes(std::span(&number, 1))});
  }
  Peer receiver([&] {
    std::array<std::uint32_t, at_once> into{};
    std::vector<Incoming> places;
    places.reserve(at_once);
    for (std::uint32_t& number : into) {
      places.push_back({.into = std::as_writable_bytes(std::span(&number, 1))});
    }
    for (std::uint32_t next = 0; next < count;) {
      const auto came = other.receive_batch(places, Deadline::after(30s)).value();
      for (std::size_t index = 0; index < came.size(); ++index, ++next) {
        REQUIRE(came[index].has_value());
        REQUIRE(into.at(index) == next);
      }
    }
  });
  CHECK(one.send_batch(messages, Deadline::after(30s)));
  CHECK(receiver.wait() == 0);
}

TEST_CASE("a batch to a local receiver that is full goes on when it has read") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto sender = Socket::create(Family::local, SocketType::datagram).value();
  const std::vector<Outgoing> messages(500, {.bytes = bytes_of("x"), .to = &where});
  Peer reader([&] {
    std::array<std::byte, 8> buffer{};
    for (std::size_t i = 0; i < messages.size(); ++i) {
      REQUIRE(receiver.receive(buffer, Deadline::after(30s)));
    }
  });
  CHECK(sender.send_batch(messages, Deadline::after(30s)));
  CHECK(reader.wait() == 0);
}

TEST_CASE("a batch tells how many messages went out before its receiver died") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  Peer receiver([&] {
    drop(one);
    for (;;) pause();
  });
  drop(other);
  Peer sender([&] {
    const std::vector<Outgoing> messages(10'000, {.bytes = bytes_of("x")});
    const auto sent = one.send_batch(messages, Deadline::never());
    REQUIRE_FALSE(sent.has_value());
    const Error error = sent.error();
    REQUIRE((error == Error::broken_pipe || error == Error::connection_reset));
    REQUIRE(sent.error().messages_sent > 0);
    REQUIRE(sent.error().messages_sent < messages.size());
  });
  wait_until_asleep(sender.pid());
  receiver.kill();
}

TEST_CASE("a datagram receiver that dies refuses the sender that waits for it") {
  const TempDir directory;
  const auto where = Address::local(directory / "socket").value();
  auto pipe = Pipe::create().value();
  Peer receiver([&] {
    auto socket = Socket::create(Family::local, SocketType::datagram).value();
    REQUIRE(socket.bind(where));
    REQUIRE(pipe.writer.write(bytes_of("r"), Deadline::never()));
    for (;;) pause();
  });
  std::array<std::byte, 1> ready{};
  REQUIRE(pipe.reader.read(ready, Deadline::never()));
  Peer waiting([&] {
    auto sender = Socket::create(Family::local, SocketType::datagram).value();
    for (;;) {
      const auto sent = sender.send_to(bytes_of("x"), where, Deadline::never());
      if (sent) continue;
      REQUIRE(sent.error() == Error::refused);
      break;
    }
  });
  wait_until_asleep(waiting.pid());
  receiver.kill();
}

TEST_CASE("signals do not lengthen a socket's waits: one deadline holds for all of each") {
  auto [one, other] = Socket::pair(SocketType::stream).value();
  std::array<std::byte, 1> buffer{};
  SUBCASE("receive") {
    check_signals_do_not_lengthen(
        [&](Deadline deadline) { return one.receive(buffer, deadline).error(); });
  }
  SUBCASE("send") {
    const std::vector<std::byte> much(1 << 22);
    check_signals_do_not_lengthen(
        [&](Deadline deadline) { return one.send(much, deadline).error(); });
  }
  SUBCASE("accept") {
    auto listener = Listener::create(Address::unnamed()).value();
    check_signals_do_not_lengthen(
        [&](Deadline deadline) { return listener.accept(deadline).error(); });
  }
  SUBCASE("connect to a full backlog") {
    auto listener = Listener::create(Address::unnamed(), {.backlog = 0}).value();
    const auto where = listener.local_address().value();
    auto first = client();
    REQUIRE(first.connect(where, Deadline::now()));
    auto second = client();
    check_signals_do_not_lengthen(
        [&](Deadline deadline) { return second.connect(where, deadline).error(); });
  }
  SUBCASE("connect over TCP") {
    auto listener = Listener::create(Address::loopback_ipv4(0), {.backlog = 0}).value();
    const auto where = listener.local_address().value();
    auto first = Socket::create(Family::ipv4, SocketType::stream).value();
    REQUIRE(first.connect(where, Deadline::after(60s)));
    auto second = Socket::create(Family::ipv4, SocketType::stream).value();
    check_signals_do_not_lengthen(
        [&](Deadline deadline) { return second.connect(where, deadline).error(); });
  }
  SUBCASE("send to a full datagram receiver") {
    auto receiver = Socket::create(Family::local, SocketType::datagram).value();
    const auto where = receiver.autobind().value();
    auto sender = Socket::create(Family::local, SocketType::datagram).value();
    while (sender.send_to(bytes_of("x"), where, Deadline::now())) {
    }
    check_signals_do_not_lengthen([&](Deadline deadline) -> Error {
      return sender.send_to(bytes_of("x"), where, deadline).error();
    });
  }
}
