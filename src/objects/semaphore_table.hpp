// The semaphores of a set, who waits for them and what is to be undone: all that is done under the
// set's latch.
//
// Invariants  I1 values, adjustments and the queue change in transactions only, so that after a
//                recovery they are those of some moment between two calls.
//             I2 whenever the latch is free, no call in the queue could proceed (but see Crash).
//             I3 a waiter's record is linked in the queue if and only if its state is undecided or
//                cancelled; both change in one transaction, which the state itself decides.
// Edges       DECIDE  the exchange of a waiter's state by the latch's holder -> the call that waits:
//             what it waited for is done, or will be by whoever takes the latch over.
// Crash       A holder that dies between its change and the serving of the queue breaks I2; whoever
//             takes the latch over serves the queue. A call that dies while it waits leaves its
//             record, and its adjustments, to `bury`.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <parley/semaphore_set.hpp>

#include "shm/layout/semaphore_set.hpp"
#include "shm/segment.hpp"
#include "shm/transaction.hpp"

namespace parley {

/// Who acts: a participant's place, and its process as it knows itself.
struct SemaphoreUser {
  std::uint32_t place;
  std::uint32_t process;
};

/// The sleepers whose wait is decided, to be woken when the latch is free again.
class WakeList {
 public:
  void add(const std::uint32_t* futex_word) noexcept;
  void wake_all() noexcept;

 private:
  std::array<const std::uint32_t*, 16> words_;
  std::size_t count_ = 0;
};

/// What some operations would do now.
class SemaphoreAttempt {
 public:
  enum class Verdict : std::uint8_t { proceeds, waits, overflows };

  Verdict verdict = Verdict::proceeds;
  std::size_t stopped_at = 0;  ///< The operation that cannot proceed, where one cannot.

 private:
  friend class SemaphoreTable;
  struct Change {
    std::uint16_t index;
    bool undo;  ///< Whether the adjustment changes.
    std::int32_t value;
    std::int32_t adjustment;
  };
  std::array<Change, SemaphoreSet::operations_at_most> changes_;
  std::size_t count_ = 0;
  bool undo_ = false;
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
  [[nodiscard]] auto body() const noexcept -> shm::SemaphoreSetBody&;
  [[nodiscard]] auto word(std::uint16_t index) const noexcept -> shm::SemaphoreWord&;
  [[nodiscard]] auto value(std::uint16_t index) const noexcept -> std::uint16_t;
  [[nodiscard]] auto is_removed() const noexcept -> bool;
  [[nodiscard]] auto somebody_waits() const noexcept -> bool;

  /// Finishes what a dead holder of the latch had begun. I2 is then still to be restored.
  auto recover() -> Result<void>;

  /// Every index must be in the set.
  void attempt(SemaphoreAttempt& result, Operations operations, std::uint32_t place) const;

  /// Does what an attempt that proceeds said.
  auto commit(const SemaphoreAttempt& attempt, SemaphoreUser user) -> Result<void>;

  /// Puts a call at the end of the queue: the index of its record. `no_space`: all are taken.
  auto enqueue(Operations operations, SemaphoreUser user) -> Result<std::uint32_t>;
  [[nodiscard]] auto waiter(std::uint32_t index) const noexcept -> shm::SemaphoreWaiter&;

  /// Lets everybody proceed who can, in the queue's order, until nobody can.
  auto serve(WakeList& wakes) -> Result<void>;

  /// Sets values from `first` on.
  auto set(std::uint16_t first, std::span<const std::uint16_t> values, std::uint32_t process)
      -> Result<void>;

  /// Marks the set removed and turns everybody away who waits.
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
  SemaphoreTable(std::span<std::byte> body, const shm::SemaphoreSetShape& shape, bool undo) noexcept;

  class Queue;
  using Words = std::span<shm::Atomic<std::uint64_t>>;

  [[nodiscard]] auto journal() const noexcept -> const shm::JournalPlace& { return journal_; }
  [[nodiscard]] auto undo_row(std::uint32_t place) const noexcept -> Words;
  [[nodiscard]] auto adjustment(std::uint32_t place, std::uint16_t index) const noexcept
      -> std::int32_t;
  [[nodiscard]] auto operations_of(const shm::SemaphoreWaiter& waiter) const noexcept -> Words;
  auto read_operations(const shm::SemaphoreWaiter& waiter,
                       std::span<SemaphoreOperation> into) const -> Result<Operations>;
  void set_word(shm::Transaction& transaction, std::uint16_t index, std::int32_t value,
                std::uint32_t process) const;
  void write(shm::Transaction& transaction, const SemaphoreAttempt& attempt,
             SemaphoreUser user) const;
  auto free_record() const -> Result<std::uint32_t>;
  auto undo_all(std::uint32_t place) -> Result<void>;

  std::span<std::byte> body_;
  shm::SemaphoreSetShape shape_;
  bool undo_;
  shm::JournalPlace journal_;
};

}  // namespace parley
