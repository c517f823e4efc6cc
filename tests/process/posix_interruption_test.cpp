#include <doctest/doctest.h>

#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>

#include <parley/os/posix/message_queue.hpp>
#include <parley/os/posix/semaphore.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/posix_name.hpp"
#include "support/signalled.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::Result;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::PosixName;
using parley::test::run_among_signals;
using parley::test::wait_until_asleep;

namespace {

using Wait = std::function<Result<void>(Deadline)>;

void take_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
}

/// Signals come in all the time; the wait must end at its one deadline.
void check_deadline_holds(const Wait& wait) {
  run_among_signals([&] {
    const auto start = Deadline::Clock::now();
    REQUIRE(wait(Deadline::after(200ms)).error() == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}

/// A signal comes while it waits without a deadline; it must go on and get what it waits for.
void check_wait_goes_on(const Wait& wait, const std::function<void()>& serve) {
  Peer sleeper([&] {
    take_signals();
    REQUIRE(wait(Deadline::never()));
  });
  for (int signals = 0; signals < 3; ++signals) {
    wait_until_asleep(sleeper.pid());
    REQUIRE(kill(sleeper.pid(), SIGUSR1) == 0);
  }
  wait_until_asleep(sleeper.pid());
  serve();
  CHECK(sleeper.wait() == 0);
}

constexpr QueueOptions one{.max_messages = 1, .message_size_bytes = 16};

auto receive(MessageQueue& queue, Deadline deadline) -> Result<void> {
  std::array<std::byte, 16> buffer{};
  PARLEY_TRY(queue.receive(buffer, deadline));
  return {};
}

}  // namespace

TEST_CASE("signals neither lengthen nor end a wait for a semaphore") {
  const PosixName name;
  auto semaphore = Semaphore::create(name).value();
  const auto wait = [&](Deadline deadline) { return semaphore.wait(deadline); };
  check_deadline_holds(wait);
  check_wait_goes_on(wait, [&] { REQUIRE(semaphore.post()); });
}

TEST_CASE("signals neither lengthen nor end a wait for a message in a queue") {
  const PosixName name;
  auto queue = MessageQueue::create(name, one).value();
  const auto wait = [&](Deadline deadline) { return receive(queue, deadline); };
  check_deadline_holds(wait);
  check_wait_goes_on(wait, [&] { REQUIRE(queue.send(bytes_of("x"), Deadline::now())); });
}

TEST_CASE("signals neither lengthen nor end a wait for room in a queue") {
  const PosixName name;
  auto queue = MessageQueue::create(name, one).value();
  REQUIRE(queue.send(bytes_of("x"), Deadline::now()));
  const auto wait = [&](Deadline deadline) { return queue.send(bytes_of("y"), deadline); };
  check_deadline_holds(wait);
  check_wait_goes_on(wait, [&] { REQUIRE(receive(queue, Deadline::now())); });
}

TEST_CASE("signals neither lengthen nor end a wait for a queue's notification") {
  const PosixName name;
  auto queue = MessageQueue::create(name, one).value();
  auto notifier = Notifier::create().value();
  REQUIRE(queue.notify_by_descriptor(notifier));
  const auto wait = [&](Deadline deadline) -> Result<void> {
    PARLEY_TRY(notifier.take(deadline));
    return {};
  };
  check_deadline_holds(wait);
  check_wait_goes_on(wait, [&] { REQUIRE(queue.send(bytes_of("x"), Deadline::now())); });
}
