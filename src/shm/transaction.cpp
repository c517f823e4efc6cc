#include "shm/transaction.hpp"

namespace parley::shm {
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
  return store_all(place, 0, count);
}

auto Transaction::commit_if(Atomic<std::uint64_t>& decision, std::uint64_t seen,
                            std::uint64_t decided) -> Result<bool> {
  enter_first_two();
  place_.journal.decision.store_release(offset_of(decision));
  place_.journal.count.store_release(count_);
  if (!decision.compare_exchange_acq_rel(seen, decided)) {  // COMMIT
    place_.journal.count.store_release(0);
    return false;
  }
  PARLEY_TRY(finish());
  return true;
}

}  // namespace parley::shm
