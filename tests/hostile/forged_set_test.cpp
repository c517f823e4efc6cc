// Sets whose words were all forged to fit together, at the worst: how long they hold a call.
#include <doctest/doctest.h>
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <parley/inspect.hpp>
#include <parley/semaphore_set.hpp>

#include "hostile/forged_memory.hpp"
#include "objects/semaphore_table.hpp"
#include "support/small_filesystem.hpp"

using namespace std::chrono_literals;
using namespace parley;
using parley::test::ForgedMemory;
using parley::test::within;

namespace {

/// A set and all of its words.
class ForgedSet : public ForgedMemory {
 public:
  ForgedSet(std::uint32_t count, const SemaphoreSetOptions& options, std::string_view name = {})
      : ForgedSet(make(std::vector<std::uint16_t>(count, 0), options, name),
                  {.count = count,
                   .operations = options.operations,
                   .waiters = options.waiters,
                   .place_count = options.participants + 1}) {}

  [[nodiscard]] auto table() const -> SemaphoreTable {
    return SemaphoreTable::of(body(), place_count()).value();
  }

  SemaphoreSet set;

 private:
  ForgedSet(SemaphoreSet made, const shm::SemaphoreSetShape& shape)
      : ForgedMemory(made.descriptor(), shape.place_count, shape.body_bytes()),
        set(std::move(made)) {}

  static auto make(const std::vector<std::uint16_t>& values, const SemaphoreSetOptions& options,
                   std::string_view name) -> SemaphoreSet {
    return (name.empty() ? SemaphoreSet::create(values, options)
                         : SemaphoreSet::create(name, values, options))
        .value();
  }
};

constexpr std::uint32_t waiters_at_most = 0xffff;
constexpr std::uint32_t participants_at_most = shm::places_at_most - 1;
constexpr std::size_t operations = SemaphoreSet::operations_at_most;

/// As many calls wait as there can be: each would raise 499 semaphores, but for the last.
auto longest_queue() -> ForgedSet {
  return {
      operations,
      {.participants = participants_at_most, .operations = operations, .waiters = waiters_at_most}};
}

void fill(const SemaphoreTable& table) {
  table.body().backed_rows.store_relaxed(table.shape().place_count);
  table.body().backed_waiters.store_relaxed(table.shape().waiters);
  const auto& line = table.line();
  for (std::uint32_t i = 0; i < line.count(); ++i) {
    auto& record = line.record(i);
    record.next.store_relaxed(i + 1 == line.count() ? 0 : i + 2);
    record.place.store_relaxed(1 + i % participants_at_most);
    record.request.store_relaxed(operations);
    const auto words = line.words(record);
    for (std::uint16_t at = 0; at < operations; ++at) {
      const auto delta = static_cast<std::int16_t>(at + 1U == operations ? -1 : 1);
      words[at].store_relaxed(shm::pack_operation(at, delta, false, false));
    }
    record.state.store_relaxed(shm::waiter_waits);
  }
  table.body().line.last.store_relaxed(line.count());
  table.body().line.first.store_relaxed(1);
}

constexpr SemaphoreOperation give{.index = 0, .delta = 1};
constexpr SemaphoreOperation take{.index = operations - 1, .delta = -1};

}  // namespace

TEST_CASE("the longest queue that can be forged holds no call past its deadline") {
  auto forged = longest_queue();
  fill(forged.table());
  auto& set = forged.set;
  CHECK(within(5ms, "give", [&] { return set.operate(give, Deadline::after(5ms)); }));
  CHECK(within(5ms, "take", [&] { return set.operate(take, Deadline::after(5ms)); }).error() ==
        Error::no_space);
  CHECK(
      within(1s, "give without a deadline", [&] { return set.operate(give, Deadline::never()); }));
  CHECK(within(1s, "status", [&] { return set.status(); }).error() == Error::busy);
  CHECK(within(1s, "remove", [&] { return set.remove(); }));
}

TEST_CASE("as many dead as can be forged hold no call past its deadline") {
  auto forged = longest_queue();
  fill(forged.table());
  forged.kill_all_others();
  auto& set = forged.set;
  CHECK(within(5ms, "give", [&] { return set.operate(give, Deadline::after(5ms)); }).error() ==
        Error::timed_out);
  CHECK(within(1s, "give without a deadline", [&] {
          return set.operate(give, Deadline::never());
        }).error() == Error::busy);
}

TEST_CASE("a call that waits keeps its deadline while a dead participant cannot be buried") {
  ForgedSet forged(1, {.participants = 4, .operations = 1, .waiters = 4});
  auto& latch = forged.table().body().latch;
  for (const auto strategy : {WaitStrategy::block, WaitStrategy::spin}) {
    forged.set.set_wait_strategy(strategy);
    std::thread peer([&] {
      while (!forged.table().somebody_waits()) sched_yield();
      std::uint32_t holder = 0;
      while (!latch.holder.compare_exchange_acq_rel(holder, 1 + 1)) holder = 0;
      forged.kill_all_others();
    });
    const auto waited = within(100ms, "take", [&] {
      return forged.set.operate({.index = 0, .delta = -1}, Deadline::after(100ms));
    });
    peer.join();
    CHECK(waited.error() == Error::timed_out);
    latch.holder.store_release(0);
    CHECK(forged.set.value(0).value() == 0);
  }
}

TEST_CASE("marks of memory beyond the end are as if all had memory") {
  ForgedSet forged(250, {.participants = 4, .operations = 2, .waiters = 2});
  forged.table().body().backed_rows.store_relaxed(~std::uint64_t{0});
  forged.table().body().backed_waiters.store_relaxed(~std::uint64_t{0});
  CHECK(forged.set.operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()));
  CHECK(forged.set.operate({.index = 0, .delta = -2}, Deadline::after(1ms)).error() ==
        Error::timed_out);
  CHECK(forged.set.status().value().waiting == 0);
  CHECK(inspect(forged.set.descriptor()).value().participants.size() == 1);
}

TEST_CASE("marks of no memory while calls wait are an error, and hold none past its deadline") {
  ForgedSet forged(250, {.participants = 4, .operations = 2, .waiters = 2});
  auto& body = forged.table().body();
  std::thread peer([&] {
    while (!forged.table().somebody_waits()) sched_yield();
    body.backed_rows.store_release(0);
    body.backed_waiters.store_release(0);
    const auto given = within(1s, "give", [&] {
      return forged.set.operate({.index = 0, .delta = 1}, Deadline::after(100ms));
    });
    CHECK(given.error() == Error::corrupt);
  });
  const auto waited = within(300ms, "take", [&] {
    return forged.set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::after(300ms));
  });
  peer.join();
  CHECK(waited.error() == Error::timed_out);
}

TEST_CASE("a mark of memory that a full filesystem does not have is an error, not a signal") {
  test::with_small_filesystem([](const std::string& directory) {
    const SemaphoreSetOptions options{.participants = 4, .operations = 2, .waiters = 2};
    ForgedSet rows(250, options, directory + "/rows");
    ForgedSet waiters(250, options, directory + "/waiters");
    std::ofstream filler(directory + "/filler");
    const std::vector<char> page(4096);
    while (filler.write(page.data(), 4096).flush()) {
    }
    rows.table().body().backed_rows.store_relaxed(5);
    waiters.table().body().backed_waiters.store_relaxed(2);
    REQUIRE(rows.set.operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()).error() ==
            Error::corrupt);
    REQUIRE(waiters.set.operate({.index = 0, .delta = -1}, Deadline::after(1ms)).error() ==
            Error::corrupt);
  });
}
