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

  /// Runs `look` under the latch, in a set whose dead are buried. `removed` once the set is.
  template <class Look>
  auto look(Look look) -> decltype(look(std::declval<const SemaphoreTable&>())) {
    Locked locked(*this);
    PARLEY_TRY(locked.take(patient()));
    if (table().is_removed()) return failure(Error::removed);
    auto seen = look(table());
    PARLEY_TRY(locked.close());
    return seen;
  }

 private:
  using LatchedObject::LatchedObject;

  /// Does the operations, at most `capacity`, or fails, or lines up: the record to wait for.
  template <std::size_t capacity>
  auto operate_under_latch(SemaphoreTable::Operations operations, Deadline deadline,
                           std::optional<std::uint32_t>& record) -> Result<void>;
  auto wait_in_line(std::uint32_t index, Deadline deadline) -> Result<void>;
};

}  // namespace parley
