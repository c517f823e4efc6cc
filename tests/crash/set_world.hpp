// A SemaphoreSet with its participants, and what must hold of it when nobody is inside.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <parley/semaphore_set.hpp>

#include "crash/crash.hpp"
#include "crash/segment_view.hpp"
#include "objects/semaphore_table.hpp"
#include "os/futex.hpp"

namespace parley::test {

/// The kinds of sets that go different ways.
struct SetKind {
  std::string_view name;
  std::uint16_t count;
  bool undo;
};
inline constexpr SetKind with_undo{"with undo", 3, true};
inline constexpr SetKind without_undo{"without undo", 3, false};
inline constexpr SetKind lock_free{"lock-free", 1, false};
/// None of its rows and records has memory at first.
inline constexpr SetKind hollow{"hollow", 250, true};
inline constexpr std::array set_kinds{with_undo, without_undo, lock_free};

/// How long a call may take that others' deaths must not hold up.
inline auto soon() -> Deadline {
  return Deadline::after(std::chrono::seconds(20));
}

class SetWorld {
 public:
  explicit SetWorld(const SetKind& kind, std::uint16_t value = 0, std::uint32_t participants = 5)
      : set(make(kind, value, participants)),
        view(set.descriptor()),
        table_(SemaphoreTable::of(view.body(), view.place_count()).value()) {}

  /// Takes part: what a child of fork does at its first use.
  void attach() { REQUIRE(set.value(0)); }

  void operate(std::initializer_list<SemaphoreOperation> operations, Deadline deadline = soon()) {
    REQUIRE(set.operate({operations.begin(), operations.size()}, deadline));
  }

  /// A participant that waits for the operations.
  auto waiter(std::vector<SemaphoreOperation> operations) -> std::function<void()> {
    return [this, operations = std::move(operations)] {
      REQUIRE(set.operate(operations, Deadline::never()));
    };
  }

  /// As the value lies in memory.
  [[nodiscard]] auto raw_value(std::uint16_t index = 0) const -> int { return table_.value(index); }
  /// Whether all the dead are buried and nobody is inside.
  [[nodiscard]] auto is_quiet() const -> bool {
    return view.dead() == 0 && table_.body().latch.holder.load_acquire() == 0;
  }
  /// Calls that wait and are not decided.
  [[nodiscard]] auto raw_waiting() const -> std::size_t {
    std::size_t count = 0;
    for (std::uint32_t i = 0; i < table_.line().count(); ++i) {
      const auto state = table_.line().record(i).state.load_acquire();
      if (state == shm::waiter_waits || state == shm::waiter_sleeps) ++count;
    }
    return count;
  }
  /// Takes the latch for this process, the first participant, and keeps it.
  void hold_latch() {
    std::uint32_t free = 0;
    REQUIRE(table_.body().latch.holder.compare_exchange_acq_rel(free, 1 + 1));
  }
  void release_latch() {
    table_.body().latch.holder.store_release(0);
    os::futex_wake(table_.body().latch.sleepers.futex_word(), 1);
  }

  [[nodiscard]] auto latch_is_waited_for() const -> bool {
    return table_.body().latch.sleepers.load_acquire() != 0;
  }

  /// Wakes those who wait for a semaphore, without a reason; they go to sleep again.
  void disturb() {
    for (std::uint32_t i = 0; i < table_.line().count(); ++i) {
      os::futex_wake(table_.line().record(i).state.futex_word(), 1);
    }
  }

  [[nodiscard]] auto is_removed() const -> bool { return table_.is_removed(); }

  /// What must hold when nobody waits and all but `living` have been buried.
  void check_at_rest(std::size_t living = 1) {
    const auto used = set.value(0);  // whoever uses it next buries the dead
    CHECK((used || (is_removed() && used.error() == Error::removed)));
    const auto& body = table_.body();
    CHECK(body.latch.holder.load_acquire() == 0);
    CHECK(body.journal.count.load_relaxed() == 0);
    CHECK(body.line.first.load_relaxed() == 0);
    CHECK(body.line.last.load_relaxed() == 0);
    for (std::uint32_t i = 0; i < table_.line().count(); ++i) {
      CHECK(table_.line().record(i).state.load_relaxed() == shm::waiter_free);
    }
    if (!is_removed()) CHECK((table_.word(0).state.load_relaxed() & shm::under_latch) == 0);
    CHECK(view.taken() == living);
    CHECK(view.dead() == 0);
    for (std::uint32_t at = 0; at < view.place_count(); ++at) {
      if (view.place(at).life.load_relaxed() == 0) check_nothing_to_undo(at);
    }
  }

  SemaphoreSet set;
  SegmentView view;

 private:
  static auto make(const SetKind& kind, std::uint16_t value, std::uint32_t participants)
      -> SemaphoreSet {
    const std::vector<std::uint16_t> values(kind.count, value);
    SemaphoreSetOptions options;
    options.participants = participants;
    options.operations = 4;
    options.waiters = 4;
    options.undo = kind.undo;
    auto set = SemaphoreSet::create(values, options).value();
    set.set_wait_strategy(WaitStrategy::block);
    return set;
  }

  void check_nothing_to_undo(std::uint32_t place) const {
    const auto& shape = table_.shape();
    if (place >= table_.body().backed_rows.load_acquire()) return;
    const auto row = view.body().subspan(shape.undo_rows() +
                                         place * shape.undo_row_words() * sizeof(std::uint64_t));
    const auto* const words =
        std::launder(reinterpret_cast<const shm::Atomic<std::uint64_t>*>(row.data()));
    for (std::uint32_t i = 0; i < shape.count; ++i) {
      const auto packed = words[1 + i].load_relaxed();
      const auto resets = table_.word(static_cast<std::uint16_t>(i)).resets.load_relaxed();
      if (packed >> 32U == (resets & 0xffff'ffffU)) {
        CHECK(static_cast<std::uint32_t>(packed) == 0);
      }
    }
  }

  SemaphoreTable table_;
};

/// Each kind in turn.
template <class Body>
void for_each_kind(Body body, const Sample& sample = {}) {
  for (const auto& kind : set_kinds) {
    INFO("a set ", kind.name);
    std::printf("%.*s: ", static_cast<int>(kind.name.size()), kind.name.data());
    crash_at_each_step([&](Round& round) { body(round, kind); }, sample);
  }
}

}  // namespace parley::test
