#include <parley/semaphore_set.hpp>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include <parley/inspect.hpp>

#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Semaphore;
using parley::SemaphoreOperation;
using parley::SemaphoreSet;
using parley::SemaphoreSetOptions;
using Values = std::vector<std::uint16_t>;
using Operations = std::vector<SemaphoreOperation>;

constexpr auto soon = 20ms;
constexpr auto in_time = 10s;

auto make(const Values& values, const SemaphoreSetOptions& options = {}) -> SemaphoreSet {
  return SemaphoreSet::create(values, options).value();
}

}  // namespace

TEST_CASE("a new set has the values that it was given") {
  auto set = make({3, 0, 32767});
  CHECK(set.count() == 3);
  CHECK(set.values().value() == Values{3, 0, 32767});
  CHECK(set.value(2).value() == 32767);
  CHECK(set.value(3).error() == Error::invalid);
}

TEST_CASE("a set cannot be made of nothing, of too much, or with values out of range") {
  CHECK(SemaphoreSet::create(Values{}).error() == Error::invalid);
  CHECK(SemaphoreSet::create(Values(32001)).error() == Error::invalid);
  CHECK(SemaphoreSet::create(Values{32768}).error() == Error::out_of_range);
  const Values one{1};
  CHECK(SemaphoreSet::create(one, {.participants = 0}).error() == Error::invalid);
  CHECK(SemaphoreSet::create(one, {.participants = 100'000}).error() == Error::invalid);
  CHECK(SemaphoreSet::create(one, {.operations = 0}).error() == Error::invalid);
  CHECK(SemaphoreSet::create(one, {.operations = 501}).error() == Error::invalid);
  CHECK(SemaphoreSet::create(one, {.waiters = 0}).error() == Error::invalid);
}

TEST_CASE("the largest set works") {
  auto set = make(Values(SemaphoreSet::semaphores_at_most, 1),
                  {.participants = 2, .operations = 500, .waiters = 2});
  Operations all;
  for (std::uint16_t i = 0; i < 500; ++i) {
    all.push_back({.index = static_cast<std::uint16_t>(i * 60), .delta = -1, .undo = true});
  }
  CHECK(set.operate(all, Deadline::now()));
  CHECK(set.value(60 * 499).value() == 0);
  CHECK(set.set_values(Values(SemaphoreSet::semaphores_at_most, 7)));
  CHECK(set.values().value() == Values(SemaphoreSet::semaphores_at_most, 7));
}

TEST_CASE("operations happen all or not at all") {
  auto set = make({1, 0});
  const Operations both{{.index = 0, .delta = -1}, {.index = 1, .delta = -1}};
  CHECK(set.operate(both, Deadline::now()).error() == Error::would_block);
  CHECK(set.values().value() == Values{1, 0});
  CHECK(set.operate({.index = 1, .delta = 1}, Deadline::now()));
  CHECK(set.operate(both, Deadline::now()));
  CHECK(set.values().value() == Values{0, 0});
}

TEST_CASE("each operation sees the effect of those before it") {
  auto set = make({0});
  const Operations up_down_zero{
      {.index = 0, .delta = 5}, {.index = 0, .delta = -5}, {.index = 0, .delta = 0}};
  CHECK(set.operate(up_down_zero, Deadline::now()));
  const Operations down_up{{.index = 0, .delta = -5}, {.index = 0, .delta = 5}};
  CHECK(set.operate(down_up, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("bad operations are told before anything happens") {
  auto set = make({1}, {.operations = 2});
  const Operations three(3, {.index = 0, .delta = 1});
  CHECK(set.operate(Operations{}, Deadline::now()).error() == Error::invalid);
  CHECK(set.operate(three, Deadline::now()).error() == Error::too_big);
  CHECK(set.operate({.index = 1, .delta = 1}, Deadline::now()).error() ==
        static_cast<Error>(EFBIG));
  CHECK(set.operate({.index = 0, .delta = 32767}, Deadline::now()).error() == Error::out_of_range);
  CHECK(set.value(0).value() == 1);
}

TEST_CASE("an adjustment has the bounds of SEMAEM") {
  auto set = make({0});
  CHECK(set.operate({.index = 0, .delta = 32767, .undo = true}, Deadline::now()));
  CHECK(set.operate({.index = 0, .delta = -32767}, Deadline::now()));
  CHECK(set.operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()));
  CHECK(set.operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()).error() ==
        Error::out_of_range);
  CHECK(set.value(0).value() == 1);
}

TEST_CASE("no_wait holds for its own operation alone") {
  auto set = make({0, 0});
  const Operations first_waits{{.index = 0, .delta = -1},
                               {.index = 1, .delta = -1, .no_wait = true}};
  CHECK(set.operate(first_waits, Deadline::after(soon)).error() == Error::timed_out);
  CHECK(set.set_value(0, 1));
  CHECK(set.operate(first_waits, Deadline::never()).error() == Error::would_block);
}

TEST_CASE("setting values clears what would be undone") {
  auto set = make({5, 5});
  {
    auto other = SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value()).value();
    const Operations take{{.index = 0, .delta = -2, .undo = true},
                          {.index = 1, .delta = -2, .undo = true}};
    CHECK(other.operate(take, Deadline::now()));
    CHECK(set.set_value(0, 9));
  }
  CHECK(set.values().value() == Values{9, 5});
}

TEST_CASE("a value that cannot be set changes nothing") {
  auto set = make({5, 5});
  CHECK(set.set_value(0, -1).error() == Error::out_of_range);
  CHECK(set.set_value(0, 32768).error() == Error::out_of_range);
  CHECK(set.set_value(2, 1).error() == Error::invalid);
  CHECK(set.set_values(Values{1}).error() == Error::invalid);
  CHECK(set.set_values(Values{1, 40000}).error() == Error::out_of_range);
  CHECK(set.values().value() == Values{5, 5});
}

TEST_CASE("who waits is served in the order of coming, past those that cannot proceed") {
  auto set = make({0});
  std::array<bool, 2> done{};
  auto open = [&] {
    return SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value()).value();
  };
  auto big_set = open();
  auto small_set = open();
  std::thread big([&] {
    done[0] = big_set.operate({.index = 0, .delta = -2}, Deadline::after(in_time)).has_value();
  });
  while (set.waiting_for_increase(0).value() != 1) std::this_thread::yield();
  std::thread small([&] {
    done[1] = small_set.operate({.index = 0, .delta = -1}, Deadline::after(in_time)).has_value();
  });
  while (set.waiting_for_increase(0).value() != 2) std::this_thread::yield();
  CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()));
  small.join();
  CHECK(set.waiting_for_increase(0).value() == 1);
  CHECK(set.operate({.index = 0, .delta = 2}, Deadline::now()));
  big.join();
  CHECK(done[0]);
  CHECK(done[1]);
  CHECK(set.value(0).value() == 0);
}

TEST_CASE("waiting for zero ends when the value is zero") {
  auto set = make({1, 0});
  std::thread waiter(
      [&] { CHECK(set.operate({.index = 0, .delta = 0}, Deadline::after(in_time))); });
  while (set.waiting_for_zero(0).value() != 1) std::this_thread::yield();
  CHECK(set.waiting_for_increase(0).value() == 0);
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::now()));
  waiter.join();
}

TEST_CASE("a removed set turns everybody away") {
  auto set = make({0});
  std::thread waiter([&] {
    CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time)).error() ==
          Error::removed);
  });
  while (set.waiting_for_increase(0).value() != 1) std::this_thread::yield();
  CHECK(set.remove());
  waiter.join();
  CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()).error() == Error::removed);
  CHECK(set.value(0).error() == Error::removed);
  CHECK(set.remove().error() == Error::removed);
}

TEST_CASE("a deadline ends a wait, and its record is free again") {
  auto set = make({0}, {.waiters = 1});
  for (int i = 0; i < 3; ++i) {
    CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(1ms)).error() == Error::timed_out);
  }
  CHECK(set.waiting_for_increase(0).value() == 0);
}

TEST_CASE("more callers than the set takes cannot wait") {
  auto set = make({0}, {.waiters = 1});
  std::thread waiter(
      [&] { CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time))); });
  while (set.waiting_for_increase(0).value() != 1) std::this_thread::yield();
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(soon)).error() == Error::no_space);
  CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()));
  waiter.join();
}

TEST_CASE("the status tells times, waiters and participants") {
  auto set = make({1});
  const auto before = set.status().value();
  CHECK(before.count == 1);
  CHECK(before.participants == 1);
  CHECK(before.waiting == 0);
  CHECK_FALSE(before.last_operation.has_value());
  CHECK(before.last_change.time_since_epoch() > 0s);
  CHECK(set.last_process(0).value() == 0);
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::now()));
  CHECK(set.status().value().last_operation.has_value());
  CHECK(set.last_process(0).value() == getpid());
}

TEST_CASE("a closed handle undoes what it did with undo") {
  auto set = make({3});
  {
    auto other = SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value()).value();
    CHECK(other.operate({.index = 0, .delta = -2, .undo = true}, Deadline::now()));
    CHECK(other.operate({.index = 0, .delta = -1}, Deadline::now()));
    CHECK(set.value(0).value() == 0);
  }
  CHECK(set.value(0).value() == 2);
  CHECK(set.status().value().participants == 1);
}

TEST_CASE("handles come and go without using up places") {
  auto set = make({0}, {.participants = 3});
  for (int i = 0; i < 50; ++i) {
    auto other = SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value());
    REQUIRE(other);
    CHECK(other->operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()));
  }
  CHECK(set.value(0).value() == 0);
}

TEST_CASE("with all places taken by the living there is no space") {
  auto set = make({0}, {.participants = 2});
  const auto second = SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value());
  CHECK(second);
  CHECK(SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value()).error() ==
        Error::no_space);
}

TEST_CASE("a named set is opened by its path, and its name goes alone") {
  const parley::test::TempDir dir;
  const auto path = dir / "set";
  auto set = SemaphoreSet::create(path, Values{4}).value();
  CHECK(SemaphoreSet::create(path, Values{4}).error() == Error::exists);
  auto opened = SemaphoreSet::open(path).value();
  CHECK(opened.operate({.index = 0, .delta = -1}, Deadline::now()));
  CHECK(set.value(0).value() == 3);
  CHECK(SemaphoreSet::unlink(path));
  CHECK(SemaphoreSet::open(path).error() == Error::not_found);
  CHECK(opened.value(0).value() == 3);
  auto made = SemaphoreSet::open_or_create(path, Values{1, 2}).value();
  CHECK(made.count() == 2);
  CHECK(SemaphoreSet::open_or_create(path, Values{9}).value().count() == 2);
}

TEST_CASE("a named set outlives its users") {
  const parley::test::TempDir dir;
  const auto path = dir / "set";
  {
    auto set = SemaphoreSet::create(path, Values{4}).value();
    CHECK(set.operate({.index = 0, .delta = -1}, Deadline::now()));
    CHECK(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
  }
  CHECK(SemaphoreSet::open(path).value().value(0).value() == 3);
}

TEST_CASE("a semaphore counts, with and without undo") {
  for (const bool undo : {false, true}) {
    CAPTURE(undo);
    auto semaphore = Semaphore::create(1, {.undo = undo}).value();
    CHECK(semaphore.wait(Deadline::now()));
    CHECK(semaphore.wait(Deadline::now()).error() == Error::would_block);
    CHECK(semaphore.wait(Deadline::after(soon)).error() == Error::timed_out);
    CHECK(semaphore.value().value() == 0);
    std::thread waiter([&] { CHECK(semaphore.wait(Deadline::after(in_time))); });
    std::this_thread::sleep_for(soon);
    CHECK(semaphore.post());
    waiter.join();
    CHECK(semaphore.value().value() == 0);
    CHECK(semaphore.post());
    CHECK(semaphore.wait(Deadline::now()));
  }
}

TEST_CASE("a semaphore is not opened from a set of several") {
  auto set = make({1, 1});
  CHECK(Semaphore::adopt(parley::os::duplicate(set.descriptor()).value()).error() ==
        Error::wrong_kind);
}

TEST_CASE("undo is refused by a set that was made without it") {
  auto set = make({1, 1}, {.undo = false});
  CHECK_FALSE(set.has_undo());
  CHECK(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()).error() ==
        Error::invalid);
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::now()));
}

TEST_CASE("each wait strategy waits") {
  for (const auto strategy :
       {parley::WaitStrategy::adaptive, parley::WaitStrategy::block, parley::WaitStrategy::spin}) {
    auto set = make({0});
    set.set_wait_strategy(strategy);
    std::thread poster([&] {
      std::this_thread::sleep_for(soon);
      CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()));
    });
    CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time)));
    poster.join();
    CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(soon)).error() ==
          Error::timed_out);
  }
}

TEST_CASE("a set that has closed its descriptor goes by its name") {
  const parley::test::TempDir dir;
  const auto name = dir / "set";
  auto set = SemaphoreSet::create(name, Values{1}).value();
  REQUIRE(set.close_descriptor());
  CHECK(set.close_descriptor());
  CHECK(set.descriptor().number() < 0);
  CHECK(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
  CHECK(SemaphoreSet::open(name).value().value(0).value() == 0);

  SUBCASE("a child takes part") {
    const pid_t child = fork();
    if (child == 0) _exit(set.operate({.index = 0, .delta = 1}, Deadline::now()) ? 0 : 1);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(set.value(0).value() == 1);
  }
  SUBCASE("at its end it is undone") {
    auto other = SemaphoreSet::open(name).value();
    {
      const auto ends = std::move(set);
    }
    CHECK(other.value(0).value() == 1);
  }
  SUBCASE("also where the name is gone") {
    auto other = SemaphoreSet::open(name).value();
    REQUIRE(SemaphoreSet::unlink(name));
    {
      const auto ends = std::move(set);
    }
    CHECK(other.value(0).value() == 1);
  }
  SUBCASE("another's name is not taken for its own") {
    REQUIRE(SemaphoreSet::unlink(name));
    auto other = SemaphoreSet::create(name, Values{7}).value();
    const pid_t child = fork();
    if (child == 0) _exit(set.value(0).error() == Error::removed ? 0 : 1);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

TEST_CASE("a set without a name keeps its descriptor") {
  auto set = make({1});
  CHECK(set.close_descriptor().error() == Error::invalid);
  CHECK(set.descriptor().number() >= 0);
}

TEST_CASE("a new set takes little memory, whatever it has room for, and more as it is used") {
  const SemaphoreSetOptions options{.participants = 511, .operations = 500, .waiters = 1000};
  const auto memory_of = [](const SemaphoreSet& set) {
    return parley::inspect(set.descriptor()).value().memory_bytes;
  };
  auto set = SemaphoreSet::create(Values{1}, options).value();
  const auto at_first = memory_of(set);
  CHECK(at_first <= 32U << 10U);
  CHECK(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(soon)).error() == Error::timed_out);
  CHECK(memory_of(set) > at_first);
  CHECK(memory_of(set) <= 32U << 10U);
  // One call after the other takes the same record.
  for (int i = 0; i < 20; ++i) {
    CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(1us)).error() == Error::timed_out);
  }
  CHECK(memory_of(set) <= 32U << 10U);
}

TEST_CASE("calls that wait get more records than had memory at first, and no more than there are") {
  constexpr int waiters = 21;
  auto set = SemaphoreSet::create(Values{0}, {.operations = 500, .waiters = waiters, .undo = false})
                 .value();
  std::vector<std::thread> threads;
  threads.reserve(waiters);
  for (int i = 0; i < waiters; ++i) {
    threads.emplace_back(
        [&] { CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time))); });
  }
  while (set.status()->waiting != waiters) std::this_thread::yield();
  CHECK(parley::inspect(set.descriptor())->participants[0].waiting == waiters);
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(soon)).error() == Error::no_space);
  CHECK(set.operate({.index = 0, .delta = waiters}, Deadline::now()));
  for (auto& thread : threads) thread.join();
  CHECK(set.value(0) == 0);
}

TEST_CASE("an undo is kept in a row that had no memory at first") {
  auto set = SemaphoreSet::create(Values(250, 9), {.participants = 40}).value();
  std::vector<SemaphoreSet> others;
  others.reserve(8);
  for (int i = 0; i < 8; ++i) {
    others.push_back(SemaphoreSet::adopt(parley::os::duplicate(set.descriptor()).value()).value());
  }
  // The last place first.
  for (auto other = others.rbegin(); other != others.rend(); ++other) {
    CHECK(other->operate({.index = 249, .delta = -1, .undo = true}, Deadline::now()));
  }
  CHECK(set.value(249) == 1);
  CHECK(parley::inspect(set.descriptor())->participants[8].adjustments == 1);
  others.pop_back();
  CHECK(set.value(249) == 2);
  others.clear();
  CHECK(set.value(249) == 9);
}
