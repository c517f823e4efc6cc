// Several words of an object changed all together or not at all, whoever dies.
//
// Owners      journal and entries: the latch's holder. The deciding word: see there.
// Invariants  I1 whenever the latch is free, the count is 0.
//             I2 while the count is not 0, the entries from 0 to it are complete and do not change.
// Edges       COMMIT  the store of the count (or the exchange of the deciding word) after all
// entries
//             -> whoever takes the latch over and finds it.
// Crash       Death cuts the program's order: of one thread's stores there remains a beginning.
//             Cut before COMMIT, nothing has happened. Cut after it, the next holder stores all
//             entries again, which does no harm to those that were stored. With a deciding word the
//             count is stored before it, and what the word says counts: it was undecided or
//             refused, nothing has happened; else all is to be stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include <parley/error.hpp>

#include "shm/layout/journal.hpp"

namespace parley::shm {

/// Where an object keeps its journal. The spans and the reference come from checked numbers.
struct JournalPlace {
  std::span<std::byte> body;
  Journal& journal;
  std::span<JournalEntry> entries;
};

/// The word at an offset that came from shared memory; null where there is none.
inline auto word_at(std::span<std::byte> body, std::uint64_t offset) -> Atomic<std::uint64_t>* {
  using Word = Atomic<std::uint64_t>;
  if (offset % sizeof(Word) != 0 || offset > body.size() - sizeof(Word)) return nullptr;
  return std::launder(reinterpret_cast<Word*>(body.data() + offset));
}

/// Stores the entries from `first` to `count` and closes the journal.
inline auto store_all(const JournalPlace& place, std::size_t first, std::size_t count)
    -> Result<void> {
  for (const auto& entry : place.entries.first(count).subspan(first)) {
    auto* const word = word_at(place.body, entry.offset.load_relaxed());  // we hold the latch
    if (word == nullptr) return failure(Error::corrupt);
    word->store_release(entry.value.load_relaxed());
  }
  place.journal.count.store_release(0);
  return {};
}

/// Finishes what the dead holder of the latch had committed. `corrupt` for an entry outside of the
/// body; what comes before it may have been stored.
auto recover(const JournalPlace& place) -> Result<void>;

/// Collects new values, under the latch. A word is set at most once; the caller sees to it that no
/// transaction has more words than there are entries.
class Transaction {
 public:
  explicit Transaction(const JournalPlace& place) noexcept : place_(place) {}

  void set(Atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    const auto at = count_++;
    if (at == 0) {
      first_ = {&word, value};
    } else if (at == 1) {
      second_ = {&word, value};
    } else {
      enter(at, word, value);
    }
  }

  /// Cannot fail with two words or fewer.
  auto commit() -> Result<void> {
    // One word changes at once by itself, without a journal.
    if (count_ == 1) first_.word->store_release(first_.value);
    return count_ > 1 ? commit_all() : Result<void>();
  }

  /// Commits, with at least one word, if the deciding word still is what it was seen to be, and
  /// makes it `decided`. False: somebody else was faster, and nothing has happened.
  auto commit_if(Atomic<std::uint64_t>& decision, std::uint64_t seen, std::uint64_t decided)
      -> Result<bool>;

 private:
  struct Change {
    Atomic<std::uint64_t>* word = nullptr;
    std::uint64_t value = 0;
  };

  auto commit_all() -> Result<void>;

  void enter(std::size_t at, const Atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    auto& entry = place_.entries[at];
    entry.offset.store_release(offset_of(word));
    entry.value.store_release(value);
  }
  void enter_first_two() noexcept {
    enter(0, *first_.word, first_.value);
    if (count_ > 1) enter(1, *second_.word, second_.value);
  }
  /// After COMMIT: stores all, those that are known here without reading them again.
  auto finish() -> Result<void> {
    first_.word->store_release(first_.value);
    if (count_ > 1) second_.word->store_release(second_.value);
    if (count_ > 2) return store_all(place_, 2, count_);
    place_.journal.count.store_release(0);
    return {};
  }

  [[nodiscard]] auto offset_of(const Atomic<std::uint64_t>& word) const noexcept -> std::uint64_t {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&word) -
                                      place_.body.data());
  }

  const JournalPlace& place_;
  std::size_t count_ = 0;
  // The first two, which need no journal, or only for who takes over.
  Change first_;
  Change second_;
};

inline auto Transaction::commit_all() -> Result<void> {
  enter_first_two();
  place_.journal.decision.store_release(0);
  place_.journal.count.store_release(count_);  // COMMIT
  return finish();
}

}  // namespace parley::shm
