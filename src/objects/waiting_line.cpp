#include "objects/waiting_line.hpp"

#include <algorithm>

#include "os/futex.hpp"

namespace parley {

using shm::Transaction;

auto WaitingLine::free_record() const -> Result<std::uint32_t> {
  const auto end = count();
  for (std::uint32_t i = 0; i < end; ++i) {
    if (record(i).state.load_acquire() == shm::waiter_free) return i;
  }
  return failure(Error::no_space);
}

auto WaitingLine::back_more(const shm::Segment& segment) const -> Result<void> {
  // Twice as many, so that few calls have to ask; in steps that do not hold the latch for long.
  constexpr std::size_t step_bytes = std::size_t{1} << 20U;
  const auto step = static_cast<std::uint32_t>(step_bytes / records_.shape().each_bytes);
  const auto backed = count();
  return records_.back(segment, backed + std::clamp(backed, 1U, step));
}

auto WaitingLine::append(std::uint32_t index, Caller caller, std::uint32_t request)
    -> Result<void> {
  auto& added = record(index);
  added.place.store_relaxed(caller.place);
  added.process.store_relaxed(caller.process);
  added.request.store_relaxed(request);
  const auto last = ends_.last.load_relaxed();
  if (last > count()) return failure(Error::corrupt);
  Transaction transaction(journal_);
  transaction.set(added.state, shm::waiter_waits);
  transaction.set(added.next, 0);
  transaction.set(last == 0 ? ends_.first : record(static_cast<std::uint32_t>(last - 1)).next,
                  index + 1);
  transaction.set(ends_.last, index + 1);
  return transaction.commit();
}

auto WaitingLine::turn_away(std::uint64_t decided, WakeList& wakes) -> Result<void> {
  for (Walk walk(*this); !walk.is_at_end();) {
    auto& record = *PARLEY_TRY(walk.here());
    const auto seen = record.state.load_acquire();
    if (!shm::is_undecided(seen)) {
      PARLEY_TRY(walk.free_here());
      continue;
    }
    Transaction transaction(journal_);
    PARLEY_TRY(walk.decide_here(transaction, seen, decided, wakes));
  }
  return {};
}

void WaitingLine::wake_decided(WakeList& wakes) const noexcept {
  const auto end = count();
  for (std::uint32_t i = 0; i < end; ++i) {
    const auto& state = record(i).state;
    const auto seen = state.load_relaxed();  // it is the call that waits that reads what was done
    const bool decided = seen != shm::waiter_free && (seen & shm::undecided_bits) == 0;
    if (decided) wakes.add(state.futex_word());
  }
}

void WaitingLine::rouse_one() const noexcept {
  const auto end = count();
  for (std::uint32_t i = 0; i < end; ++i) {
    auto& state = record(i).state;
    auto seen = state.load_acquire();
    if (seen == shm::waiter_sleeps && state.compare_exchange_acq_rel(seen, shm::waiter_waits)) {
      os::futex_wake(state.futex_word(), 1);
      return;
    }
  }
}

auto WaitingLine::bury(std::uint32_t place) -> Result<void> {
  for (Walk walk(*this); !walk.is_at_end();) {
    auto& record = *PARLEY_TRY(walk.here());
    if (record.place.load_relaxed() == place) {
      PARLEY_TRY(walk.free_here());
    } else {
      walk.advance();
    }
  }
  // Decided, but its call did not live to see it.
  const auto end = count();
  for (std::uint32_t i = 0; i < end; ++i) {
    auto& left = record(i);
    if (left.place.load_relaxed() != place) continue;
    if (left.state.load_acquire() != shm::waiter_free) left.state.store_release(shm::waiter_free);
  }
  return {};
}

auto WaitingLine::Walk::here() -> Result<shm::Waiter*> {
  // A walk sees each record once, and again each time that it refuses its decision: by going to
  // sleep, now and then by being roused, and by being cancelled.
  constexpr std::size_t looks = 8;
  const std::size_t count = line_.count();
  if (at_ > count || ++steps_ > looks * count) return failure(Error::corrupt);
  return &line_.record(index());
}

void WaitingLine::Walk::advance() noexcept {
  before_ = at_;
  at_ = line_.record(index()).next.load_relaxed();
}

auto WaitingLine::Walk::unlink(Transaction& transaction) -> std::uint64_t {
  const auto next = line_.record(index()).next.load_relaxed();
  auto& link =
      before_ == 0 ? line_.ends_.first : line_.record(static_cast<std::uint32_t>(before_ - 1)).next;
  transaction.set(link, next);
  if (next == 0) transaction.set(line_.ends_.last, before_);
  return next;
}

auto WaitingLine::Walk::free_here() -> Result<void> {
  Transaction transaction(line_.journal_);
  const auto next = unlink(transaction);
  transaction.set(line_.record(index()).state, shm::waiter_free);
  PARLEY_TRY(transaction.commit());
  at_ = next;
  return {};
}

auto WaitingLine::Walk::decide_here(Transaction& transaction, std::uint64_t seen,
                                    std::uint64_t decided, WakeList& wakes) -> Result<bool> {
  auto& state = line_.record(index()).state;
  const auto next = unlink(transaction);
  if (!PARLEY_TRY(transaction.commit_if(state, seen, decided))) return false;  // DECIDE
  if (seen == shm::waiter_sleeps) wakes.add(state.futex_word());
  at_ = next;
  return true;
}

}  // namespace parley
