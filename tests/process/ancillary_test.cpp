#include <parley/os/ancillary.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>

#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <parley/os/pipe.hpp>
#include <parley/os/socket.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/skip.hpp"

using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::become_nobody;
using parley::test::bytes_of;
using parley::test::can_become_another_user;
using parley::test::open_descriptors;
using parley::test::Peer;
using parley::test::skip;
using parley::test::text_of;

namespace {

constexpr uid_t nobody = 65534;

void drop(Socket& socket) {
  static_cast<void>(std::move(socket).into_fd());
}

auto own_credentials() -> Credentials {
  return {.pid = getpid(), .uid = getuid(), .gid = getgid()};
}

}  // namespace

TEST_CASE("a pipe handed to another process works there, and ends when that process ends") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  auto pipe = Pipe::create().value();
  Peer writer([&] {
    static_cast<void>(std::move(pipe.writer).into_fd());
    auto message = other.receive_message({}, Deadline::never()).value();
    auto end = PipeWriter::adopt(std::move(message.ancillary.descriptors.at(0))).value();
    REQUIRE(end.write(bytes_of("through"), Deadline::never()));
  });
  {
    const std::array<BorrowedFd, 1> fds{pipe.writer.fd()};
    REQUIRE(one.send_message({.attachments = {.descriptors = fds}}, Deadline::never()));
    static_cast<void>(std::move(pipe.writer).into_fd());
  }
  std::array<std::byte, 100> buffer{};
  CHECK(pipe.reader.read_all(buffer, Deadline::never()).value() == 7);
}

TEST_CASE("a split send goes on while the receiver takes message after message") {
  // Ten messages fit the queue of a datagram receiver: this needs more.
  constexpr std::size_t count = 253 * 15 + 7;
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  Peer sender([&] {
    const OwnedFd one_fd = duplicate(BorrowedFd::from_number(STDERR_FILENO)).value();
    const std::vector<BorrowedFd> fds(count, BorrowedFd(one_fd));
    auto socket = Socket::create(Family::local, SocketType::datagram).value();
    REQUIRE(socket.send_message(
        {.bytes = bytes_of("end"), .to = &where, .attachments = {.descriptors = fds}},
        Deadline::never()));
  });
  const auto before = open_descriptors();
  {
    std::array<std::byte, 8> buffer{};
    const auto message = receiver.receive_split(buffer, count, Deadline::never()).value();
    CHECK(message.ancillary.descriptors.size() == count);
    CHECK(message.size_bytes == 3);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("descriptors of a send that goes out in pieces arrive once") {
  constexpr std::size_t total = 3'000'000;
  auto [one, other] = Socket::pair(SocketType::stream).value();
  Peer sender([&] {
    drop(other);
    const std::vector<std::byte> much(total);
    const std::array<BorrowedFd, 1> fds{BorrowedFd::from_number(STDERR_FILENO)};
    REQUIRE(
        one.send_message({.bytes = much, .attachments = {.descriptors = fds}}, Deadline::never()));
  });
  drop(one);
  std::vector<std::byte> block(100'000);
  std::size_t got = 0;
  std::size_t descriptor_count = 0;
  for (;;) {
    const auto message = other.receive_message({.into = block}, Deadline::never()).value();
    if (message.ended) break;
    got += message.size_bytes;
    descriptor_count += message.ancillary.descriptors.size();
  }
  CHECK(got == total);
  CHECK(descriptor_count == 1);
}

TEST_CASE("the kernel vouches for the sender, whether it names itself or not") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  REQUIRE(other.set(option::pass_credentials, true));
  Peer sender([&] {
    REQUIRE(one.send(bytes_of("1"), Deadline::never()));
    REQUIRE(
        one.send_message({.attachments = {.credentials = own_credentials()}}, Deadline::never()));
  });
  std::array<std::byte, 1> buffer{};
  const Credentials expected{.pid = sender.pid(), .uid = getuid(), .gid = getgid()};
  for (int i = 0; i < 2; ++i) {
    const auto message = other.receive_message({.into = buffer}, Deadline::never()).value();
    CHECK(message.ancillary.credentials == expected);
  }
}

TEST_CASE("credentials that the sender may not claim are not permitted and nothing is sent") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  REQUIRE(other.set(option::pass_credentials, true));
  Peer sender([&] {
    if (geteuid() == 0) become_nobody();
    const Credentials own = own_credentials();
    const auto claim = [&](Credentials who) {
      return one.send_message({.attachments = {.credentials = who}}, Deadline::never());
    };
    for (const Credentials& foreign :
         {Credentials{.pid = own.pid, .uid = 0, .gid = own.gid},
          Credentials{.pid = own.pid, .uid = own.uid, .gid = 0},
          Credentials{.pid = getppid(), .uid = own.uid, .gid = own.gid}}) {
      const auto sent = claim(foreign);
      REQUIRE_FALSE(sent.has_value());
      REQUIRE(sent.error() == Error::not_permitted);
    }
    REQUIRE(claim(own).has_value());
  });
  const auto message = other.receive_message({}, Deadline::never()).value();
  const bool was_root = geteuid() == 0;
  CHECK(message.ancillary.credentials == Credentials{.pid = sender.pid(),
                                                     .uid = was_root ? nobody : getuid(),
                                                     .gid = was_root ? nobody : getgid()});
  drop(one);
  CHECK(other.receive_message({}, Deadline::never()).value().ended);
}

TEST_CASE("a privileged sender may claim to be another process that exists") {
  auto [one, other] = Socket::pair(SocketType::datagram).value();
  REQUIRE(other.set(option::pass_credentials, true));
  const Credentials claimed{.pid = getppid(), .uid = nobody, .gid = nobody};
  const auto sent = one.send_message({.attachments = {.credentials = claimed}}, Deadline::never());
  if (!sent) {
    CHECK(sent.error() == Error::not_permitted);
    skip("needs CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID");
    return;
  }
  CHECK(other.receive_message({}, Deadline::never()).value().ancillary.credentials == claimed);
}

TEST_CASE("a message tells its sender's pidfd, which is readable once that process has died") {
  auto [one, other] = Socket::pair(SocketType::datagram).value();
  if (!other.set(option::pass_pidfd, true)) {
    skip("this kernel has no SO_PASSPIDFD (before Linux 6.5)");
    return;
  }
  Peer sender([&] {
    REQUIRE(one.send({}, Deadline::never()));
    for (;;) pause();
  });
  const auto message = other.receive_message({}, Deadline::never()).value();
  REQUIRE(message.ancillary.pidfd.is_open());
  CHECK(closes_on_exec(message.ancillary.pidfd).value());
  pollfd dead{.fd = message.ancillary.pidfd.number(), .events = POLLIN, .revents = 0};
  CHECK(poll(&dead, 1, 0) == 0);
  sender.kill();
  CHECK(poll(&dead, 1, -1) == 1);
}

TEST_CASE("descriptors of a sender that died arrive all the same") {
  auto [one, other] = Socket::pair(SocketType::stream).value();
  Peer sender([&] {
    auto pipe = Pipe::create().value();
    REQUIRE(pipe.writer.write(bytes_of("legacy"), Deadline::never()));
    const std::array<BorrowedFd, 1> fds{pipe.reader.fd()};
    REQUIRE(one.send_message({.bytes = bytes_of("r"), .attachments = {.descriptors = fds}},
                             Deadline::never()));
    for (;;) pause();
  });
  drop(one);
  pollfd arrived{.fd = other.fd().number(), .events = POLLIN, .revents = 0};
  REQUIRE(poll(&arrived, 1, -1) == 1);
  sender.kill();
  std::array<std::byte, 8> buffer{};
  auto message = other.receive_message({.into = buffer}, Deadline::never()).value();
  auto reader = PipeReader::adopt(std::move(message.ancillary.descriptors.at(0))).value();
  CHECK(reader.read(buffer, Deadline::never()).value() == 6);
  CHECK(text_of(std::span(buffer).first(6)) == "legacy");
  CHECK(reader.read(buffer, Deadline::never()).value() == 0);
}

TEST_CASE("the labels that a security module gives are told, or that there are none") {
  auto [one, other] = Socket::pair(SocketType::stream).value();
  const auto label = one.peer_security_label();
  if (!label) {
    CHECK(label.error() == Error::no_such_option);
    skip("no security module here gives labels");
    return;
  }
  REQUIRE(other.set(option::pass_security, true));
  REQUIRE(one.send(bytes_of("x"), Deadline::never()));
  std::array<std::byte, 8> buffer{};
  const auto message = other.receive_message({.into = buffer}, Deadline::never()).value();
  CHECK(message.ancillary.security_label == *label);
}

TEST_CASE("too many descriptors in flight is an error, not a loss") {
  if (!can_become_another_user()) return;
  Peer sender([] {
    const rlimit few{.rlim_cur = 64, .rlim_max = 64};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    become_nobody();
    auto [one, other] = Socket::pair(SocketType::seqpacket).value();
    const std::vector<BorrowedFd> fds(60, BorrowedFd::from_number(STDERR_FILENO));
    const Outgoing message{.attachments = {.descriptors = fds}};
    REQUIRE(one.send_message(message, Deadline::never()));
    REQUIRE(one.send_message(message, Deadline::never()));
    const auto third = one.send_message(message, Deadline::never());
    REQUIRE_FALSE(third.has_value());
    REQUIRE(static_cast<int>(third.error().error) == ETOOMANYREFS);
  });
}
