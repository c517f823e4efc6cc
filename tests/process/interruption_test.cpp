#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/semaphore_set.hpp>
#include <parley/stream.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

void handle(int signal, int flags, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  REQUIRE(sigaction(signal, &action, nullptr) == 0);
}

void interrupt(int /*signal*/) {
  interrupt_wait();
}

/// `wait` of a peer ends as interrupted, once it is asleep and a handler with those flags runs.
void check_interrupted(int flags, const std::function<Error(Deadline)>& wait) {
  Peer peer([&] {
    handle(SIGUSR1, flags, interrupt);
    REQUIRE(wait(Deadline::never().or_signal()) == Error::interrupted);
  });
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR1);
  CHECK(peer.wait() == 0);
}

auto error_of(const auto& result) -> Error {
  return result ? Error{} : result.error();
}

}  // namespace

TEST_CASE("a wait for a semaphore ends at a signal, with SA_RESTART and without, and takes none") {
  for (const int flags : {0, SA_RESTART}) {
    for (const bool undo : {true, false}) {
      const std::array<std::uint16_t, 1> none{0};
      auto set = SemaphoreSet::create(none, {.undo = undo}).value();
      check_interrupted(flags, [&](Deadline deadline) {
        return error_of(set.operate({.index = 0, .delta = -1}, deadline));
      });
      CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()));
      CHECK(set.value(0).value() == 1);
      CHECK(set.status().value().waiting == 0);
    }
  }
}

TEST_CASE("a wait at a queue ends at a signal, with SA_RESTART and without, and takes nothing") {
  const std::array<std::byte, 4> message{};
  for (const int flags : {0, SA_RESTART}) {
    auto queue = MessageQueue::create({.messages = 1}).value();
    check_interrupted(flags, [&](Deadline deadline) {
      std::array<std::byte, 4> into{};
      return error_of(queue.receive(into, deadline));
    });
    check_interrupted(flags, [&](Deadline deadline) {
      return error_of(queue.take(Selection::oldest(), deadline));
    });
    REQUIRE(queue.send(message, {}, Deadline::now()));
    CHECK(queue.status()->messages == 1);
    check_interrupted(
        flags, [&](Deadline deadline) { return error_of(queue.send(message, {}, deadline)); });
    check_interrupted(flags,
                      [&](Deadline deadline) { return error_of(queue.reserve(4, deadline)); });
    std::array<std::byte, 4> into{};
    CHECK(queue.receive(into, Deadline::now()));
    CHECK(queue.status()->messages == 0);
  }
}

TEST_CASE("a wait at a stream ends at a signal, with SA_RESTART and without") {
  for (const int flags : {0, SA_RESTART}) {
    auto stream = Stream::create().value();
    auto writer = stream.writer().value();
    check_interrupted(flags, [&](Deadline deadline) {
      auto reader = stream.reader().value();
      std::array<std::byte, 4> into{};
      return error_of(reader.read(into, deadline));
    });
  }
  for (const int flags : {0, SA_RESTART}) {
    auto stream = Stream::create().value();
    auto reader = stream.reader().value();
    check_interrupted(flags, [&](Deadline deadline) {
      auto writer = stream.writer().value();
      const std::vector<std::byte> more(std::size_t{16} << 20U);
      return error_of(writer.write(more, deadline));
    });
  }
}

TEST_CASE("a signal does not end a wait whose deadline does not say so") {
  auto semaphore = Semaphore::create(0).value();
  for (const int flags : {0, SA_RESTART}) {
    Peer peer([&] {
      handle(SIGUSR1, flags, interrupt);
      REQUIRE(semaphore.wait(Deadline::never()));
    });
    wait_until_asleep(peer.pid());
    ::kill(peer.pid(), SIGUSR1);
    wait_until_asleep(peer.pid());
    CHECK(semaphore.post());
    CHECK(peer.wait() == 0);
  }
}

TEST_CASE("a signal between the making of the deadline and the wait is not missed") {
  handle(SIGUSR1, SA_RESTART, interrupt);
  for (const auto strategy : {WaitStrategy::spin, WaitStrategy::adaptive, WaitStrategy::block}) {
    const std::array<std::uint16_t, 1> none{0};
    auto set = SemaphoreSet::create(none).value();
    set.set_wait_strategy(strategy);
    const auto deadline = Deadline::never().or_signal();
    CHECK_FALSE(deadline.is_interrupted());
    REQUIRE(std::raise(SIGUSR1) == 0);
    CHECK(deadline.is_interrupted());
    CHECK(error_of(set.operate({.index = 0, .delta = -1}, deadline)) == Error::interrupted);
    REQUIRE(set.operate({.index = 0, .delta = 1}, deadline));
    CHECK(set.operate({.index = 0, .delta = -1}, deadline));  // what needs no wait is done
  }
}

TEST_CASE("a handler that waits may be interrupted itself, and the outer wait ends too") {
  static SemaphoreSet* inner;
  static Error inner_error;
  auto outer = Semaphore::create(0).value();
  auto ready = Semaphore::create(0).value();
  const std::array<std::uint16_t, 1> none{0};
  auto second = SemaphoreSet::create(none).value();
  inner = &second;
  Peer peer([&] {
    handle(SIGUSR2, SA_RESTART, interrupt);
    handle(SIGUSR1, SA_RESTART, [](int) {
      interrupt_wait();
      inner_error =
          error_of(inner->operate({.index = 0, .delta = -1}, Deadline::never().or_signal()));
    });
    // It takes part in both, so that it sleeps for nothing else.
    REQUIRE(error_of(outer.wait(Deadline::now())) == Error::would_block);
    REQUIRE(error_of(second.operate({.index = 0, .delta = -1}, Deadline::now())) ==
            Error::would_block);
    REQUIRE(ready.post());
    REQUIRE(error_of(outer.wait(Deadline::never().or_signal())) == Error::interrupted);
    REQUIRE(inner_error == Error::interrupted);
  });
  REQUIRE(ready.wait(Deadline::never()));
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR1);
  while (second.status().value().waiting != 1) std::this_thread::yield();
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR2);
  CHECK(peer.wait() == 0);
}

TEST_CASE("among signals no unit is lost, whether a wait ends by it or by them") {
  constexpr int rounds = 2000;
  auto semaphore = Semaphore::create(0).value();
  for (const int flags : {0, SA_RESTART}) {
    handle(SIGUSR1, flags, interrupt);
    Peer taker([&] {
      int interrupted = 0;
      for (int taken = 0; taken < rounds;) {
        const auto error = error_of(semaphore.wait(Deadline::never().or_signal()));
        if (error == Error{}) {
          ++taken;
        } else {
          REQUIRE(error == Error::interrupted);
          ++interrupted;
        }
      }
      REQUIRE(interrupted > 0);
    });
    for (int i = 0; i < rounds; ++i) {
      ::kill(taker.pid(), SIGUSR1);
      CHECK(semaphore.post());
      if (i % 64 != 0) continue;
      wait_until_asleep(taker.pid());
      ::kill(taker.pid(), SIGUSR1);
      wait_until_asleep(taker.pid());
    }
    CHECK(taker.wait() == 0);
    CHECK(semaphore.value().value() == 0);
  }
}

}  // namespace parley::test
