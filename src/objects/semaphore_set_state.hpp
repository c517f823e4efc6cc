// A handle on a set: its latched table, and the operations on it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <parley/semaphore_set.hpp>

#include "objects/latched_object.hpp"
#include "objects/semaphore_table.hpp"

namespace parley {

class SemaphoreSet::State : public LatchedObject<SemaphoreTable> {
 public:
  static auto of(shm::Segment segment) -> Result<std::unique_ptr<State>>;

  auto operate(SemaphoreTable::Operations operations, Deadline deadline) -> Result<void>;
  auto set(std::uint16_t first, std::span<const std::uint16_t> values) -> Result<void>;
  auto remove() -> Result<void>;

  /// Runs `look` under the latch, in a set whose dead are buried, within the time limit. `removed`
  /// once the set is.
  template <class Look>
  auto look(Look look)
      -> decltype(look(std::declval<const SemaphoreTable&>(), std::declval<TimeLimit&>())) {
    Locked locked(*this);
    PARLEY_TRY(locked.take(patient()));
    if (table().is_removed()) return failure(Error::removed);
    auto seen = look(std::as_const(*this).table(), locked.limit());
    PARLEY_TRY(locked.close());
    return seen;
  }

 private:
  using LatchedObject::LatchedObject;

  // Each is a function by itself, so that the shortest path has the least to put aside.
  auto operate_several(SemaphoreTable::Operations operations, Deadline deadline) -> Result<void>;
  auto operate_one(const SemaphoreOperation& operation, Deadline deadline) -> Result<void>;

  /// The same, in a set of one without undo.
  auto exchange(const SemaphoreOperation& operation, Deadline deadline) -> Result<void>;

  /// Whether `attempt` proceeded, where the latch is free and there is nothing else to do.
  template <class Attempt>
  auto attempt_at_once(Attempt attempt) -> Result<bool>;
  /// Does the operations by `attempt`, and waits where that does not proceed.
  template <class Attempt>
  [[gnu::noinline]] auto operate_under_latch(SemaphoreTable::Operations operations,
                                             Deadline deadline, Attempt attempt) -> Result<void>;
  /// The same, but for the wait: the record to wait for.
  template <class Attempt>
  auto do_or_line_up(SemaphoreTable::Operations operations, Deadline deadline, Attempt attempt,
                     std::optional<std::uint32_t>& record) -> Result<void>;
  auto wait_in_line(std::uint32_t index, Deadline deadline) -> Result<void>;
};

}  // namespace parley
