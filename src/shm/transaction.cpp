#include "shm/transaction.hpp"

#include <new>

namespace parley::shm {
namespace {

/// The word at an offset that came from shared memory; null where there is none.
auto word_at(std::span<std::byte> body, std::uint64_t offset) -> Atomic<std::uint64_t>* {
  using Word = Atomic<std::uint64_t>;
  if (offset % sizeof(Word) != 0 || offset > body.size() - sizeof(Word)) return nullptr;
  return std::launder(reinterpret_cast<Word*>(body.data() + offset));
}

/// Stores the entries and closes the journal.
auto store_all(const JournalPlace& place, std::size_t count) -> Result<void> {
  for (const auto& entry : place.entries.first(count)) {
    auto* const word = word_at(place.body, entry.offset.load_relaxed());  // we hold the latch
    if (word == nullptr) return failure(Error::corrupt);
    word->store_release(entry.value.load_relaxed());
  }
  place.journal.count.store_release(0);
  return {};
}

}  // namespace

auto recover(const JournalPlace& place) -> Result<void> {
  const auto count = place.journal.count.load_acquire();  // COMMIT
  if (count == 0) return {};
  if (count > place.entries.size()) return failure(Error::corrupt);
  if (const auto decision = place.journal.decision.load_acquire(); decision != 0) {
    const auto* const word = word_at(place.body, decision);
    if (word == nullptr) return failure(Error::corrupt);
    if ((word->load_acquire() & undecided_bits) != 0) {
      place.journal.count.store_release(0);
      return {};
    }
  }
  return store_all(place, count);
}

auto Transaction::commit() -> Result<void> {
  place_.journal.decision.store_release(0);
  place_.journal.count.store_release(count_);  // COMMIT
  return store_all(place_, count_);
}

auto Transaction::commit_if(Atomic<std::uint64_t>& decision, std::uint64_t seen,
                            std::uint64_t decided) -> Result<bool> {
  place_.journal.decision.store_release(offset_of(decision));
  place_.journal.count.store_release(count_);
  if (!decision.compare_exchange_acq_rel(seen, decided)) {  // COMMIT
    place_.journal.count.store_release(0);
    return false;
  }
  PARLEY_TRY(store_all(place_, count_));
  return true;
}

}  // namespace parley::shm
