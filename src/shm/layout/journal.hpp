// The redo journal: what a transaction is about to store, kept until it has been stored.
//
//   Journal        count, decision                      16 bytes, in the object's first line
//   JournalEntry   offset, value        × capacity      16 bytes each
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

struct Journal {
  /// 0: nothing is under way. Else that many entries are to be stored.
  Atomic<std::uint64_t> count;
  /// 0, or the offset in the body of the word whose value decides whether they are.
  Atomic<std::uint64_t> decision;
};
static_assert(offsetof(Journal, count) == 0);
static_assert(offsetof(Journal, decision) == 8);
static_assert(sizeof(Journal) == 16 && std::is_standard_layout_v<Journal>);

struct JournalEntry {
  Atomic<std::uint64_t> offset;  ///< In the body, in bytes; a multiple of 8.
  Atomic<std::uint64_t> value;
};
static_assert(offsetof(JournalEntry, offset) == 0);
static_assert(offsetof(JournalEntry, value) == 8);
static_assert(sizeof(JournalEntry) == 16 && std::is_standard_layout_v<JournalEntry>);

/// A word that decides is undecided, or refused, while one of these bits is set in it.
inline constexpr std::uint64_t undecided_bits = 3;

}  // namespace parley::shm
