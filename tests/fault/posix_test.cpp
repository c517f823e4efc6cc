#include <doctest/doctest.h>

#include <unistd.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include <parley/os/memfd.hpp>
#include <parley/os/posix/message_queue.hpp>
#include <parley/os/posix/semaphore.hpp>
#include <parley/os/posix/shared_memory.hpp>

#include "os/sys.hpp"
#include "support/faults.hpp"
#include "support/posix_name.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::Result;
using parley::test::bytes_of;
using parley::test::fail_each_call;
using parley::test::interrupt_each_call;
using parley::test::mappings_of;
using parley::test::Outcome;
using parley::test::PosixName;

namespace {

/// The operation, and a look at whether it left memory mapped.
auto leaving_no_mapping(std::function<Outcome()> operation) -> std::function<Outcome()> {
  return [operation = std::move(operation)] {
    auto outcome = operation();
    CHECK(mappings_of("parley-test") == 0);
    CHECK(mappings_of("/dev/shm/sem.") == 0);
    return outcome;
  };
}

/// The outcome of making a named object; where it failed, nothing may bear the name.
template <class Object>
auto outcome_of(Result<Object> made, const PosixName& name) -> Outcome {
  CHECK(name.remove() == made.has_value());
  if (!made) return parley::failure(made.error());
  return {};
}

/// That it timed out is what was to happen.
template <class Value>
auto timed_out(const Result<Value>& result) -> Outcome {
  if (!result && result.error() == Error::timed_out) return {};
  return parley::failure(result ? Error::invalid : result.error());
}

constexpr QueueOptions small{.max_messages = 2, .message_size_bytes = 16};

}  // namespace

TEST_CASE("every failing call of making a POSIX object gives its error and leaves no name") {
  const PosixName name;
  CHECK(fail_each_call(
            leaving_no_mapping([&] { return outcome_of(Semaphore::create(name), name); })) == 1);
  CHECK(fail_each_call([&] { return outcome_of(MessageQueue::create(name), name); }) == 1);
  // With only one attribute the other's default is read: 5 files of 3 calls each, and the limit.
  CHECK(fail_each_call([&] {
          return outcome_of(MessageQueue::create(name, {.max_messages = 1}), name);
        }) == 17);
  CHECK(fail_each_call(
            [&] { return outcome_of(SharedMemory::create(name, {.size_bytes = 1}), name); }) == 4);
  CHECK(fail_each_call([&] {
          return outcome_of(SharedMemory::open_or_create(name, {.size_bytes = 1}), name);
        }) == 5);
}

TEST_CASE("every failing call of using a POSIX semaphore gives its error") {
  const int calls = fail_each_call(leaving_no_mapping([]() -> Outcome {
    const PosixName name;
    auto semaphore = PARLEY_TRY(Semaphore::create(name));
    auto same = PARLEY_TRY(Semaphore::open(name));
    PARLEY_TRY(same.post());
    PARLEY_TRY(semaphore.value());
    PARLEY_TRY(semaphore.wait(Deadline::now()));
    PARLEY_TRY(timed_out(semaphore.wait(Deadline::after(20ms))));
    PARLEY_TRY(Semaphore::permissions(name));
    PARLEY_TRY(Semaphore::set_mode(name, 0640));
    PARLEY_TRY(Semaphore::set_owner(name, {.uid = geteuid(), .gid = getegid()}));
    PARLEY_TRY(Semaphore::unlink(name));
    std::array<std::byte, 64> place{};
    auto unnamed = PARLEY_TRY(UnnamedSemaphore::create(place));
    PARLEY_TRY(std::move(unnamed).destroy());
    return {};
  }));
  CHECK(calls >= 13);
}

TEST_CASE("a wait without a deadline that fails says so") {
  const PosixName name;
  auto semaphore = Semaphore::create(name).value();
  auto queue = MessageQueue::create(name, small).value();
  std::array<std::byte, 16> buffer{};
  sys::injection = {.calls_until_failure = 2, .error = Error::io};
  CHECK(semaphore.wait(Deadline::never()).error() == Error::io);
  sys::injection = {.calls_until_failure = 1, .error = Error::io};
  CHECK(queue.receive(buffer, Deadline::never()).error() == Error::io);
  sys::injection = {};
}

TEST_CASE("every failing call of using a POSIX message queue gives its error") {
  const int calls = fail_each_call([]() -> Outcome {
    const PosixName name;
    auto queue = PARLEY_TRY(MessageQueue::create(name, small));
    auto sender = PARLEY_TRY(MessageSender::open(name));
    auto notifier = PARLEY_TRY(Notifier::create());
    std::array<std::byte, 16> buffer{};
    PARLEY_TRY(queue.notify_by_descriptor(notifier));
    PARLEY_TRY(sender.send(bytes_of("1"), Deadline::now()));
    PARLEY_TRY(sender.send(bytes_of("2"), Deadline::never()));
    PARLEY_TRY(notifier.take(Deadline::now()));
    PARLEY_TRY(timed_out(sender.send(bytes_of("3"), Deadline::after(20ms))));
    PARLEY_TRY(queue.receive(buffer, Deadline::now()));
    PARLEY_TRY(queue.receive(buffer, Deadline::never()));
    PARLEY_TRY(timed_out(queue.receive(buffer, Deadline::after(20ms))));
    PARLEY_TRY(queue.notify_nobody());
    PARLEY_TRY(queue.cancel_notification());
    PARLEY_TRY(queue.notify_by_signal(SIGUSR1));
    PARLEY_TRY(queue.attributes());
    PARLEY_TRY(queue.set_mode(0640));
    PARLEY_TRY(queue.set_owner(PARLEY_TRY(queue.permissions()).owner));
    PARLEY_TRY(queue.status());
    PARLEY_TRY(MessageQueue::adopt(std::move(queue).into_fd()));
    PARLEY_TRY(MessageQueue::unlink(name));
    return {};
  });
  CHECK(calls >= 31);
}

TEST_CASE("every failing call of using POSIX shared memory gives its error") {
  const int calls = fail_each_call(leaving_no_mapping([]() -> Outcome {
    const PosixName name;
    auto memory = PARLEY_TRY(SharedMemory::create_unnamed({.size_bytes = 8192}));
    PARLEY_TRY(memory.publish(name));
    PARLEY_TRY(SharedMemory::open(name));
    auto reader = PARLEY_TRY(SharedMemory::open_read_only(name));
    PARLEY_TRY(reader.map_read_only());
    PARLEY_TRY(memory.set_mode(0640));
    PARLEY_TRY(memory.set_owner(PARLEY_TRY(memory.status()).owner));
    PARLEY_TRY(SharedMemory::open_truncated(name));
    PARLEY_TRY(SharedMemory::unlink(name));
    PARLEY_TRY(SharedMemory::limits());
    PARLEY_TRY(SharedMemory::adopt(std::move(memory).into_fd()));
    return {};
  }));
  CHECK(calls == 18);
}

TEST_CASE("every failing call of using a memfd gives its error and leaves nothing mapped") {
  const int calls = fail_each_call(leaving_no_mapping([]() -> Outcome {
    auto memory = PARLEY_TRY(Memfd::create("parley-test", {.size_bytes = 8192}));
    auto mapping = PARLEY_TRY(memory.map());
    PARLEY_TRY(memory.reserve());
    PARLEY_TRY(memory.discard({}));
    PARLEY_TRY(mapping.sync());
    PARLEY_TRY(mapping.advise(Advice::will_need));
    PARLEY_TRY(mapping.protect({}));
    PARLEY_TRY(mapping.lock());
    PARLEY_TRY(mapping.unlock());
    PARLEY_TRY(mapping.resize(4096));
    PARLEY_TRY(mapping.resize_in_place(8192));
    PARLEY_TRY(memory.add_seals({.shrink = true}));
    PARLEY_TRY(memory.seals());
    PARLEY_TRY(memory.reopen_read_only());
    PARLEY_TRY(Memfd::adopt(std::move(memory).into_fd()));
    PARLEY_TRY(Mapping::anonymous(4096));
    return {};
  }));
  CHECK(calls == 24);
}

TEST_CASE("every failing call of making secret memory gives its error") {
  const auto probe = Memfd::create_secret(0);
  if (!probe && probe.error() == Error::no_such_call) {
    return parley::test::skip("the kernel has no secret memory");
  }
  CHECK(fail_each_call([]() -> Outcome {
          auto memory = PARLEY_TRY(Memfd::create_secret(4096));
          // Asking for seals is how secret memory is told from other memory.
          PARLEY_TRY(Memfd::adopt(std::move(memory).into_fd()));
          return {};
        }) == 6);
}

TEST_CASE("an interrupted call of a POSIX semaphore, queue or memory is made again") {
  const PosixName name;
  auto semaphore = Semaphore::create(name).value();
  auto queue = MessageQueue::create(name, small).value();
  auto memory = SharedMemory::create_unnamed({}).value();
  CHECK(interrupt_each_call([&]() -> Outcome {
          std::array<std::byte, 16> buffer{};
          PARLEY_TRY(queue.send(bytes_of("1"), Deadline::now()));
          PARLEY_TRY(queue.send(bytes_of("2"), Deadline::never()));
          PARLEY_TRY(queue.receive(buffer, Deadline::now()));
          PARLEY_TRY(queue.receive(buffer, Deadline::never()));
          PARLEY_TRY(memory.resize(10));
          PARLEY_TRY(memory.reserve({.size_bytes = 10}));
          return timed_out(semaphore.wait(Deadline::after(20ms)));
        }) >= 8);
}
