// The semaphores of a set, who waits for them and what is to be undone: all that is done under the
// set's latch.
//
// Invariants  I1 values, adjustments and the queue change in transactions only, so that after a
//                recovery they are those of some moment between two calls. (The times are only
//                told.)
//             I2 whenever the latch is free, no call in the queue could proceed (but see Crash), or
//                `unserved` is set. Then whoever takes the latch serves first; who waits does not
//                sleep, but takes it; and who set it, or leaves a wait and finds it set, rouses one
//                who sleeps.
// Edges       UNSERVED  whoever rouses knows `unserved` to be set, fences all processors
//             (membarrier) and then looks for one who sleeps; who goes to sleep exchanges its
//             record's state and then loads `unserved`: one of the two sees the other's.
// Crash       A holder that dies between its change and the serving of the queue breaks I2; whoever
//             takes the latch over serves the queue. A call that dies while it waits leaves its
//             record, and its adjustments, to `bury`.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <span>

#include <parley/semaphore_set.hpp>

#include "objects/time_limit.hpp"
#include "objects/waiting_line.hpp"
#include "os/clock.hpp"
#include "shm/backed_parts.hpp"
#include "shm/layout/semaphore_set.hpp"
#include "shm/transaction.hpp"

namespace parley {

enum class SemaphoreVerdict : std::uint8_t {
  proceeds,
  waits,
  overflows,
  lacks_row  ///< It has undo, and its participant's row has no memory yet.
};

class SemaphoreTable {
 public:
  using Operations = std::span<const SemaphoreOperation>;

  /// Checks that the body holds what it says: `corrupt`.
  static auto of(std::span<std::byte> body, std::uint32_t place_count) -> Result<SemaphoreTable>;

  /// Writes a new set into a body that is all zeros.
  static void create(std::span<std::byte> body, const shm::SemaphoreSetShape& shape, bool undo,
                     std::span<const std::uint16_t> values);

  [[nodiscard]] auto shape() const noexcept -> const shm::SemaphoreSetShape& { return shape_; }
  [[nodiscard]] auto has_undo() const noexcept -> bool { return undo_; }
  [[nodiscard]] auto body() const noexcept -> shm::SemaphoreSetBody& {
    return *part<shm::SemaphoreSetBody>(body_, 0);
  }
  [[nodiscard]] auto word(std::uint16_t index) const noexcept -> shm::SemaphoreWord& {
    return words_[index];
  }
  [[nodiscard]] auto value(std::uint16_t index) const noexcept -> std::uint16_t {
    return static_cast<std::uint16_t>(word(index).state.load_relaxed() & shm::value_bits);
  }
  [[nodiscard]] auto is_removed() const noexcept -> bool {
    return body().removed.load_relaxed() != 0;
  }
  [[nodiscard]] auto latch_words() const noexcept -> shm::LatchWords& { return body().latch; }
  [[nodiscard]] auto line() const noexcept -> const WaitingLine& { return line_; }
  [[nodiscard]] auto somebody_waits() const noexcept -> bool { return !line_.is_empty(); }

  /// Sees to it that the participant's row has memory, if an operation needs it. `no_space` where
  /// there is none.
  auto back_row(const shm::Segment& segment, Operations operations) const -> Result<void>;

  /// Whether the semaphore's word may be changed by exchange, without the latch: `under_latch`.
  [[nodiscard]] auto is_lock_free() const noexcept -> bool { return lock_free_; }

  /// Keep all others from the word, for as long as the latch is held or somebody waits.
  void enter() noexcept {
    if (lock_free_) take_word();
  }
  void leave() noexcept {
    if (lock_free_) leave_word();
  }

  /// Finishes what a dead holder of the latch had begun. I2 is then still to be restored.
  auto recover() -> Result<void>;

  /// Does one operation, if it proceeds. Its index must be in the set.
  auto operate(const SemaphoreOperation& operation, Caller caller) const -> SemaphoreVerdict;

  /// Does several, all or none; `stopped_at` is the first that cannot proceed.
  auto operate(Operations operations, Caller caller, std::size_t& stopped_at) const
      -> Result<SemaphoreVerdict>;

  /// Puts a call at the end of the queue, whose row has memory if it needs it: the index of its
  /// record. `no_space`: all that have memory are taken.
  auto enqueue(Operations operations, Caller caller) -> Result<std::uint32_t>;

  /// Lets everybody proceed who can, in the queue's order, until nobody can, or until the time is
  /// over: then `is_unserved`. Once the set is removed, turns everybody away.
  auto serve(WakeList& wakes, TimeLimit& limit) -> Result<void>;

  [[nodiscard]] auto is_unserved() const noexcept -> bool {
    return body().unserved.load_acquire() != 0;  // UNSERVED
  }

  /// Has somebody who waits go on serving.
  void hand_on() const noexcept;

  /// Wakes all whose wait was decided and who have not seen it.
  void wake_decided(WakeList& wakes) const noexcept { line_.wake_decided(wakes); }

  /// Sets values from `first` on.
  auto set(std::uint16_t first, std::span<const std::uint16_t> values, std::uint32_t process)
      -> Result<void>;

  /// Marks the set removed, and serves.
  auto remove(WakeList& wakes) -> Result<void>;

  /// Takes a dead participant out of the queue, and undoes what it wanted undone.
  auto bury(std::uint32_t place) -> Result<void>;

  /// How many calls wait, and for what: for a value of that semaphore to grow, or to be 0. `busy`
  /// where there are too many to tell.
  struct Waiting {
    std::size_t all = 0;
    std::size_t for_increase = 0;
    std::size_t for_zero = 0;
  };
  auto waiting(std::uint16_t index, TimeLimit& limit) const -> Result<Waiting>;

 private:
  template <class T>
  static auto part(std::span<std::byte> body, std::size_t offset) noexcept -> T* {
    return std::launder(reinterpret_cast<T*>(body.data() + offset));
  }

  SemaphoreTable(std::span<std::byte> body, const shm::SemaphoreSetShape& shape,
                 bool undo) noexcept;

  using Words = WaitingLine::Words;

  /// Of a place below `rows_.count()`.
  [[nodiscard]] auto undo_row(std::uint32_t place) const noexcept -> Words;
  [[nodiscard]] auto adjustment(std::uint32_t place, std::uint16_t index) const noexcept
      -> std::int32_t;
  auto read_operations(shm::Waiter& waiter, std::span<SemaphoreOperation> into) const
      -> Result<Operations>;

  /// What becomes of one semaphore.
  struct Change {
    std::uint16_t index;
    bool undo;  ///< Whether the adjustment changes.
    std::int32_t value;
    std::int32_t adjustment;
  };
  class Attempt;

  auto apply(Change& change, const SemaphoreOperation& operation, std::uint32_t place) const
      -> SemaphoreVerdict;
  void set_word(shm::Transaction& transaction, std::uint16_t index, std::int32_t value,
                std::uint32_t process) const;
  void write(shm::Transaction& transaction, const Change& change, Caller caller) const;
  void note_operation() const;
  auto serve_all(WakeList& wakes, TimeLimit& limit) -> Result<bool>;
  void take_word() noexcept;
  void leave_word() noexcept;
  auto undo_all(std::uint32_t place) -> Result<void>;

  std::span<std::byte> body_;
  shm::SemaphoreSetShape shape_;
  bool undo_;
  shm::JournalPlace journal_;
  shm::SemaphoreWord* words_;
  shm::BackedParts rows_;
  WaitingLine line_;
  bool lock_free_;
};

inline auto SemaphoreTable::undo_row(std::uint32_t place) const noexcept -> Words {
  return {part<shm::Atomic<std::uint64_t>>(body_, rows_.shape().end_of(place)),
          shape_.undo_row_words()};
}

inline auto SemaphoreTable::adjustment(std::uint32_t place, std::uint16_t index) const noexcept
    -> std::int32_t {
  const auto packed = undo_row(place)[1 + std::size_t{index}].load_relaxed();
  const auto resets = word(index).resets.load_relaxed();
  if (static_cast<std::uint32_t>(packed >> 32U) != static_cast<std::uint32_t>(resets)) return 0;
  const auto adjustment = static_cast<std::int32_t>(static_cast<std::uint32_t>(packed));
  return std::clamp(adjustment, -SemaphoreSet::highest_value - 1, SemaphoreSet::highest_value);
}

inline void SemaphoreTable::set_word(shm::Transaction& transaction, std::uint16_t index,
                                     std::int32_t value, std::uint32_t process) const {
  auto& state = word(index).state;
  transaction.set(state, (state.load_relaxed() & shm::under_latch) |
                             static_cast<std::uint64_t>(process) << 32U |
                             static_cast<std::uint32_t>(value));
}

inline void SemaphoreTable::note_operation() const {
  body().last_operation.store_release(os::time_of_day_s());
}

/// Whether it changes its participant's undo row.
inline auto needs_row(const SemaphoreOperation& operation) -> bool {
  return operation.undo && operation.delta != 0;
}

inline auto SemaphoreTable::apply(Change& change, const SemaphoreOperation& operation,
                                  std::uint32_t place) const -> SemaphoreVerdict {
  if (operation.delta == 0 && change.value != 0) return SemaphoreVerdict::waits;
  change.value += operation.delta;
  if (change.value < 0) return SemaphoreVerdict::waits;
  if (change.value > SemaphoreSet::highest_value) return SemaphoreVerdict::overflows;
  if (!needs_row(operation)) return SemaphoreVerdict::proceeds;
  if (place >= rows_.count()) return SemaphoreVerdict::lacks_row;
  if (!change.undo) change.adjustment = adjustment(place, operation.index);
  change.undo = true;
  change.adjustment -= operation.delta;
  const bool in_range = change.adjustment <= SemaphoreSet::highest_value &&
                        change.adjustment >= -SemaphoreSet::highest_value - 1;
  return in_range ? SemaphoreVerdict::proceeds : SemaphoreVerdict::overflows;
}

inline void SemaphoreTable::write(shm::Transaction& transaction, const Change& change,
                                  Caller caller) const {
  set_word(transaction, change.index, change.value, caller.process);
  if (!change.undo) return;
  const auto row = undo_row(caller.place);
  // Whose adjustments they are. Without any it means nothing; so it needs no transaction.
  if (row[0].load_relaxed() != caller.process) row[0].store_release(caller.process);
  transaction.set(
      row[1 + std::size_t{change.index}],
      shm::pack_adjustment(change.adjustment, word(change.index).resets.load_relaxed()));
}

inline auto SemaphoreTable::operate(const SemaphoreOperation& operation, Caller caller) const
    -> SemaphoreVerdict {
  Change change{
      .index = operation.index, .undo = false, .value = value(operation.index), .adjustment = 0};
  const auto verdict = apply(change, operation, caller.place);
  if (verdict != SemaphoreVerdict::proceeds) return verdict;
  shm::Transaction transaction(journal_);
  write(transaction, change, caller);
  note_operation();
  static_cast<void>(transaction.commit());  // of two words at most
  return verdict;
}

}  // namespace parley
