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

  auto publish(std::string_view name) const -> Result<void> {
    return segment_.publish(name);
  }

  auto operate(SemaphoreTable::Operations operations, Deadline deadline) -> Result<void>;
  auto set(std::uint16_t first, std::span<const std::uint16_t> values) -> Result<void>;
  auto remove() -> Result<void>;

  /// Runs `look` under the latch, in a set whose dead are buried. `removed` once the set is.
  template <class Look>
  auto look(Look look) -> decltype(look(std::declval<const SemaphoreTable&>())) {
    auto locked = PARLEY_TRY(lock(patient()));
    if (table_.is_removed()) return failure(Error::removed);
    auto seen = look(table_);
    PARLEY_TRY(close(locked));
    return seen;
  }

  /// Participants that are alive, or not buried yet.
  [[nodiscard]] auto participants() const noexcept -> std::size_t;

 private:
  /// Holds the latch. When it goes, the latch is released, and then those are woken whose wait it
  /// decided.
  class Locked {
   public:
    explicit Locked(State& state) noexcept : state_(&state) {}
    Locked(Locked&& other) noexcept
        : wakes(other.wakes), state_(std::exchange(other.state_, nullptr)) {}
    Locked(const Locked&) = delete;
    auto operator=(const Locked&) -> Locked& = delete;
    auto operator=(Locked&&) -> Locked& = delete;
    ~Locked();

    WakeList wakes;

   private:
    State* state_;
  };

  State(shm::Segment segment, const SemaphoreTable& table) noexcept
      : segment_(std::move(segment)), table_(table) {}

  static auto patient() -> Deadline { return Deadline::after(shm::patience); }

  [[nodiscard]] auto user() const noexcept -> SemaphoreUser {
    return {.place = segment_.place(), .process = segment_.process_id()};
  }
  auto check(SemaphoreTable::Operations operations) const -> Result<void>;
  [[nodiscard]] auto latch() const noexcept -> shm::Latch {
    return {segment_, table_.body().latch};
  }
  auto claim_place() -> Result<void>;

  /// `busy` or the deadline's error where the latch is not to be had. An `heir` stands in place 0.
  auto lock(Deadline deadline, bool heir = false) -> Result<Locked>;

  /// Serves those who wait. `corrupt` where the object was truncated meanwhile.
  auto close(Locked& locked) -> Result<void>;
  auto bury_the_dead(Locked& locked) -> Result<void>;
  void take_word();
  void leave_word();

  /// In a set of one without undo: the operation by one exchange. Nothing where the latch is needed.
  auto exchange(const SemaphoreOperation& operation, Deadline deadline)
      -> std::optional<Result<void>>;
  auto operate_under_latch(SemaphoreTable::Operations operations, Deadline deadline)
      -> Result<std::optional<std::uint32_t>>;
  auto wait_for(std::uint32_t index, Deadline deadline) -> Result<void>;

  shm::Segment segment_;
  SemaphoreTable table_;
  bool lock_free_ = table_.shape().count == 1 && !table_.has_undo();
  std::uint32_t spins_ = spins_of(WaitStrategy::adaptive);
};

}  // namespace parley
