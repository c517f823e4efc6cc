// New values of words, as they are worked out: a later step of one change sees the earlier ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shm/transaction.hpp"

namespace parley::shm {

/// Collects values outside of the object, and is a transaction itself or part of one. At most
/// `capacity` words, which its user sees to.
class Draft {
 public:
  static constexpr std::size_t capacity = 72;

  Draft() noexcept {}  // NOLINT(modernize-use-equals-default): which would clear the entries

  /// As it will be.
  [[nodiscard]] auto get(const Atomic<std::uint64_t>& word) const noexcept -> std::uint64_t {
    for (std::size_t i = 0; i < count_; ++i) {
      if (entries_[i].word == &word) return entries_[i].value;
    }
    return word.load_relaxed();  // we hold the latch
  }

  void set(Atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      if (entries_[i].word == &word) {
        entries_[i].value = value;
        return;
      }
    }
    entries_[count_++] = {.word = &word, .value = value};
  }

  void hand_to(Transaction& transaction) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      transaction.set(*entries_[i].word, entries_[i].value);
    }
  }

  /// A transaction of this alone, as shm/transaction.hpp has it. It stores what it knows itself,
  /// and reads nothing back from the journal.
  void commit(const JournalPlace& place) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      auto& entry = place.entries[i];
      const auto* const word = reinterpret_cast<const std::byte*>(entries_[i].word);
      entry.offset.store_release(static_cast<std::uint64_t>(word - place.body.data()));
      entry.value.store_release(entries_[i].value);
    }
    place.journal.decision.store_release(0);
    place.journal.count.store_release(count_);  // COMMIT
    for (std::size_t i = 0; i < count_; ++i) entries_[i].word->store_release(entries_[i].value);
    place.journal.count.store_release(0);
  }

 private:
  struct Entry {
    Atomic<std::uint64_t>* word;
    std::uint64_t value;
  };
  std::array<Entry, capacity> entries_;
  std::size_t count_ = 0;
};

}  // namespace parley::shm
