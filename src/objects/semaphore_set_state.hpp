// A handle on a set: its segment, the latch around its table, and how it waits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <parley/semaphore_set.hpp>

#include "objects/semaphore_table.hpp"
#include "objects/spins.hpp"
#include "shm/latch.hpp"
#include "shm/segment.hpp"

namespace parley {

class SemaphoreSet::State {
 public:
  static auto of(shm::Segment segment) -> Result<std::unique_ptr<State>>;

  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd { return segment_.descriptor(); }
  [[nodiscard]] auto table() const noexcept -> const SemaphoreTable& { return table_; }
  void set_wait_strategy(WaitStrategy strategy) noexcept { spins_ = spins_of(strategy); }

  auto publish(std::string_view name) const -> Result<void> { return segment_.publish(name); }

  auto operate(SemaphoreTable::Operations operations, Deadline deadline) -> Result<void>;
  auto set(std::uint16_t first, std::span<const std::uint16_t> values) -> Result<void>;
  auto remove() -> Result<void>;

  /// Runs `look` under the latch, in a set whose dead are buried. `removed` once the set is.
  template <class Look>
  auto look(Look look) -> decltype(look(std::declval<const SemaphoreTable&>())) {
    Locked locked(*this);
    PARLEY_TRY(locked.take(patient()));
    if (table_.is_removed()) return failure(Error::removed);
    auto seen = look(table_);
    PARLEY_TRY(close(locked));
    return seen;
  }

  /// Participants that are alive, or not buried yet.
  [[nodiscard]] auto participants() const noexcept -> std::size_t;

 private:
  /// The latch, once it was taken. When this goes, it is released, and then those are woken whose
  /// wait was decided.
  class Locked {
   public:
    explicit Locked(State& state) noexcept : state_(state) {}
    Locked(const Locked&) = delete;
    auto operator=(const Locked&) -> Locked& = delete;
    ~Locked() {
      if (holds_) state_.unlock(wakes);
    }

    /// Takes it and buries the dead. `busy` or the deadline's error where it is not to be had. An
    /// `heir` stands in place 0.
    auto take(Deadline deadline, bool heir = false) -> Result<void> {
      return state_.lock(deadline, heir, *this);
    }

    WakeList wakes;

   private:
    friend class State;
    State& state_;
    bool holds_ = false;
  };

  State(shm::Segment segment, const SemaphoreTable& table) noexcept
      : segment_(std::move(segment)), table_(table) {}

  static auto patient() -> Deadline { return Deadline::after(shm::patience); }

  [[nodiscard]] auto user() const noexcept -> SemaphoreUser {
    return {.place = segment_.place(), .process = segment_.process_id()};
  }
  [[nodiscard]] auto latch() const noexcept -> shm::Latch {
    return {segment_, table_.body().latch};
  }
  auto claim_place() -> Result<void>;

  auto lock(Deadline deadline, bool heir, Locked& locked) -> Result<void>;
  void unlock(WakeList& wakes) noexcept;

  /// Serves those who wait. `corrupt` where the object was truncated meanwhile.
  auto close(Locked& locked) -> Result<void>;
  auto bury_the_dead(Locked& locked) -> Result<void>;
  void take_word();
  void leave_word();

  /// Does the operations, at most `capacity`, or fails, or lines up: the record to wait for.
  template <std::size_t capacity>
  auto operate_under_latch(SemaphoreTable::Operations operations, Deadline deadline,
                           std::optional<std::uint32_t>& record) -> Result<void>;
  auto wait_for(std::uint32_t index, Deadline deadline) -> Result<void>;

  shm::Segment segment_;
  SemaphoreTable table_;
  bool lock_free_ = table_.shape().count == 1 && !table_.has_undo();
  std::uint32_t spins_ = spins_of(WaitStrategy::adaptive);
};

inline auto SemaphoreSet::State::lock(Deadline deadline, bool heir, Locked& locked)
    -> Result<void> {
  if (!segment_.is_current()) [[unlikely]]
    PARLEY_TRY(claim_place());
  const auto found = latch().acquire(spins_, deadline.is_now() ? patient() : deadline, heir);
  if (!found) [[unlikely]] {
    const bool impatient = deadline.is_now() && found.error() == Error::timed_out;
    return failure(impatient ? Error::busy : found.error());
  }
  locked.holds_ = true;
  if (lock_free_) take_word();
  const bool orphaned = *found == shm::Latch::Found::left_by_the_dead;
  if (orphaned || segment_.next_dead(0) < segment_.place_count()) [[unlikely]] {
    return bury_the_dead(locked);
  }
  return {};
}

inline void SemaphoreSet::State::unlock(WakeList& wakes) noexcept {
  if (lock_free_) leave_word();
  latch().release();
  wakes.wake_all();
}

inline auto SemaphoreSet::State::close(Locked& locked) -> Result<void> {
  if (table_.somebody_waits()) PARLEY_TRY(table_.serve(locked.wakes));
  return segment_.is_lost() ? failure(Error::corrupt) : Result<void>();
}

}  // namespace parley
