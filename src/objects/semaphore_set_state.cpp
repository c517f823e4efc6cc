#include "objects/semaphore_set_state.hpp"

namespace parley {

namespace {

// The shortest paths return plain numbers: a Result that is handed on through several functions is
// written in parts and read whole, which stalls the processor.

/// 0 where the set can take such an operation.
auto fault_of(const SemaphoreTable& table, const SemaphoreOperation& operation) -> Error {
  if (operation.index >= table.shape().count) return static_cast<Error>(EFBIG);
  if (operation.undo && !table.has_undo()) return Error::invalid;
  return Error{};
}

auto fault_of(const SemaphoreTable& table, SemaphoreTable::Operations operations) -> Error {
  if (operations.empty()) return Error::invalid;
  if (operations.size() > table.shape().operations) return Error::too_big;
  for (const auto& operation : operations) {
    if (const auto error = fault_of(table, operation); error != Error{}) return error;
  }
  return Error{};
}

/// What became of an operation that was tried by one exchange.
enum class Exchange : std::uint8_t { done, would_wait, would_overflow, needs_latch };

/// In a set of one without undo.
auto try_exchange(shm::Atomic<std::uint64_t>& word, int delta, std::uint32_t process) -> Exchange {
  auto seen = word.load_acquire();
  for (;;) {
    if ((seen & shm::under_latch) != 0) return Exchange::needs_latch;
    const auto value = static_cast<int>(seen & shm::value_bits) + delta;
    if (value > SemaphoreSet::highest_value) return Exchange::would_overflow;
    if (value < 0) return Exchange::would_wait;
    const auto changed = static_cast<std::uint64_t>(process) << 32U | static_cast<unsigned>(value);
    if (word.compare_exchange_acq_rel(seen, changed)) return Exchange::done;
  }
}

}  // namespace

auto SemaphoreSet::State::of(shm::Segment segment) -> Result<std::unique_ptr<State>> {
  const auto table = PARLEY_TRY(SemaphoreTable::of(segment.body(), segment.place_count()));
  std::unique_ptr<State> state(new State(std::move(segment), table));
  PARLEY_TRY(state->stand());
  return state;
}

auto SemaphoreSet::State::operate(SemaphoreTable::Operations operations, Deadline deadline)
    -> Result<void> {
  if (operations.size() != 1) return operate_several(operations, deadline);
  const auto& operation = operations[0];
  if (const auto error = fault_of(table(), operation); error != Error{}) [[unlikely]]
    return failure(error);
  const bool by_exchange = table().is_lock_free() && operation.delta != 0;
  return by_exchange ? exchange(operation, deadline) : operate_one(operation, deadline);
}

auto SemaphoreSet::State::operate_several(SemaphoreTable::Operations operations, Deadline deadline)
    -> Result<void> {
  if (const auto error = fault_of(table(), operations); error != Error{}) return failure(error);
  const auto attempt = [&](std::size_t& stopped_at) {
    return table().operate(operations, caller(), stopped_at);
  };
  if (PARLEY_TRY(attempt_at_once(attempt))) return {};
  return operate_under_latch(operations, deadline, attempt);
}

auto SemaphoreSet::State::operate_one(const SemaphoreOperation& operation, Deadline deadline)
    -> Result<void> {
  const auto attempt = [&](std::size_t&) -> Result<SemaphoreVerdict> {
    return table().operate(operation, caller());
  };
  if (PARLEY_TRY(attempt_at_once(attempt))) return {};
  return operate_under_latch({&operation, 1}, deadline, attempt);
}

auto SemaphoreSet::State::exchange(const SemaphoreOperation& operation, Deadline deadline)
    -> Result<void> {
  PARLEY_TRY(stand());
  const auto outcome = try_exchange(table().word(0).state, operation.delta, segment().process_id());
  if (segment().is_lost()) [[unlikely]]
    return failure(Error::corrupt);
  if (outcome == Exchange::done) [[likely]]
    return {};
  if (outcome == Exchange::would_overflow) return failure(Error::out_of_range);
  const bool may_wait = !operation.no_wait && !deadline.is_now();
  if (outcome == Exchange::would_wait && !may_wait) return failure(Error::would_block);
  return operate_one(operation, deadline);
}

template <class Attempt>
auto SemaphoreSet::State::attempt_at_once(Attempt attempt) -> Result<bool> {
  Result<SemaphoreVerdict> verdict = SemaphoreVerdict::waits;
  run_at_once([&] {
    std::size_t stopped_at = 0;
    if (!table().is_removed()) verdict = attempt(stopped_at);
  });
  if (segment().is_lost()) [[unlikely]]
    return failure(Error::corrupt);
  return PARLEY_TRY(verdict) == SemaphoreVerdict::proceeds;
}

template <class Attempt>
auto SemaphoreSet::State::operate_under_latch(SemaphoreTable::Operations operations,
                                              Deadline deadline, Attempt attempt) -> Result<void> {
  std::optional<std::uint32_t> record;
  const auto done = do_or_line_up(operations, deadline, attempt, record);
  if (segment().is_lost()) [[unlikely]]
    return failure(Error::corrupt);
  return record ? wait_in_line(*record, deadline) : done;
}

template <class Attempt>
auto SemaphoreSet::State::do_or_line_up(SemaphoreTable::Operations operations, Deadline deadline,
                                        Attempt attempt, std::optional<std::uint32_t>& record)
    -> Result<void> {
  Locked locked(*this);
  PARLEY_TRY(locked.take(deadline));
  if (table().is_removed()) return failure(Error::removed);
  PARLEY_TRY(table().back_row(segment(), operations));
  std::size_t stopped_at = 0;
  const auto verdict = PARLEY_TRY(attempt(stopped_at));
  if (verdict == SemaphoreVerdict::proceeds) return locked.close();
  if (verdict == SemaphoreVerdict::overflows) return failure(Error::out_of_range);
  if (verdict == SemaphoreVerdict::lacks_row) return failure(Error::corrupt);
  if (operations[stopped_at].no_wait || deadline.is_now()) return failure(Error::would_block);
  record = PARLEY_TRY(line_up(locked, [&] { return table().enqueue(operations, caller()); }));
  return {};
}

auto SemaphoreSet::State::wait_in_line(std::uint32_t index, Deadline deadline) -> Result<void> {
  auto& record = table().line().record(index);
  const auto decided = PARLEY_TRY(wait_for(record, deadline));
  record.state.store_release(shm::waiter_free);
  switch (decided) {
    case shm::waiter_granted:
      return {};
    case shm::waiter_removed:
      return failure(Error::removed);
    case shm::waiter_overflow:
      return failure(Error::out_of_range);
    case shm::waiter_refused:
      return failure(Error::would_block);
    default:
      return failure(Error::corrupt);
  }
}

auto SemaphoreSet::State::set(std::uint16_t first, std::span<const std::uint16_t> values)
    -> Result<void> {
  Locked locked(*this);
  PARLEY_TRY(locked.take(patient()));
  if (table().is_removed()) return failure(Error::removed);
  PARLEY_TRY(table().set(first, values, segment().process_id()));
  return locked.close();
}

auto SemaphoreSet::State::remove() -> Result<void> {
  Locked locked(*this);
  PARLEY_TRY(locked.take(patient()));
  if (table().is_removed()) return failure(Error::removed);
  return table().remove(locked.wakes);
}

}  // namespace parley
