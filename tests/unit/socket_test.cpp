#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
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
using parley::test::text_of;

namespace {

auto receive_text(Socket& socket, std::size_t at_most = 100) -> std::string {
  std::vector<std::byte> buffer(at_most);
  const auto received = socket.receive(buffer, Deadline::now()).value();
  return text_of(std::span(buffer).first(received.size_bytes));
}

/// Fills the way to the peer until not even one byte more goes.
auto fill(Socket& socket) -> std::size_t {
  const std::vector<std::byte> block(4096);
  std::size_t total = 0;
  for (;;) {
    const auto sent = socket.send(block, Deadline::now());
    if (sent) {
      total += block.size();
      continue;
    }
    CHECK(sent.error() == Error::would_block);
    return total + sent.error().bytes_sent;
  }
}

auto pair_of(SocketType type) -> std::pair<Socket, Socket> {
  return Socket::pair(type).value();
}

volatile std::sig_atomic_t sigpipe_count = 0;

}  // namespace

TEST_CASE("a pair of stream sockets carries bytes both ways without borders") {
  auto [one, other] = pair_of(SocketType::stream);
  REQUIRE(one.send(bytes_of("hello, "), Deadline::now()));
  REQUIRE(one.send(bytes_of("socket"), Deadline::now()));
  CHECK(other.bytes_waiting().value() == 13);
  CHECK(one.bytes_in_flight().value() >= 13);
  CHECK(receive_text(other) == "hello, socket");
  REQUIRE(other.send(bytes_of("back"), Deadline::now()));
  CHECK(receive_text(one) == "back");
}

TEST_CASE("every socket that is made, accepted or paired is closed on exec and never blocks") {
  const TempDir directory;
  const auto path = Address::local(directory / "s").value();
  auto listener = Listener::create(path).value();
  auto client = Socket::create(Family::local, SocketType::stream).value();
  REQUIRE(client.connect(path, Deadline::now()));
  const auto server = listener.accept(Deadline::now()).value();
  const auto pair = pair_of(SocketType::seqpacket);
  for (const BorrowedFd fd :
       {listener.fd(), client.fd(), server.fd(), pair.first.fd(), pair.second.fd()}) {
    CHECK(closes_on_exec(fd).value());
    CHECK(is_nonblocking(fd).value());
  }
}

TEST_CASE("messages keep their borders on seqpacket and datagram sockets") {
  for (const auto type : {SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = pair_of(type);
    REQUIRE(one.send(bytes_of("first"), Deadline::now()));
    REQUIRE(one.send(bytes_of("second"), Deadline::now()));
    CHECK(receive_text(other) == "first");
    CHECK(receive_text(other) == "second");
  }
}

TEST_CASE("a message longer than the buffer is an error that says how long it was") {
  for (const auto type : {SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = pair_of(type);
    REQUIRE(one.send(bytes_of("a message of 25 bytes ..."), Deadline::now()));
    REQUIRE(one.send(bytes_of("next"), Deadline::now()));
    std::array<std::byte, 9> small{};
    const auto received = other.receive(small, Deadline::now());
    REQUIRE_FALSE(received.has_value());
    CHECK(received.error() == Error::message_too_long);
    CHECK(received.error().message_bytes == 25);
    CHECK(text_of(small) == "a message");
    CHECK(receive_text(other) == "next");
  }
}

TEST_CASE("the next message's length can be asked for, and the message stays") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  CHECK(other.next_message_bytes(Deadline::now()).error() == Error::would_block);
  REQUIRE(one.send(bytes_of("seven.."), Deadline::now()));
  REQUIRE(one.send({}, Deadline::now()));
  CHECK(other.next_message_bytes(Deadline::now()).value() == std::size_t{7});
  CHECK(receive_text(other) == "seven..");
  CHECK(other.next_message_bytes(Deadline::now()).value() == std::size_t{0});
  CHECK(receive_text(other).empty());
  REQUIRE(one.shutdown(Direction::sending));
  CHECK(other.next_message_bytes(Deadline::now()).value() == std::nullopt);
  CHECK(pair_of(SocketType::stream).first.next_message_bytes(Deadline::now()).error() ==
        Error::invalid);
}

TEST_CASE("an empty message is a message, also as the last one, and the end is not") {
  std::array<std::byte, 8> buffer{};
  auto [one, other] = pair_of(SocketType::seqpacket);
  REQUIRE(one.send({}, Deadline::now()));
  CHECK_FALSE(other.receive(buffer, Deadline::now()).value().ended);
  CHECK(other.receive(buffer, Deadline::now()).error() == Error::would_block);
  REQUIRE(one.send({}, Deadline::now()));
  static_cast<void>(std::move(one).into_fd());
  CHECK_FALSE(other.receive(buffer, Deadline::now(), {.peek = true}).value().ended);
  CHECK_FALSE(other.receive(buffer, Deadline::now()).value().ended);
  CHECK(other.receive(buffer, Deadline::now()).value().ended);
  CHECK(other.receive(buffer, Deadline::never()).value().ended);

  auto [from, to] = pair_of(SocketType::datagram);
  REQUIRE(from.send({}, Deadline::now()));
  const auto empty = to.receive(buffer, Deadline::now()).value();
  CHECK(empty.size_bytes == 0);
  CHECK_FALSE(empty.ended);
}

TEST_CASE("what tells an empty message from the end cannot be switched off") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  CHECK(one.set(option::timestamp_ns, false).error() == Error::invalid);
  CHECK(other.get(option::timestamp_ns).value());
  auto [stream, peer] = pair_of(SocketType::stream);
  CHECK(stream.set(option::timestamp_ns, false));
  const auto adopted = Socket::adopt(std::move(other).into_fd()).value();
  CHECK(adopted.get(option::timestamp_ns).value());
}

TEST_CASE("after the peer's end of sending a stream gives the rest and then the end") {
  auto [one, other] = pair_of(SocketType::stream);
  REQUIRE(one.send(bytes_of("rest"), Deadline::now()));
  REQUIRE(one.shutdown(Direction::sending));
  std::array<std::byte, 8> buffer{};
  CHECK(other.receive_all(buffer, Deadline::never()).value() == 4);
  CHECK(other.receive(buffer, Deadline::never()).value().ended);
  // The other way still works.
  CHECK(other.send(bytes_of("x"), Deadline::now()));
  CHECK(receive_text(one) == "x");
}

TEST_CASE("a socket shut down for receiving has ended, and a wait on it does not spin") {
  std::array<std::byte, 8> buffer{};
  auto [one, other] = pair_of(SocketType::datagram);
  REQUIRE(one.send(bytes_of("queued"), Deadline::now()));
  REQUIRE(other.shutdown(Direction::receiving));
  CHECK(receive_text(other) == "queued");
  CHECK(other.receive(buffer, Deadline::never()).value().ended);
}

TEST_CASE("a receive ends at its deadline, and the try form at once") {
  std::array<std::byte, 8> buffer{};
  for (const auto type : {SocketType::stream, SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = pair_of(type);
    CHECK(one.receive(buffer, Deadline::now()).error() == Error::would_block);
    const auto start = Deadline::Clock::now();
    CHECK(one.receive(buffer, Deadline::after(10ms)).error() == Error::timed_out);
    CHECK(Deadline::Clock::now() - start >= 10ms);
  }
}

TEST_CASE("a full socket ends a send at its deadline, which tells what had gone out") {
  for (const auto type : {SocketType::stream, SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = pair_of(type);
    CHECK(fill(one) > 0);
    CHECK(one.send(bytes_of("xyz"), Deadline::after(5ms)).error() == Error::timed_out);
  }
  auto [one, other] = pair_of(SocketType::stream);
  const std::vector<std::byte> much(1 << 22);
  const auto sent = one.send(much, Deadline::after(5ms));
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error() == Error::timed_out);
  CHECK(sent.error().bytes_sent > 0);
  CHECK(other.bytes_waiting().value() == sent.error().bytes_sent);
}

TEST_CASE("a message larger than the socket can ever carry is too long and nothing is sent") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const std::vector<std::byte> much(1 << 23);
  const auto sent = one.send(much, Deadline::never());
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error() == Error::message_too_long);
  CHECK(sent.error().bytes_sent == 0);
}

TEST_CASE("sending to a closed peer is an error and never a SIGPIPE") {
  struct sigaction counting{};
  struct sigaction before{};
  counting.sa_handler = [](int) { sigpipe_count = sigpipe_count + 1; };
  REQUIRE(sigaction(SIGPIPE, &counting, &before) == 0);
  for (const auto type : {SocketType::stream, SocketType::seqpacket}) {
    auto pair = pair_of(type);
    static_cast<void>(std::move(pair.second).into_fd());
    CHECK(pair.first.send(bytes_of("x"), Deadline::never()).error() == Error::broken_pipe);
  }
  auto pair = pair_of(SocketType::datagram);
  static_cast<void>(std::move(pair.second).into_fd());
  CHECK(pair.first.send(bytes_of("x"), Deadline::never()).error() == Error::refused);
  auto [closed, peer] = pair_of(SocketType::stream);
  REQUIRE(closed.shutdown(Direction::sending));
  CHECK(closed.send(bytes_of("x"), Deadline::never()).error() == Error::broken_pipe);
  CHECK(sigpipe_count == 0);
  sigset_t pending{};
  sigpending(&pending);
  CHECK(sigismember(&pending, SIGPIPE) == 0);
  sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("a peer that closed without reading what it got resets the stream") {
  auto [one, other] = pair_of(SocketType::stream);
  REQUIRE(one.send(bytes_of("unread"), Deadline::now()));
  static_cast<void>(std::move(other).into_fd());
  std::array<std::byte, 8> buffer{};
  CHECK(one.receive(buffer, Deadline::never()).error() == Error::connection_reset);
  CHECK(one.receive(buffer, Deadline::never()).value().ended);
}

TEST_CASE("peeking leaves the bytes, and a peek offset walks over them") {
  auto [one, other] = pair_of(SocketType::stream);
  REQUIRE(one.send(bytes_of("abcdef"), Deadline::now()));
  std::array<std::byte, 3> buffer{};
  CHECK(other.receive(buffer, Deadline::now(), {.peek = true}).value().size_bytes == 3);
  CHECK(text_of(buffer) == "abc");
  REQUIRE(other.set(option::peek_offset, 0));
  CHECK(other.receive(buffer, Deadline::now(), {.peek = true}).value().size_bytes == 3);
  CHECK(other.receive(buffer, Deadline::now(), {.peek = true}).value().size_bytes == 3);
  CHECK(text_of(buffer) == "def");
  CHECK(receive_text(other) == "abcdef");
}

TEST_CASE("an empty buffer on a stream is invalid, since it would look like the end") {
  auto [one, other] = pair_of(SocketType::stream);
  CHECK(one.receive({}, Deadline::never()).error() == Error::invalid);
  CHECK(pair_of(SocketType::datagram).first.receive_all({}, Deadline::never()).error() ==
        Error::invalid);
}

TEST_CASE("areas are gathered into one message and scattered from it") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  std::string head = "head ";
  std::string tail = "tail";
  const std::array<iovec, 3> out{iovec{.iov_base = head.data(), .iov_len = head.size()},
                                 iovec{.iov_base = nullptr, .iov_len = 0},
                                 iovec{.iov_base = tail.data(), .iov_len = tail.size()}};
  REQUIRE(one.send_message({.bytes = bytes_of("bytes "), .areas = out}, Deadline::now()));
  std::array<std::byte, 6> first{};
  std::string second(5, '.');
  std::string third(9, '.');
  const std::array<iovec, 2> in{iovec{.iov_base = second.data(), .iov_len = second.size()},
                                iovec{.iov_base = third.data(), .iov_len = third.size()}};
  const auto received =
      other.receive_message({.into = first, .areas = in}, Deadline::now()).value();
  CHECK(received.size_bytes == 15);
  CHECK(text_of(first) == "bytes ");
  CHECK(second == "head ");
  CHECK(third == "tail.....");
}

TEST_CASE("a stream that takes gathered areas only in part goes on where it stopped") {
  auto [one, other] = pair_of(SocketType::stream);
  REQUIRE(one.set(option::send_buffer_bytes, 4096));
  std::vector<char> area(30'000, 'a');
  std::vector<char> more(50'000, 'b');
  const std::array<iovec, 2> areas{iovec{.iov_base = area.data(), .iov_len = area.size()},
                                   iovec{.iov_base = more.data(), .iov_len = more.size()}};
  const auto sent = one.send_message({.areas = areas}, Deadline::now());
  REQUIRE_FALSE(sent.has_value());
  const std::size_t first_part = sent.error().bytes_sent;
  REQUIRE(first_part > 0);
  REQUIRE(first_part < 80'000);
  std::vector<std::byte> got(first_part);
  CHECK(other.receive_all(got, Deadline::now()).value() == first_part);
  const auto expected = std::string(std::min(first_part, area.size()), 'a') +
                        std::string(first_part - std::min(first_part, area.size()), 'b');
  CHECK(text_of(got) == expected);
}

TEST_CASE("the urgent byte of a local stream is received apart and marked") {
  auto [one, other] = pair_of(SocketType::stream);
  std::array<std::byte, 8> buffer{};
  CHECK(other.receive(buffer, Deadline::now(), {.out_of_band = true}).error() ==
        Error::would_block);
  CHECK(other.receive(buffer, Deadline::after(2ms), {.out_of_band = true}).error() ==
        Error::timed_out);
  REQUIRE(one.send(bytes_of("ab"), Deadline::now()));
  REQUIRE(one.send(bytes_of("!"), Deadline::now(), {.out_of_band = true}));
  CHECK_FALSE(other.at_urgent_mark().value());
  CHECK(receive_text(other) == "ab");
  CHECK(other.at_urgent_mark().value());
  const auto urgent = other.receive(buffer, Deadline::now(), {.out_of_band = true}).value();
  CHECK(urgent.size_bytes == 1);
  CHECK(urgent.out_of_band);
  CHECK(buffer.front() == std::byte{'!'});
}

TEST_CASE("what a kind of socket cannot receive is not supported and takes nothing") {
  auto [one, other] = pair_of(SocketType::datagram);
  REQUIRE(one.send(bytes_of("kept"), Deadline::now()));
  std::array<std::byte, 8> buffer{};
  CHECK(other.receive(buffer, Deadline::now(), {.error_queue = true}).error() ==
        Error::not_supported);
  CHECK(other.receive(buffer, Deadline::now(), {.out_of_band = true}).error() ==
        Error::not_supported);
  CHECK(receive_text(other) == "kept");
}

TEST_CASE("a pair knows its maker: credentials, groups, addresses without a name") {
  const auto [one, other] = pair_of(SocketType::stream);
  CHECK(one.peer_credentials().value() ==
        Credentials{.pid = getpid(), .uid = geteuid(), .gid = getegid()});
  std::vector<gid_t> groups(static_cast<std::size_t>(getgroups(0, nullptr)));
  REQUIRE(getgroups(static_cast<int>(groups.size()), groups.data()) >= 0);
  CHECK(one.peer_groups().value().size() == groups.size());
  CHECK(one.peer_address().value().is_unnamed());
  CHECK(one.local_address().value().is_unnamed());
}

TEST_CASE("adopting takes sockets alone, tells their kind and makes them non-blocking") {
  OwnedFd raw = OwnedFd::from_number(socket(AF_UNIX, SOCK_SEQPACKET, 0));
  const auto adopted = Socket::adopt(std::move(raw)).value();
  CHECK(adopted.family() == Family::local);
  CHECK(adopted.type() == SocketType::seqpacket);
  CHECK(is_nonblocking(adopted.fd()).value());
  CHECK(Socket::adopt(OwnedFd::from_number(open("/dev/null", O_RDONLY))).error() == Error::invalid);
  CHECK(Socket::adopt(OwnedFd::from_number(socket(AF_NETLINK, SOCK_RAW, 0))).error() ==
        Error::invalid);
  CHECK(Socket::adopt(OwnedFd()).error() == Error::bad_descriptor);
  auto listener = Listener::create(Address::unnamed()).value();
  CHECK(Socket::adopt(duplicate(listener.fd()).value()).error() == Error::invalid);
  CHECK(Listener::adopt(duplicate(adopted.fd()).value()).error() == Error::invalid);
  CHECK(Listener::adopt(std::move(listener).into_fd()).value().type() == SocketType::stream);
}
