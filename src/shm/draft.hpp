// New values of words, as they are worked out: a later step of one change sees the earlier ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shm/transaction.hpp"

namespace parley::shm {

/// Collects values outside of the object and hands them to a transaction. At most `capacity` words,
/// which its user sees to.
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

 private:
  struct Entry {
    Atomic<std::uint64_t>* word;
    std::uint64_t value;
  };
  std::array<Entry, capacity> entries_;
  std::size_t count_ = 0;
};

}  // namespace parley::shm
