// The semaphores of a set, who waits for them and what is to be undone: all that is done under the
// set's latch.
//
// Invariants  I1 values, adjustments and the queue change in transactions only, so that after a
//                recovery they are those of some moment between two calls. (The times are only
//                told.)
//             I2 whenever the latch is free, no call in the queue could proceed (but see Crash).
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

#include "objects/waiting_line.hpp"
#include "os/clock.hpp"
#include "shm/layout/semaphore_set.hpp"
#include "shm/transaction.hpp"

namespace parley {

enum class SemaphoreVerdict : std::uint8_t { proceeds, waits, overflows };

/// What some operations would do now: at most `capacity` of them.
template <std::size_t capacity>
class SemaphoreAttempt {
 public:
  SemaphoreVerdict verdict = SemaphoreVerdict::proceeds;
  std::size_t stopped_at = 0;  ///< The operation that cannot proceed, where one cannot.

 private:
  friend class SemaphoreTable;
  struct Change {
    std::uint16_t index;
    bool undo;  ///< Whether the adjustment changes.
    std::int32_t value;
    std::int32_t adjustment;
  };
  std::array<Change, capacity> changes_;
  std::size_t count_ = 0;
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

  /// Every index must be in the set.
  template <std::size_t capacity>
  void attempt(SemaphoreAttempt<capacity>& result, Operations operations,
               std::uint32_t place) const;

  /// Does what an attempt that proceeds said.
  template <std::size_t capacity>
  auto commit(const SemaphoreAttempt<capacity>& attempt, Caller caller) -> Result<void>;

  /// Puts a call at the end of the queue: the index of its record. `no_space`: all are taken.
  auto enqueue(Operations operations, Caller caller) -> Result<std::uint32_t>;

  /// Lets everybody proceed who can, in the queue's order, until nobody can. Once the set is
  /// removed, turns everybody away.
  auto serve(WakeList& wakes) -> Result<void>;

  /// Wakes all whose wait was decided and who have not seen it.
  void wake_decided(WakeList& wakes) const noexcept { line_.wake_decided(wakes); }

  /// Sets values from `first` on.
  auto set(std::uint16_t first, std::span<const std::uint16_t> values, std::uint32_t process)
      -> Result<void>;

  /// Marks the set removed, and serves.
  auto remove(WakeList& wakes) -> Result<void>;

  /// Takes a dead participant out of the queue, and undoes what it wanted undone.
  auto bury(std::uint32_t place) -> Result<void>;

  /// How many calls wait, and for what: for a value of that semaphore to grow, or to be 0.
  struct Waiting {
    std::size_t all = 0;
    std::size_t for_increase = 0;
    std::size_t for_zero = 0;
  };
  auto waiting(std::uint16_t index) const -> Result<Waiting>;

 private:
  template <class T>
  static auto part(std::span<std::byte> body, std::size_t offset) noexcept -> T* {
    return std::launder(reinterpret_cast<T*>(body.data() + offset));
  }

  SemaphoreTable(std::span<std::byte> body, const shm::SemaphoreSetShape& shape,
                 bool undo) noexcept;

  using Words = WaitingLine::Words;

  [[nodiscard]] auto undo_row(std::uint32_t place) const noexcept -> Words;
  [[nodiscard]] auto adjustment(std::uint32_t place, std::uint16_t index) const noexcept
      -> std::int32_t;
  auto read_operations(shm::Waiter& waiter, std::span<SemaphoreOperation> into) const
      -> Result<Operations>;
  template <class Change>
  auto apply(Change& change, const SemaphoreOperation& operation, std::uint32_t place) const
      -> SemaphoreVerdict;
  void set_word(shm::Transaction& transaction, std::uint16_t index, std::int32_t value,
                std::uint32_t process) const;
  template <std::size_t capacity>
  void write(shm::Transaction& transaction, const SemaphoreAttempt<capacity>& attempt,
             Caller caller) const;
  void note_operation() const;
  void take_word() noexcept;
  void leave_word() noexcept;
  auto undo_all(std::uint32_t place) -> Result<void>;

  std::span<std::byte> body_;
  shm::SemaphoreSetShape shape_;
  bool undo_;
  shm::JournalPlace journal_;
  shm::SemaphoreWord* words_;
  Words undo_rows_;
  WaitingLine line_;
  bool lock_free_;
};

inline auto SemaphoreTable::undo_row(std::uint32_t place) const noexcept -> Words {
  const auto words = shape_.undo_row_words();
  return undo_rows_.subspan(place * words, words);
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

template <std::size_t capacity>
void SemaphoreTable::attempt(SemaphoreAttempt<capacity>& result, Operations operations,
                             std::uint32_t place) const {
  result.count_ = 0;
  result.stopped_at = 0;
  result.verdict = SemaphoreVerdict::proceeds;
  for (const auto& operation : operations) {
    auto* const end = result.changes_.data() + result.count_;
    auto& change = *std::find_if(result.changes_.data(), end,
                                 [&](const auto& known) { return known.index == operation.index; });
    if (&change == end) {
      change.index = operation.index;
      change.undo = false;
      change.value = value(operation.index);
      ++result.count_;
    }
    result.verdict = apply(change, operation, place);
    if (result.verdict != SemaphoreVerdict::proceeds) return;
    ++result.stopped_at;
  }
}

template <class Change>
auto SemaphoreTable::apply(Change& change, const SemaphoreOperation& operation,
                           std::uint32_t place) const -> SemaphoreVerdict {
  if (operation.delta == 0 && change.value != 0) return SemaphoreVerdict::waits;
  change.value += operation.delta;
  if (change.value < 0) return SemaphoreVerdict::waits;
  if (change.value > SemaphoreSet::highest_value) return SemaphoreVerdict::overflows;
  if (!operation.undo || operation.delta == 0) return SemaphoreVerdict::proceeds;
  if (!change.undo) change.adjustment = adjustment(place, operation.index);
  change.undo = true;
  change.adjustment -= operation.delta;
  const bool in_range = change.adjustment <= SemaphoreSet::highest_value &&
                        change.adjustment >= -SemaphoreSet::highest_value - 1;
  return in_range ? SemaphoreVerdict::proceeds : SemaphoreVerdict::overflows;
}

template <std::size_t capacity>
void SemaphoreTable::write(shm::Transaction& transaction, const SemaphoreAttempt<capacity>& attempt,
                           Caller caller) const {
  const auto row = undo_row(caller.place);
  bool undo = false;
  for (const auto& change : std::span(attempt.changes_).first(attempt.count_)) {
    set_word(transaction, change.index, change.value, caller.process);
    if (!change.undo) continue;
    undo = true;
    const auto resets = word(change.index).resets.load_relaxed();
    transaction.set(row[1 + std::size_t{change.index}],
                    shm::pack_adjustment(change.adjustment, resets));
  }
  if (undo && row[0].load_relaxed() != caller.process) transaction.set(row[0], caller.process);
}

template <std::size_t capacity>
auto SemaphoreTable::commit(const SemaphoreAttempt<capacity>& attempt, Caller caller)
    -> Result<void> {
  shm::Transaction transaction(journal_);
  write(transaction, attempt, caller);
  note_operation();
  return transaction.commit();
}

}  // namespace parley
