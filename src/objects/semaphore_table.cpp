#include "objects/semaphore_table.hpp"

#include <algorithm>

#include "os/futex.hpp"

namespace parley {
namespace {

using Verdict = SemaphoreVerdict;
using shm::Transaction;

auto is_undecided(std::uint64_t state) -> bool {
  return state == shm::waiter_waits || state == shm::waiter_sleeps;
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
auto decision_of(const auto& attempt, SemaphoreTable::Operations operations) -> shm::WaiterState {
  switch (attempt.verdict) {
    case Verdict::proceeds:
      return shm::waiter_granted;
    case Verdict::overflows:
      return shm::waiter_overflow;
    case Verdict::waits:
      break;
  }
  return operations[attempt.stopped_at].no_wait ? shm::waiter_refused : shm::waiter_waits;
}

}  // namespace

void WakeList::add(const std::uint32_t* futex_word) noexcept {
  if (count_ == words_.size()) wake_all();
  words_[count_++] = futex_word;
}

void WakeList::wake() noexcept {
  for (std::size_t i = 0; i < count_; ++i) os::futex_wake(words_[i], 1);
  count_ = 0;
}

/// The queue as it is walked: where we are, and who comes before.
class SemaphoreTable::Queue {
 public:
  explicit Queue(const SemaphoreTable& table) : table_(table) { restart(); }

  void restart() {
    before_ = 0;
    at_ = table_.body().first.load_relaxed();
    steps_ = 0;
    ++walks_;
  }

  [[nodiscard]] auto is_at_end() const -> bool { return at_ == 0; }

  /// The record where we are. `corrupt`: the queue names one that does not exist, or has no end.
  auto here() -> Result<shm::SemaphoreWaiter*> {
    const std::size_t waiters = table_.shape_.waiters;
    // A walk sees each record once. Each is decided once and refuses that twice at most, by going
    // to sleep and by being cancelled; after each of these all rounds begin again.
    if (at_ > waiters || ++steps_ > waiters || walks_ > rounds * (3 * waiters + 1)) {
      return failure(Error::corrupt);
    }
    return &table_.waiter(index());
  }

  void advance() {
    before_ = at_;
    at_ = table_.waiter(index()).next.load_relaxed();
  }

  /// Takes the record where we are out of the queue, and steps on to the next.
  void unlink(Transaction& transaction) {
    const auto next = table_.waiter(index()).next.load_relaxed();
    auto& body = table_.body();
    if (before_ == 0) {
      transaction.set(body.first, next);
    } else {
      transaction.set(table_.waiter(static_cast<std::uint32_t>(before_ - 1)).next, next);
    }
    if (next == 0) transaction.set(body.last, before_);
    at_ = next;
  }

 private:
  [[nodiscard]] auto index() const -> std::uint32_t { return static_cast<std::uint32_t>(at_ - 1); }

  const SemaphoreTable& table_;
  std::uint64_t before_ = 0;
  std::uint64_t at_ = 0;
  std::size_t steps_ = 0;
  std::size_t walks_ = 0;
};

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
      undo_rows_(part<shm::Atomic<std::uint64_t>>(body, shape.undo_rows()),
                 shape.place_count * shape.undo_row_words()),
      waiters_(body.subspan(shape.waiter_records())) {}

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
  auto* const words = part<shm::SemaphoreWord>(body, shape.semaphores());
  for (std::size_t i = 0; i < values.size(); ++i) words[i].state.store_relaxed(values[i]);
}

auto SemaphoreTable::operations_of(const shm::SemaphoreWaiter& waiter) const noexcept -> Words {
  const auto offset = reinterpret_cast<const std::byte*>(&waiter) - body_.data();
  return {part<shm::Atomic<std::uint64_t>>(
              body_, static_cast<std::size_t>(offset) + sizeof(shm::SemaphoreWaiter)),
          shape_.operations};
}

auto SemaphoreTable::recover() -> Result<void> {
  return shm::recover(journal_);
}

auto SemaphoreTable::free_record() const -> Result<std::uint32_t> {
  for (std::uint32_t i = 0; i < shape_.waiters; ++i) {
    if (waiter(i).state.load_acquire() == shm::waiter_free) return i;
  }
  return failure(Error::no_space);
}

auto SemaphoreTable::enqueue(Operations operations, SemaphoreUser user) -> Result<std::uint32_t> {
  const auto index = PARLEY_TRY(free_record());
  auto& record = waiter(index);
  record.place.store_relaxed(user.place);
  record.process.store_relaxed(user.process);
  record.operations.store_relaxed(static_cast<std::uint32_t>(operations.size()));
  const auto words = operations_of(record);
  for (std::size_t i = 0; i < operations.size(); ++i) {
    words[i].store_relaxed(shm::pack_operation(operations[i].index, operations[i].delta,
                                               operations[i].undo, operations[i].no_wait));
  }
  const auto last = body().last.load_relaxed();
  if (last > shape_.waiters) return failure(Error::corrupt);
  Transaction transaction(journal_);
  transaction.set(record.state, shm::waiter_waits);
  transaction.set(record.next, 0);
  transaction.set(last == 0 ? body().first : waiter(static_cast<std::uint32_t>(last - 1)).next,
                  index + 1);
  transaction.set(body().last, index + 1);
  PARLEY_TRY(transaction.commit());
  return index;
}

auto SemaphoreTable::read_operations(const shm::SemaphoreWaiter& waiter,
                                     std::span<SemaphoreOperation> into) const
    -> Result<Operations> {
  const auto count = waiter.operations.load_relaxed();
  if (count == 0 || count > shape_.operations) return failure(Error::corrupt);
  const auto words = operations_of(waiter);
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

auto SemaphoreTable::serve(WakeList& wakes) -> Result<void> {
  if (is_removed()) return turn_away(wakes);
  std::array<SemaphoreOperation, SemaphoreSet::operations_at_most> space;
  SemaphoreAttempt<SemaphoreSet::operations_at_most> attempt;
  Queue queue(*this);
  for (int round = 0; round < rounds;) {
    if (queue.is_at_end()) {
      ++round;
      queue.restart();
      continue;
    }
    auto& record = *PARLEY_TRY(queue.here());
    const auto seen = record.state.load_acquire();
    const SemaphoreUser user{.place = record.place.load_relaxed(),
                             .process = record.process.load_relaxed()};
    if (user.place >= shape_.place_count) return failure(Error::corrupt);
    if (!is_undecided(seen)) {
      // Cancelled; nothing else is ever linked.
      Transaction transaction(journal_);
      queue.unlink(transaction);
      transaction.set(record.state, shm::waiter_free);
      PARLEY_TRY(transaction.commit());
      continue;
    }
    const auto operations = PARLEY_TRY(read_operations(record, space));
    std::uint64_t decided = shm::waiter_waits;
    if (round_of(operations) == round) {
      this->attempt(attempt, operations, user.place);
      decided = decision_of(attempt, operations);
    }
    if (decided == shm::waiter_waits) {
      queue.advance();
      continue;
    }
    Transaction transaction(journal_);
    const bool proceeds = decided == shm::waiter_granted;
    if (proceeds) write(transaction, attempt, user);
    queue.unlink(transaction);
    const bool done = PARLEY_TRY(transaction.commit_if(record.state, seen, decided));  // DECIDE
    if (done && proceeds) note_operation();
    if (done && seen == shm::waiter_sleeps) wakes.add(record.state.futex_word());
    // What was granted may let somebody proceed who comes earlier; what failed is cancelled, or its
    // call has meanwhile gone to sleep: look again.
    round = 0;
    queue.restart();
  }
  return {};
}

void SemaphoreTable::wake_decided(WakeList& wakes) const noexcept {
  for (std::uint32_t i = 0; i < shape_.waiters; ++i) {
    const auto& state = waiter(i).state;
    const auto seen = state.load_relaxed();  // it is the call that waits that reads what was done
    const bool decided = seen != shm::waiter_free && (seen & shm::undecided_bits) == 0;
    if (decided) wakes.add(state.futex_word());
  }
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
  return turn_away(wakes);
}

auto SemaphoreTable::turn_away(WakeList& wakes) -> Result<void> {
  for (Queue queue(*this); !queue.is_at_end();) {
    auto& record = *PARLEY_TRY(queue.here());
    const auto seen = record.state.load_acquire();
    Transaction transaction(journal_);
    queue.unlink(transaction);
    if (!is_undecided(seen)) {
      transaction.set(record.state, shm::waiter_free);
      PARLEY_TRY(transaction.commit());
      continue;
    }
    const bool done = PARLEY_TRY(transaction.commit_if(record.state, seen, shm::waiter_removed));
    if (done && seen == shm::waiter_sleeps) wakes.add(record.state.futex_word());
    if (!done) queue.restart();
  }
  return {};
}

auto SemaphoreTable::bury(std::uint32_t place) -> Result<void> {
  for (Queue queue(*this); !queue.is_at_end();) {
    auto& record = *PARLEY_TRY(queue.here());
    if (record.place.load_relaxed() != place) {
      queue.advance();
      continue;
    }
    Transaction transaction(journal_);
    queue.unlink(transaction);
    transaction.set(record.state, shm::waiter_free);
    PARLEY_TRY(transaction.commit());
  }
  // Decided, but its call did not live to see it.
  for (std::uint32_t i = 0; i < shape_.waiters; ++i) {
    auto& record = waiter(i);
    if (record.place.load_relaxed() != place) continue;
    if (record.state.load_acquire() != shm::waiter_free) {
      record.state.store_release(shm::waiter_free);
    }
  }
  return undo_ ? undo_all(place) : Result<void>();
}

auto SemaphoreTable::undo_all(std::uint32_t place) -> Result<void> {
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

auto SemaphoreTable::waiting(std::uint16_t index) const -> Result<Waiting> {
  std::array<SemaphoreOperation, SemaphoreSet::operations_at_most> space;
  SemaphoreAttempt<SemaphoreSet::operations_at_most> attempt;
  Waiting waiting;
  for (Queue queue(*this); !queue.is_at_end(); queue.advance()) {
    const auto& record = *PARLEY_TRY(queue.here());
    if (!is_undecided(record.state.load_acquire())) continue;
    ++waiting.all;
    const auto place = record.place.load_relaxed();
    if (place >= shape_.place_count) return failure(Error::corrupt);
    const auto operations = PARLEY_TRY(read_operations(record, space));
    this->attempt(attempt, operations, place);
    if (attempt.verdict != Verdict::waits) continue;
    const auto& stopper = operations[attempt.stopped_at];
    if (stopper.index == index) ++(stopper.delta == 0 ? waiting.for_zero : waiting.for_increase);
  }
  return waiting;
}

}  // namespace parley
