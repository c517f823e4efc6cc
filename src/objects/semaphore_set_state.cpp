#include "objects/semaphore_set_state.hpp"

#include <algorithm>

#include "os/keeper.hpp"
#include "shm/spin.hpp"

namespace parley {

using Verdict = SemaphoreAttempt::Verdict;

SemaphoreSet::State::Locked::~Locked() {
  if (state_ == nullptr) return;
  state_->leave_word();
  state_->latch().release();
  wakes.wake_all();
}

auto SemaphoreSet::State::of(shm::Segment segment) -> Result<std::unique_ptr<State>> {
  const auto table = PARLEY_TRY(SemaphoreTable::of(segment.body(), segment.place_count()));
  std::unique_ptr<State> state(new State(std::move(segment), table));
  PARLEY_TRY(state->claim_place());
  return state;
}

auto SemaphoreSet::State::claim_place() -> Result<void> {
  return segment_.claim([this]() -> Result<void> {
    auto locked = PARLEY_TRY(lock(patient(), true));
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

auto SemaphoreSet::State::lock(Deadline deadline, bool heir) -> Result<Locked> {
  if (!segment_.is_current()) PARLEY_TRY(claim_place());
  const auto found =
      latch().acquire(spins_, deadline.is_now() ? patient() : deadline, heir);
  if (!found) {
    return failure(deadline.is_now() && found.error() == Error::timed_out ? Error::busy
                                                                         : found.error());
  }
  Locked locked(*this);
  if (!table_.has_undo() && table_.shape().count == 1) take_word();
  const bool orphaned = *found == shm::Latch::Found::left_by_the_dead;
  if (orphaned || segment_.next_dead(0) < segment_.place_count()) [[unlikely]] {
    PARLEY_TRY(bury_the_dead(locked));
  }
  return locked;
}

auto SemaphoreSet::State::bury_the_dead(Locked& locked) -> Result<void> {
  latch().expect_sleepers();
  PARLEY_TRY(table_.recover());
  const auto end = segment_.place_count();
  for (auto at = segment_.next_dead(0); at < end; at = segment_.next_dead(at + 1)) {
    if (at == segment_.place()) return failure(Error::corrupt);
    os::await_stillness();
    PARLEY_TRY(table_.bury(at));
    segment_.free_place(at);
  }
  return table_.serve(locked.wakes);
}

auto SemaphoreSet::State::close(Locked& locked) -> Result<void> {
  if (table_.somebody_waits()) PARLEY_TRY(table_.serve(locked.wakes));
  return segment_.is_lost() ? failure(Error::corrupt) : Result<void>();
}

void SemaphoreSet::State::take_word() {
  auto& word = table_.word(0).state;
  auto seen = word.load_relaxed();  // the exchange makes the order
  while ((seen & shm::under_latch) == 0 &&
         !word.compare_exchange_acq_rel(seen, seen | shm::under_latch)) {
  }
}

void SemaphoreSet::State::leave_word() {
  if (!lock_free_ || table_.somebody_waits() || table_.is_removed()) return;
  auto& word = table_.word(0).state;
  word.store_release(word.load_relaxed() & ~shm::under_latch);
}

auto SemaphoreSet::State::check(SemaphoreTable::Operations operations) const -> Result<void> {
  if (operations.empty()) return failure(Error::invalid);
  if (operations.size() > table_.shape().operations) return failure(Error::too_big);
  for (const auto& operation : operations) {
    if (operation.index >= table_.shape().count) return failure(static_cast<Error>(EFBIG));
    if (operation.undo && !table_.has_undo()) return failure(Error::invalid);
  }
  return {};
}

auto SemaphoreSet::State::exchange(const SemaphoreOperation& operation, Deadline deadline)
    -> std::optional<Result<void>> {
  auto& word = table_.word(0).state;
  const auto process = static_cast<std::uint64_t>(segment_.process_id()) << 32U;
  auto seen = word.load_acquire();
  for (;;) {
    if ((seen & shm::under_latch) != 0) return std::nullopt;
    const auto value = static_cast<int>(seen & shm::value_bits) + operation.delta;
    if (value > highest_value) return failure(Error::out_of_range);
    if (value < 0 && (operation.no_wait || deadline.is_now())) return failure(Error::would_block);
    if (value < 0) return std::nullopt;
    if (word.compare_exchange_acq_rel(seen, process | static_cast<unsigned>(value))) {
      return Result<void>();
    }
  }
}

auto SemaphoreSet::State::operate(SemaphoreTable::Operations operations, Deadline deadline)
    -> Result<void> {
  PARLEY_TRY(check(operations));
  if (!segment_.is_current()) [[unlikely]] PARLEY_TRY(claim_place());
  std::optional<Result<void>> done;
  if (lock_free_ && operations.size() == 1 && operations[0].delta != 0) {
    done = exchange(operations[0], deadline);
  }
  if (!done) {
    const auto record = operate_under_latch(operations, deadline);
    if (!record) {
      done = failure(record.error());
    } else {
      done = *record ? wait_for(**record, deadline) : Result<void>();
    }
  }
  return segment_.is_lost() ? failure(Error::corrupt) : *done;
}

auto SemaphoreSet::State::operate_under_latch(SemaphoreTable::Operations operations,
                                              Deadline deadline)
    -> Result<std::optional<std::uint32_t>> {
  SemaphoreAttempt attempt;
  auto locked = PARLEY_TRY(lock(deadline));
  if (table_.is_removed()) return failure(Error::removed);
  table_.attempt(attempt, operations, segment_.place());
  if (attempt.verdict == Verdict::overflows) return failure(Error::out_of_range);
  if (attempt.verdict == Verdict::proceeds) {
    PARLEY_TRY(table_.commit(attempt, user()));
    PARLEY_TRY(close(locked));
    return std::nullopt;
  }
  if (operations[attempt.stopped_at].no_wait || deadline.is_now()) {
    return failure(Error::would_block);
  }
  auto index = table_.enqueue(operations, user());
  if (!index && index.error() == Error::no_space) {
    PARLEY_TRY(close(locked));  // frees the records of those who gave up
    index = table_.enqueue(operations, user());
  }
  return PARLEY_TRY(index);
}

auto SemaphoreSet::State::wait_for(std::uint32_t index, Deadline deadline) -> Result<void> {
  auto& state = table_.waiter(index).state;
  for (std::uint32_t looks = 0;;) {
    auto seen = state.load_acquire();  // DECIDE
    if (seen != shm::waiter_waits && seen != shm::waiter_sleeps) break;
    Result<void> woken;
    if (looks < spins_) {
      constexpr std::uint32_t looks_between_clocks = 1024;
      shm::pause_processor();
      if (++looks % looks_between_clocks != 0) continue;
      if (deadline.has_passed()) woken = failure(deadline.error());
    } else {
      if (seen == shm::waiter_waits &&
          !state.compare_exchange_acq_rel(seen, shm::waiter_sleeps)) {
        continue;
      }
      woken = segment_.wait(state.futex_word(), shm::waiter_sleeps, deadline);
    }
    if (segment_.next_dead(0) < segment_.place_count()) {
      if (auto locked = lock(patient())) static_cast<void>(close(*locked));
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
    case shm::waiter_granted: return {};
    case shm::waiter_removed: return failure(Error::removed);
    case shm::waiter_overflow: return failure(Error::out_of_range);
    default: return failure(Error::corrupt);
  }
}

auto SemaphoreSet::State::set(std::uint16_t first, std::span<const std::uint16_t> values)
    -> Result<void> {
  auto locked = PARLEY_TRY(lock(patient()));
  if (table_.is_removed()) return failure(Error::removed);
  PARLEY_TRY(table_.set(first, values, segment_.process_id()));
  return close(locked);
}

auto SemaphoreSet::State::remove() -> Result<void> {
  auto locked = PARLEY_TRY(lock(patient()));
  if (table_.is_removed()) return failure(Error::removed);
  return table_.remove(locked.wakes);
}

}  // namespace parley
