#include <parley/os/signal_driven.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <optional>
#include <thread>

#include <parley/os/pipe.hpp>
#include <parley/os/socket.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;

namespace {

/// Blocks a signal, so that it can be taken when it is looked for, in this thread and in the peers
/// and threads that it starts.
class Signal {
 public:
  explicit Signal(int number) : number_(number) {
    sigemptyset(&set_);
    sigaddset(&set_, number);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &set_, nullptr) == 0);
    // A pipe that is closed signals too: nothing of an earlier case may be left.
    while (take()) {
    }
  }

  /// The pending one, waiting for it so long.
  [[nodiscard]] auto take(std::chrono::seconds at_most = 0s) const -> std::optional<siginfo_t> {
    siginfo_t info{};
    const timespec limit{.tv_sec = at_most.count(), .tv_nsec = 0};
    if (sigtimedwait(&set_, &info, &limit) != number_) return std::nullopt;
    return info;
  }

 private:
  int number_;
  sigset_t set_{};
};

void send_to_me(BorrowedFd fd, int signal) {
  REQUIRE(set_signal_owner(fd, {.target = SignalTarget::process, .id = getpid()}));
  REQUIRE(set_ready_signal(fd, signal));
  REQUIRE(set_signal_driven(fd, true));
}

}  // namespace

TEST_CASE("a pipe's two ends signal what came and that there is room, and which of them it was") {
  const Signal signal(SIGRTMIN + 3);
  auto pipe = Pipe::create({.capacity_bytes = 4096}).value();
  std::array<std::byte, 4096> bytes{};
  send_to_me(pipe.reader.fd(), SIGRTMIN + 3);
  send_to_me(pipe.writer.fd(), SIGRTMIN + 3);
  CHECK_FALSE(signal.take().has_value());
  REQUIRE(pipe.writer.write(bytes, Deadline::now()));
  const auto came = signal.take();
  REQUIRE(came.has_value());
  CHECK(came->si_fd == pipe.reader.fd().number());
  CHECK((came->si_band & POLLIN) != 0);
  CHECK_FALSE(signal.take().has_value());
  REQUIRE(pipe.reader.read(bytes, Deadline::now()));
  const auto room = signal.take();
  REQUIRE(room.has_value());
  CHECK(room->si_fd == pipe.writer.fd().number());
  CHECK((room->si_band & POLLOUT) != 0);
}

TEST_CASE("a descriptor that is not driven by signals, or not any more, or by nobody, is silent") {
  const Signal signal(SIGRTMIN + 3);
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  CHECK_FALSE(is_signal_driven(other.fd()).value());
  REQUIRE(one.send(bytes_of("x"), Deadline::now()));
  send_to_me(other.fd(), SIGRTMIN + 3);
  CHECK(is_signal_driven(other.fd()).value());
  CHECK_FALSE(signal.take().has_value());  // what is there already is no change
  REQUIRE(one.send(bytes_of("x"), Deadline::now()));
  CHECK(signal.take().has_value());
  REQUIRE(set_signal_owner(other.fd(), {}));
  REQUIRE(one.send(bytes_of("x"), Deadline::now()));
  CHECK_FALSE(signal.take().has_value());
  send_to_me(other.fd(), SIGRTMIN + 3);
  REQUIRE(set_signal_driven(other.fd(), false));
  CHECK_FALSE(is_signal_driven(other.fd()).value());
  REQUIRE(one.send(bytes_of("x"), Deadline::now()));
  CHECK_FALSE(signal.take().has_value());
}

TEST_CASE("without a signal of one's own it is SIGIO") {
  const Signal signal(SIGIO);
  auto [one, other] = Socket::pair(SocketType::stream).value();
  CHECK(ready_signal(other.fd()).value() == 0);
  send_to_me(other.fd(), 0);
  REQUIRE(one.send(bytes_of("x"), Deadline::now()));
  CHECK(signal.take().has_value());
}

TEST_CASE("an urgent byte signals a socket's owner without anything else being set") {
  const Signal signal(SIGURG);
  auto listener = Listener::create(Address::loopback_ipv4(0)).value();
  auto client = Socket::create(Family::ipv4, SocketType::stream).value();
  REQUIRE(client.connect(listener.local_address().value(), Deadline::after(10s)));
  auto server = listener.accept(Deadline::after(10s)).value();
  REQUIRE(set_signal_owner(server.fd(), {.target = SignalTarget::process, .id = getpid()}));
  REQUIRE(client.send(bytes_of("!"), Deadline::now(), {.out_of_band = true}));
  CHECK(signal.take(10s).has_value());
}

TEST_CASE("the signal goes to the process that owns the descriptor, not to the one that said so") {
  const Signal signal(SIGRTMIN + 3);
  auto pipe = Pipe::create().value();
  auto told = Pipe::create().value();
  const Peer owner([&] {
    REQUIRE(signal.take(30s).has_value());
    REQUIRE(told.writer.write(bytes_of("x"), Deadline::now()));
  });
  REQUIRE(set_signal_owner(pipe.reader.fd(), {.target = SignalTarget::process, .id = owner.pid()}));
  REQUIRE(set_ready_signal(pipe.reader.fd(), SIGRTMIN + 3));
  REQUIRE(set_signal_driven(pipe.reader.fd(), true));
  REQUIRE(pipe.writer.write(bytes_of("x"), Deadline::now()));
  std::array<std::byte, 1> byte{};
  CHECK(told.reader.read(byte, Deadline::after(30s)).value() == 1);
  CHECK_FALSE(signal.take().has_value());
}

TEST_CASE("the signal can go to one thread, which alone sees it") {
  const Signal signal(SIGRTMIN + 3);
  auto pipe = Pipe::create().value();
  REQUIRE(set_ready_signal(pipe.reader.fd(), SIGRTMIN + 3));
  REQUIRE(set_signal_driven(pipe.reader.fd(), true));
  std::optional<siginfo_t> seen;
  {
    const std::jthread thread([&] {
      const SignalOwner me{.target = SignalTarget::thread, .id = gettid()};
      REQUIRE(set_signal_owner(pipe.reader.fd(), me));
      CHECK(signal_owner(pipe.reader.fd()).value() == me);
      REQUIRE(pipe.writer.write(bytes_of("x"), Deadline::now()));
      seen = signal.take();
    });
  }
  CHECK(seen.has_value());
  CHECK_FALSE(signal.take().has_value());
}

TEST_CASE("owner and signal are read back; who is nobody, and what is no signal, is refused") {
  const auto pipe = Pipe::create().value();
  const BorrowedFd fd = pipe.reader.fd();
  CHECK(signal_owner(fd).value().id == 0);
  for (const SignalOwner owner : {SignalOwner{.target = SignalTarget::process, .id = getpid()},
                                  SignalOwner{.target = SignalTarget::group, .id = getpgrp()},
                                  SignalOwner{.target = SignalTarget::thread, .id = gettid()}}) {
    REQUIRE(set_signal_owner(fd, owner));
    CHECK(signal_owner(fd).value() == owner);
  }
  REQUIRE(set_ready_signal(fd, SIGUSR2));
  CHECK(ready_signal(fd).value() == SIGUSR2);
  CHECK(set_ready_signal(fd, SIGRTMAX + 1).error() == Error::invalid);
  CHECK(static_cast<int>(set_signal_owner(fd, {.id = 0x3fffffff}).error()) == ESRCH);
  CHECK(signal_owner(BorrowedFd::from_number(-1)).error() == Error::bad_descriptor);
}
