#include "objects/semaphore_set_state.hpp"

#include <algorithm>

#include "os/keeper.hpp"
#include "shm/spin.hpp"

namespace parley {

namespace {

// The shortest paths return plain numbers: a Result that is handed on through several functions is
// written in parts and read whole, which stalls the processor.

/// 0 where the set can take such operations.
auto fault_of(const SemaphoreTable& table, SemaphoreTable::Operations operations) -> Error {
  if (operations.empty()) return Error::invalid;
  if (operations.size() > table.shape().operations) return Error::too_big;
  for (const auto& operation : operations) {
    if (operation.index >= table.shape().count) return static_cast<Error>(EFBIG);
    if (operation.undo && !table.has_undo()) return Error::invalid;
  }
  return Error{};
}

/// What became of an operation that was tried by one exchange.
enum class Exchange : std::uint8_t { done, would_wait, would_overflow, needs_latch };

/// In a set of one without undo.
auto exchange(shm::Atomic<std::uint64_t>& word, int delta, std::uint32_t process) -> Exchange {
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
  PARLEY_TRY(state->claim_place());
  return state;
}

auto SemaphoreSet::State::claim_place() -> Result<void> {
  return segment_.claim([this]() -> Result<void> {
    Locked locked(*this);
    PARLEY_TRY(locked.take(patient(), true));
    return close(locked);
  });
}

auto SemaphoreSet::State::participants() const noexcept -> std::size_t {
  std::size_t count = 0;
  for (std::uint32_t at = 0; at < segment_.places_used(); ++at) {
    if (segment_.life(at).load_relaxed() != 0) ++count;
  }
  return count;
}

auto SemaphoreSet::State::bury_the_dead(Locked& locked) -> Result<void> {
  PARLEY_TRY(table_.recover());
  const auto end = segment_.place_count();
  for (auto at = segment_.next_dead(0); at < end; at = segment_.next_dead(at + 1)) {
    if (at == segment_.place()) return failure(Error::corrupt);
    os::await_stillness();
    PARLEY_TRY(table_.bury(at));
    segment_.free_place(at);
  }
  // One of them may have been woken, or have died before it woke whom it served. Now that they are
  // still, they undo neither.
  latch().expect_sleepers();
  table_.wake_decided(locked.wakes);
  return table_.serve(locked.wakes);
}

void SemaphoreSet::State::take_word() {
  auto& word = table_.word(0).state;
  auto seen = word.load_relaxed();  // the exchange makes the order
  while ((seen & shm::under_latch) == 0 &&
         !word.compare_exchange_acq_rel(seen, seen | shm::under_latch)) {
  }
}

void SemaphoreSet::State::leave_word() {
  if (table_.somebody_waits() || table_.is_removed()) return;
  auto& word = table_.word(0).state;
  word.store_release(word.load_relaxed() & ~shm::under_latch);
}

auto SemaphoreSet::State::operate(SemaphoreTable::Operations operations, Deadline deadline)
    -> Result<void> {
  if (const auto error = fault_of(table_, operations); error != Error{}) [[unlikely]] {
    return failure(error);
  }
  if (lock_free_ && operations.size() == 1 && operations[0].delta != 0) {
    if (!segment_.is_current()) [[unlikely]]
      PARLEY_TRY(claim_place());
    const auto outcome = exchange(table_.word(0).state, operations[0].delta, segment_.process_id());
    if (segment_.is_lost()) return failure(Error::corrupt);
    if (outcome == Exchange::done) [[likely]]
      return {};
    if (outcome == Exchange::would_overflow) return failure(Error::out_of_range);
    const bool may_wait = !operations[0].no_wait && !deadline.is_now();
    if (outcome == Exchange::would_wait && !may_wait) return failure(Error::would_block);
  }
  std::optional<std::uint32_t> record;
  const auto done = operations.size() == 1
                        ? operate_under_latch<1>({operations.data(), 1}, deadline, record)
                        : operate_under_latch<operations_at_most>(operations, deadline, record);
  if (segment_.is_lost()) [[unlikely]]
    return failure(Error::corrupt);
  return record ? wait_for(*record, deadline) : done;
}

template <std::size_t capacity>
auto SemaphoreSet::State::operate_under_latch(SemaphoreTable::Operations operations,
                                              Deadline deadline,
                                              std::optional<std::uint32_t>& record)
    -> Result<void> {
  if constexpr (capacity == 1) operations = {operations.data(), 1};
  SemaphoreAttempt<capacity> attempt;
  Locked locked(*this);
  PARLEY_TRY(locked.take(deadline));
  if (table_.is_removed()) return failure(Error::removed);
  table_.attempt(attempt, operations, segment_.place());
  if (attempt.verdict == SemaphoreVerdict::overflows) return failure(Error::out_of_range);
  if (attempt.verdict == SemaphoreVerdict::proceeds) {
    PARLEY_TRY(table_.commit(attempt, user()));
    return close(locked);
  }
  if (operations[attempt.stopped_at].no_wait || deadline.is_now()) {
    return failure(Error::would_block);
  }
  auto index = table_.enqueue(operations, user());
  if (!index && index.error() == Error::no_space) {
    PARLEY_TRY(table_.serve(locked.wakes));  // frees the records of those who gave up
    index = table_.enqueue(operations, user());
  }
  record = PARLEY_TRY(index);
  return {};
}

auto SemaphoreSet::State::wait_for(std::uint32_t index, Deadline deadline) -> Result<void> {
  auto& state = table_.waiter(index).state;
  shm::Segment::Watch watch;
  for (std::uint32_t looks = 0;;) {
    auto seen = state.load_acquire();  // DECIDE
    if (seen != shm::waiter_waits && seen != shm::waiter_sleeps) break;
    Result<void> woken;
    if (looks < spins_) {
      shm::pause_between_looks(looks);
      if (++looks % shm::looks_between_clocks != 0) continue;
      if (deadline.has_passed()) woken = failure(deadline.error());
    } else {
      if (seen == shm::waiter_waits && !state.compare_exchange_acq_rel(seen, shm::waiter_sleeps)) {
        continue;
      }
      segment_.watch(watch);
      if (!watch.has_dead()) {
        woken = segment_.wait(watch, state.futex_word(), shm::waiter_sleeps, deadline);
      }
    }
    if (segment_.next_dead(0) < segment_.place_count()) {
      Locked locked(*this);
      const auto buried = locked.take(deadline);
      if (buried) {
        static_cast<void>(close(locked));
      } else {
        segment_.pass_on_deaths();
        if (buried.error() != deadline.error()) woken = failure(buried.error());
      }
    }
    if (segment_.is_lost()) return failure(Error::corrupt);
    if (woken || woken.error() == Error::interrupted) continue;
    seen = state.load_acquire();
    if (seen != shm::waiter_waits && seen != shm::waiter_sleeps) continue;
    if (state.compare_exchange_acq_rel(seen, shm::waiter_cancelled)) return woken;
    looks = spins_;  // decided meanwhile; once more, without spinning
  }
  const auto decided = state.load_relaxed();
  state.store_release(shm::waiter_free);
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
  if (table_.is_removed()) return failure(Error::removed);
  PARLEY_TRY(table_.set(first, values, segment_.process_id()));
  return close(locked);
}

auto SemaphoreSet::State::remove() -> Result<void> {
  Locked locked(*this);
  PARLEY_TRY(locked.take(patient()));
  if (table_.is_removed()) return failure(Error::removed);
  return table_.remove(locked.wakes);
}

}  // namespace parley
