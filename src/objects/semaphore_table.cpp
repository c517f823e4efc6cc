#include "objects/semaphore_table.hpp"

#include <algorithm>

#include "os/keeper.hpp"

namespace parley {
namespace {

using Verdict = SemaphoreVerdict;
using shm::Transaction;

/// Whether a call waits for nothing but a value to grow, and makes none grow.
auto only_takes(SemaphoreTable::Operations operations) -> bool {
  return operations.size() == 1 && operations[0].delta < 0;
}

/// About what it takes to read a call's record and to try its operations, in nanoseconds: each is
/// compared with those before it.
auto work_of(std::size_t operations) -> std::size_t {
  return 10 + operations * (1 + operations / 8);
}

/// In which round of serving a call has its turn. As in Linux: those that only wait for zero are
/// served before those that change something, and of them those that wait for one semaphore first.
auto round_of(SemaphoreTable::Operations operations) -> int {
  const bool changes =
      std::ranges::any_of(operations, [](const auto& each) { return each.delta != 0; });
  if (changes) return 2;
  return operations.size() == 1 ? 0 : 1;
}
constexpr int rounds = 3;

/// What an attempt says of a call that waits.
auto decision_of(const auto& attempt, SemaphoreTable::Operations operations) -> std::uint64_t {
  switch (attempt.verdict) {
    case Verdict::proceeds:
      return shm::waiter_granted;
    case Verdict::overflows:
      return shm::waiter_overflow;
    case Verdict::lacks_row:  // as it had when it was put in line
      return shm::waiter_waits;
    case Verdict::waits:
      break;
  }
  if (operations[attempt.stopped_at].no_wait) return shm::waiter_refused;
  return shm::waiter_waits;
}

}  // namespace

/// What some operations would do now.
class SemaphoreTable::Attempt {
 public:
  /// Every index must be in the set.
  void make(const SemaphoreTable& table, Operations operations, std::uint32_t place);

  /// What an attempt that proceeds said.
  void write(const SemaphoreTable& table, Transaction& transaction, Caller caller) const {
    for (const auto& change : std::span(changes_).first(count_)) {
      table.write(transaction, change, caller);
    }
  }

  Verdict verdict = Verdict::proceeds;
  std::size_t stopped_at = 0;  ///< The operation that cannot proceed, where one cannot.

 private:
  std::array<Change, SemaphoreSet::operations_at_most> changes_;
  std::size_t count_ = 0;
};

void SemaphoreTable::Attempt::make(const SemaphoreTable& table, Operations operations,
                                   std::uint32_t place) {
  count_ = 0;
  stopped_at = 0;
  verdict = Verdict::proceeds;
  for (const auto& operation : operations) {
    auto* const end = changes_.data() + count_;
    auto& change = *std::find_if(changes_.data(), end,
                                 [&](const auto& known) { return known.index == operation.index; });
    if (&change == end) {
      change.index = operation.index;
      change.undo = false;
      change.value = table.value(operation.index);
      ++count_;
    }
    verdict = table.apply(change, operation, place);
    if (verdict != Verdict::proceeds) return;
    ++stopped_at;
  }
}

SemaphoreTable::SemaphoreTable(std::span<std::byte> body, const shm::SemaphoreSetShape& shape,
                               bool undo) noexcept
    : body_(body),
      shape_(shape),
      undo_(undo),
      journal_{.body = body,
               .journal = part<shm::SemaphoreSetBody>(body, 0)->journal,
               .entries = {part<shm::JournalEntry>(body, sizeof(shm::SemaphoreSetBody)),
                           shape.journal_entries()}},
      words_(part<shm::SemaphoreWord>(body, shape.semaphores())),
      rows_(part<shm::SemaphoreSetBody>(body, 0)->backed_rows, shape.row_parts()),
      line_(journal_, part<shm::SemaphoreSetBody>(body, 0)->line,
            {part<shm::SemaphoreSetBody>(body, 0)->backed_waiters, shape.waiter_parts()}),
      lock_free_(shape.count == 1 && !undo) {}

auto SemaphoreTable::of(std::span<std::byte> body, std::uint32_t place_count)
    -> Result<SemaphoreTable> {
  if (body.size() < sizeof(shm::SemaphoreSetBody)) return failure(Error::corrupt);
  const auto& start = *part<shm::SemaphoreSetBody>(body, 0);
  const shm::SemaphoreSetShape shape{.count = start.count.load_relaxed(),
                                     .operations = start.operations.load_relaxed(),
                                     .waiters = start.waiters.load_relaxed(),
                                     .place_count = place_count};
  const bool sound = shape.count >= 1 && shape.count <= SemaphoreSet::semaphores_at_most &&
                     shape.operations >= 1 &&
                     shape.operations <= SemaphoreSet::operations_at_most && shape.waiters >= 1 &&
                     shape.waiters <= 0xffff && shape.body_bytes() == body.size();
  if (!sound) return failure(Error::corrupt);
  return SemaphoreTable(body, shape, start.undo.load_relaxed() != 0);
}

void SemaphoreTable::create(std::span<std::byte> body, const shm::SemaphoreSetShape& shape,
                            bool undo, std::span<const std::uint16_t> values) {
  auto& start = *part<shm::SemaphoreSetBody>(body, 0);
  start.count.store_relaxed(shape.count);
  start.operations.store_relaxed(shape.operations);
  start.waiters.store_relaxed(shape.waiters);
  start.undo.store_relaxed(undo ? 1 : 0);
  start.last_change.store_relaxed(os::time_of_day_s());
  start.backed_rows.store_relaxed(shape.row_parts().whole_before(shape.backed_at_first()));
  start.backed_waiters.store_relaxed(shape.waiter_parts().whole_before(shape.backed_at_first()));
  auto* const words = part<shm::SemaphoreWord>(body, shape.semaphores());
  for (std::size_t i = 0; i < values.size(); ++i) words[i].state.store_relaxed(values[i]);
}

auto SemaphoreTable::recover() -> Result<void> {
  return shm::recover(journal_);
}

auto SemaphoreTable::back_row(const shm::Segment& segment, Operations operations) const
    -> Result<void> {
  if (!std::ranges::any_of(operations, needs_row)) return {};
  return rows_.back(segment, segment.place() + 1);
}

void SemaphoreTable::take_word() noexcept {
  auto& word = words_[0].state;
  auto seen = word.load_relaxed();  // the exchange makes the order
  while ((seen & shm::under_latch) == 0 &&
         !word.compare_exchange_acq_rel(seen, seen | shm::under_latch)) {
  }
}

void SemaphoreTable::leave_word() noexcept {
  if (somebody_waits() || is_removed()) return;
  auto& word = words_[0].state;
  word.store_release(word.load_relaxed() & ~shm::under_latch);
}

auto SemaphoreTable::operate(Operations operations, Caller caller, std::size_t& stopped_at) const
    -> Result<Verdict> {
  Attempt attempt;
  attempt.make(*this, operations, caller.place);
  stopped_at = attempt.stopped_at;
  if (attempt.verdict != Verdict::proceeds) return attempt.verdict;
  Transaction transaction(journal_);
  attempt.write(*this, transaction, caller);
  note_operation();
  PARLEY_TRY(transaction.commit());
  return attempt.verdict;
}

auto SemaphoreTable::enqueue(Operations operations, Caller caller) -> Result<std::uint32_t> {
  const auto index = PARLEY_TRY(line_.free_record());
  const auto words = line_.words(line_.record(index));
  for (std::size_t i = 0; i < operations.size(); ++i) {
    words[i].store_relaxed(shm::pack_operation(operations[i].index, operations[i].delta,
                                               operations[i].undo, operations[i].no_wait));
  }
  PARLEY_TRY(line_.append(index, caller, static_cast<std::uint32_t>(operations.size())));
  return index;
}

auto SemaphoreTable::read_operations(shm::Waiter& waiter, std::span<SemaphoreOperation> into) const
    -> Result<Operations> {
  const auto count = waiter.request.load_relaxed();
  if (count == 0 || count > shape_.operations) return failure(Error::corrupt);
  const auto words = line_.words(waiter);
  for (std::size_t i = 0; i < count; ++i) {
    const auto packed = words[i].load_relaxed();
    into[i] = {.index = static_cast<std::uint16_t>(packed),
               .delta = static_cast<std::int16_t>(static_cast<std::uint16_t>(packed >> 16U)),
               .no_wait = (packed >> 33U & 1U) != 0,
               .undo = (packed >> 32U & 1U) != 0};
    if (into[i].index >= shape_.count) return failure(Error::corrupt);
  }
  return into.first(count);
}

auto SemaphoreTable::serve(WakeList& wakes, TimeLimit& limit) -> Result<void> {
  bool all = true;
  if (is_removed()) {
    PARLEY_TRY(line_.turn_away(shm::waiter_removed, wakes));
  } else {
    all = PARLEY_TRY(serve_all(wakes, limit));
  }
  if (all == is_unserved()) body().unserved.store_release(all ? 0 : 1);
  return {};
}

void SemaphoreTable::hand_on() const noexcept {
  os::fence_all();  // UNSERVED
  line_.rouse_one();
}

/// Whether nobody is left who could proceed.
auto SemaphoreTable::serve_all(WakeList& wakes, TimeLimit& limit) -> Result<bool> {
  std::array<SemaphoreOperation, SemaphoreSet::operations_at_most> space;
  Attempt attempt;
  WaitingLine::Walk walk(line_);
  bool all_only_take = true;  // of those seen: after the first round, of all
  for (int round = 0; round < rounds;) {
    if (walk.is_at_end()) {
      round = all_only_take && round == 0 ? rounds - 1 : round + 1;
      walk.restart();
      continue;
    }
    auto& record = *PARLEY_TRY(walk.here());
    const auto seen = record.state.load_acquire();
    const Caller caller{.place = record.place.load_relaxed(),
                        .process = record.process.load_relaxed()};
    if (!shm::is_undecided(seen)) {
      // Cancelled; nothing else is ever linked.
      PARLEY_TRY(walk.free_here());
      continue;
    }
    const auto operations = PARLEY_TRY(read_operations(record, space));
    if (limit.is_over(work_of(operations.size()))) return false;
    all_only_take = all_only_take && only_takes(operations);
    std::uint64_t decided = shm::waiter_waits;
    if (round_of(operations) == round) {
      attempt.make(*this, operations, caller.place);
      decided = decision_of(attempt, operations);
    }
    if (decided == shm::waiter_waits) {
      walk.advance();
      continue;
    }
    Transaction transaction(journal_);
    const bool proceeds = decided == shm::waiter_granted;
    if (proceeds) attempt.write(*this, transaction, caller);
    if (!PARLEY_TRY(walk.decide_here(transaction, seen, decided, wakes))) continue;
    if (!proceeds) continue;
    note_operation();
    // What was done may let somebody proceed who comes earlier.
    if (all_only_take) continue;
    round = 0;
    walk.restart();
  }
  return true;
}

auto SemaphoreTable::set(std::uint16_t first, std::span<const std::uint16_t> values,
                         std::uint32_t process) -> Result<void> {
  Transaction transaction(journal_);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto index = static_cast<std::uint16_t>(first + i);
    set_word(transaction, index, values[i], process);
    transaction.set(word(index).resets, word(index).resets.load_relaxed() + 1);
  }
  transaction.set(body().last_change, os::time_of_day_s());
  return transaction.commit();
}

auto SemaphoreTable::remove(WakeList& wakes) -> Result<void> {
  Transaction mark(journal_);
  mark.set(body().removed, 1);
  PARLEY_TRY(mark.commit());
  return line_.turn_away(shm::waiter_removed, wakes);
}

auto SemaphoreTable::bury(std::uint32_t place) -> Result<void> {
  PARLEY_TRY(line_.bury(place));
  return undo_ ? undo_all(place) : Result<void>();
}

auto SemaphoreTable::undo_all(std::uint32_t place) -> Result<void> {
  if (place >= rows_.count()) return {};
  const auto row = undo_row(place);
  const auto process = static_cast<std::uint32_t>(row[0].load_relaxed());
  Transaction transaction(journal_);
  bool any = false;
  for (std::uint32_t i = 0; i < shape_.count; ++i) {
    const auto index = static_cast<std::uint16_t>(i);
    const auto change = adjustment(place, index);
    if (change == 0) continue;
    any = true;
    set_word(transaction, index, std::clamp(value(index) + change, 0, SemaphoreSet::highest_value),
             process);
    transaction.set(row[1 + std::size_t{index}], 0);
  }
  if (any) note_operation();
  return transaction.commit();
}

auto SemaphoreTable::waiting(std::uint16_t index, TimeLimit& limit) const -> Result<Waiting> {
  std::array<SemaphoreOperation, SemaphoreSet::operations_at_most> space;
  Attempt attempt;
  Waiting waiting;
  for (WaitingLine::Walk walk(line_); !walk.is_at_end(); walk.advance()) {
    auto& record = *PARLEY_TRY(walk.here());
    if (!shm::is_undecided(record.state.load_acquire())) continue;
    ++waiting.all;
    const auto place = record.place.load_relaxed();
    if (place >= shape_.place_count) return failure(Error::corrupt);
    const auto operations = PARLEY_TRY(read_operations(record, space));
    if (limit.is_over(work_of(operations.size()))) return failure(Error::busy);
    attempt.make(*this, operations, place);
    if (attempt.verdict != Verdict::waits) continue;
    const auto& stopper = operations[attempt.stopped_at];
    if (stopper.index == index) ++(stopper.delta == 0 ? waiting.for_zero : waiting.for_increase);
  }
  return waiting;
}

}  // namespace parley
