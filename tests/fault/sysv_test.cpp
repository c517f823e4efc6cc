#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include <parley/os/sysv/message_queue.hpp>
#include <parley/os/sysv/semaphore_set.hpp>
#include <parley/os/sysv/shared_memory.hpp>

#include "os/sys.hpp"
#include "support/faults.hpp"
#include "support/skip.hpp"
#include "support/sysv.hpp"

using namespace std::chrono_literals;
using namespace parley::os::sysv;
using parley::Deadline;
using parley::Error;
using parley::failure;
using parley::test::fail_each_call;
using parley::test::interrupt_each_call;
using parley::test::IpcNamespace;
using parley::test::Outcome;
using parley::test::OwnKey;
using parley::test::Scoped;
using parley::test::skip;

namespace sys = parley::os::sys;

namespace {

using Values = std::vector<std::uint16_t>;

/// Of all three kinds, in this IPC namespace.
auto object_count() -> std::size_t {
  return SemaphoreSet::usage().value().sets + MessageQueue::usage().value().queues +
         SharedMemory::usage().value().segments;
}

/// fail_each_call, in an IPC namespace that must be empty after each run.
auto fail_each_call_and_leave_nothing(const std::function<Outcome()>& operation) -> int {
  const IpcNamespace own;
  if (!own.is_entered()) skip("counting objects, without an IPC namespace");
  return fail_each_call([&] {
    const Outcome outcome = operation();
    const auto injection = std::exchange(sys::injection, {});
    if (own.is_entered()) CHECK(object_count() == 0);
    sys::injection = injection;
    return outcome;
  });
}

/// For a wait that must end at its deadline.
auto ended_by_deadline(const Outcome& outcome) -> Outcome {
  if (outcome) return failure(Error::invalid);
  if (outcome.error() != Error::timed_out) return outcome;
  return {};
}

}  // namespace

TEST_CASE("every failing call of making a semaphore set gives its error and leaves no set") {
  const OwnKey own;
  const auto made = [](const auto& set) -> Outcome {
    if (!set) return failure(set.error());
    const Scoped removed(*set);
    return {};
  };
  const Values values(40, 3);
  CHECK(fail_each_call_and_leave_nothing(
            [&] { return made(SemaphoreSet::create(own.key(), values)); }) == 3);
  CHECK(fail_each_call_and_leave_nothing(
            [&] { return made(SemaphoreSet::create(Key::private_key(), values)); }) == 2);
  CHECK(fail_each_call_and_leave_nothing(
            [&] { return made(SemaphoreSet::create(own.key(), 3)); }) == 1);
  CHECK(fail_each_call_and_leave_nothing(
            [&] { return made(SemaphoreSet::open_or_create(own.key(), values)); }) == 3);
}

TEST_CASE("every failing call of using a semaphore set gives its error") {
  const OwnKey own;
  const int calls = fail_each_call_and_leave_nothing([&]() -> Outcome {
    const Scoped set(PARLEY_TRY(SemaphoreSet::create(own.key(), Values{1, 2})));
    PARLEY_TRY(SemaphoreSet::open(own.key(), Deadline::never()));
    PARLEY_TRY(SemaphoreSet::open_or_create(own.key(), Values{1, 2}));
    PARLEY_TRY(SemaphoreSet::open_or_create(own.key(), 2));
    PARLEY_TRY(SemaphoreSet::adopt(set->id()));
    PARLEY_TRY(set->operate({.index = 0, .delta = 1}, Deadline::now()));
    PARLEY_TRY(ended_by_deadline(set->operate({.index = 0, .delta = 0}, Deadline::after(1ms))));
    PARLEY_TRY(set->value(0));
    PARLEY_TRY(set->set_value(0, 4));
    PARLEY_TRY(set->values());
    PARLEY_TRY(set->set_values(Values{1, 2}));
    PARLEY_TRY(set->last_process(0));
    PARLEY_TRY(set->waiting_for_increase(0));
    PARLEY_TRY(set->waiting_for_zero(0));
    PARLEY_TRY(set->set_access(PARLEY_TRY(set->status()).permissions.access));
    PARLEY_TRY(SemaphoreSet::list());
    PARLEY_TRY(SemaphoreSet::limits());
    PARLEY_TRY(SemaphoreSet::usage());
    PARLEY_TRY(set->remove());
    return {};
  });
  CHECK(calls >= 26);
}

TEST_CASE("every failing call of a message queue gives its error and leaves no queue") {
  const OwnKey own;
  const int calls = fail_each_call_and_leave_nothing([&]() -> Outcome {
    std::array<std::byte, 8> buffer{};
    const auto receive = [&](const MessageQueue& queue, Deadline deadline) -> Outcome {
      PARLEY_TRY(queue.receive(Selector::oldest(), buffer, deadline));
      return {};
    };
    const Scoped queue(PARLEY_TRY(MessageQueue::open_or_create(own.key())));
    PARLEY_TRY(MessageQueue::open_or_create(own.key()));
    PARLEY_TRY(MessageQueue::open(own.key()));
    PARLEY_TRY(MessageQueue::adopt(queue->id()));
    PARLEY_TRY(queue->set_capacity_bytes(8));
    PARLEY_TRY(queue->send(1, buffer, Deadline::now()));
    PARLEY_TRY(ended_by_deadline(queue->send(1, buffer, Deadline::after(1ms))));
    const auto peeked = queue->peek(0, buffer);
    if (!peeked && peeked.error() != Error::no_such_call) return failure(peeked.error());
    PARLEY_TRY(receive(*queue, Deadline::never()));
    PARLEY_TRY(ended_by_deadline(receive(*queue, Deadline::after(1ms))));
    PARLEY_TRY(queue->set_access(PARLEY_TRY(queue->status()).permissions.access));
    PARLEY_TRY(MessageQueue::list());
    PARLEY_TRY(MessageQueue::limits());
    PARLEY_TRY(MessageQueue::usage());
    PARLEY_TRY(queue->remove());
    return {};
  });
  CHECK(calls >= 26);
}

TEST_CASE("every failing call of shared memory gives its error and leaves no segment") {
  const OwnKey own;
  const int calls = fail_each_call_and_leave_nothing([&]() -> Outcome {
    const Scoped memory(PARLEY_TRY(SharedMemory::open_or_create(own.key(), 4096)));
    PARLEY_TRY(SharedMemory::open_or_create(own.key(), 4096));
    PARLEY_TRY(SharedMemory::open(own.key()));
    PARLEY_TRY(SharedMemory::adopt(memory->id()));
    auto attachment = PARLEY_TRY(memory->attach());
    PARLEY_TRY(memory->attach_read_only());
    PARLEY_TRY(std::move(attachment).detach());
    PARLEY_TRY(memory->set_access(PARLEY_TRY(memory->status()).permissions.access));
    PARLEY_TRY(SharedMemory::list());
    PARLEY_TRY(SharedMemory::limits());
    PARLEY_TRY(SharedMemory::usage());
    PARLEY_TRY(memory->remove());
    return {};
  });
  CHECK(calls >= 19);
}

TEST_CASE("a detachment that failed is made up for when the attachment goes") {
  const Scoped memory(SharedMemory::create(Key::private_key(), 4096).value());
  {
    auto attachment = memory->attach().value();
    sys::injection = {.calls_until_failure = 1, .error = Error::io};
    CHECK(std::move(attachment).detach().error() == Error::io);
    CHECK(memory->status()->attachment_count == 1);
  }
  CHECK(memory->status()->attachment_count == 0);
}

TEST_CASE("an interrupted semaphore operation or queue transfer is made again") {
  const Scoped set(SemaphoreSet::create(Key::private_key(), Values{1}).value());
  const Scoped queue(MessageQueue::create(Key::private_key()).value());
  for (const auto deadline : {Deadline::now(), Deadline::after(50s), Deadline::never()}) {
    CHECK(interrupt_each_call([&]() -> Outcome {
            std::array<std::byte, 8> buffer{};
            PARLEY_TRY(set->operate({.index = 0, .delta = 1}, deadline));
            PARLEY_TRY(queue->send(1, buffer, deadline));
            PARLEY_TRY(queue->receive(Selector::oldest(), buffer, deadline));
            return {};
          }) == 3);
  }
}

TEST_CASE("an interrupted step of filling a set is made again") {
  const OwnKey own;
  int interrupted = 0;
  for (int call = 2; call <= 3; ++call) {
    sys::injection = {.calls_until_failure = call, .error = Error::interrupted};
    const Scoped set(SemaphoreSet::create(own.key(), Values(40, 3)).value());
    interrupted += sys::injection.fired ? 1 : 0;
    sys::injection = {};
    CHECK(set->values().value() == Values(40, 3));
  }
  CHECK(interrupted == 2);
}
