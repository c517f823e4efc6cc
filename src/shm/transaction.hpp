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

/// Stores the entries and closes the journal.
inline auto store_all(const JournalPlace& place, std::size_t count) -> Result<void> {
  for (const auto& entry : place.entries.first(count)) {
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
    if (count_++ == 0) {
      first_ = &word;
      first_value_ = value;
    } else {
      enter(count_ - 1, word, value);
    }
  }

  auto commit() -> Result<void> {
    if (count_ > 1) return commit_all();
    // One word changes at once by itself, without a journal.
    if (count_ == 1) first_->store_release(first_value_);
    return {};
  }

  /// Commits, with at least one word, if the deciding word still is what it was seen to be, and
  /// makes it `decided`. False: somebody else was faster, and nothing has happened.
  auto commit_if(Atomic<std::uint64_t>& decision, std::uint64_t seen, std::uint64_t decided)
      -> Result<bool>;

 private:
  auto commit_all() -> Result<void>;

  void enter(std::size_t at, const Atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    auto& entry = place_.entries[at];
    entry.offset.store_release(offset_of(word));
    entry.value.store_release(value);
  }

  [[nodiscard]] auto offset_of(const Atomic<std::uint64_t>& word) const noexcept -> std::uint64_t {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&word) -
                                      place_.body.data());
  }

  const JournalPlace& place_;
  std::size_t count_ = 0;
  Atomic<std::uint64_t>* first_ = nullptr;
  std::uint64_t first_value_ = 0;
};

inline auto Transaction::commit_all() -> Result<void> {
  enter(0, *first_, first_value_);
  place_.journal.decision.store_release(0);
  place_.journal.count.store_release(count_);  // COMMIT
  return store_all(place_, count_);
}

}  // namespace parley::shm
