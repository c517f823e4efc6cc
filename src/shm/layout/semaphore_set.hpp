// The body of a SemaphoreSet.
//
//   0    SemaphoreSetBody          128   what changes, then what does not
//   128  JournalEntry × (2 * count + 8)
//        SemaphoreWord × count           16 each
//        undo row × place_count          8 * (1 + count) each: process, adjustment × count
//        Waiter × waiters                32 + 8 * operations each
//
// All of it is written by the latch's holder alone, except `Waiter::state`, and, in a set of one
// without undo, `SemaphoreWord::state`.
//
// Undo rows and Waiters have memory up to their marks `backed_…` only; the rest of the file is a
// hole. At first they have what lies in the page in which the rows begin.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/layout/journal.hpp"
#include "shm/layout/latch.hpp"
#include "shm/layout/parts.hpp"
#include "shm/layout/waiting_line.hpp"

namespace parley::shm {

inline constexpr std::uint32_t semaphore_set_version = 3;

struct SemaphoreSetBody {
  LatchWords latch;  ///< See shm/latch.hpp.
  Journal journal;
  LineEnds line;                         ///< Of those who wait.
  Atomic<std::uint64_t> last_operation;  ///< Seconds since 1970; 0: none yet.
  Atomic<std::uint64_t> last_change;
  Atomic<std::uint64_t> removed;  ///< 1 once it is.
  // From here on nothing changes after creation.
  Atomic<std::uint32_t> count;
  Atomic<std::uint32_t> operations;
  Atomic<std::uint32_t> waiters;
  Atomic<std::uint32_t> undo;  ///< 1: its participants' changes can be undone.
  // But these, now and then.
  Atomic<std::uint64_t> unserved;        ///< 1: serving those who wait was broken off.
  Atomic<std::uint64_t> backed_rows;     ///< So many have memory.
  Atomic<std::uint64_t> backed_waiters;  ///< Likewise.
  std::uint64_t unused[3];               ///< Zero.
};
static_assert(offsetof(SemaphoreSetBody, latch) == 0);
static_assert(offsetof(SemaphoreSetBody, journal) == 8);
static_assert(offsetof(SemaphoreSetBody, line) == 24);
static_assert(offsetof(SemaphoreSetBody, last_operation) == 40);
static_assert(offsetof(SemaphoreSetBody, last_change) == 48);
static_assert(offsetof(SemaphoreSetBody, removed) == 56);
static_assert(offsetof(SemaphoreSetBody, count) == 64);
static_assert(offsetof(SemaphoreSetBody, operations) == 68);
static_assert(offsetof(SemaphoreSetBody, waiters) == 72);
static_assert(offsetof(SemaphoreSetBody, undo) == 76);
static_assert(offsetof(SemaphoreSetBody, unserved) == 80);
static_assert(offsetof(SemaphoreSetBody, backed_rows) == 88);
static_assert(offsetof(SemaphoreSetBody, backed_waiters) == 96);
static_assert(sizeof(SemaphoreSetBody) == 128 && std::is_standard_layout_v<SemaphoreSetBody>);

struct SemaphoreWord {
  /// Bits 0 to 14 the value, bit 31 `under_latch`, bits 32 to 63 the last process.
  Atomic<std::uint64_t> state;
  /// How often it was set. An adjustment holds only for the number at which it was made.
  Atomic<std::uint64_t> resets;
};
static_assert(offsetof(SemaphoreWord, state) == 0);
static_assert(offsetof(SemaphoreWord, resets) == 8);
static_assert(sizeof(SemaphoreWord) == 16 && std::is_standard_layout_v<SemaphoreWord>);

inline constexpr std::uint64_t value_bits = 0x7fff;

/// In a set of one without undo: the word is changed by the latch's holder only, because somebody
/// waits. While it is clear, anybody may exchange the word, and the latch's holder sets it first.
inline constexpr std::uint64_t under_latch = 0x8000'0000;

/// A participant's adjustment of a semaphore: the low half of `resets`, then what is to be added.
constexpr auto pack_adjustment(std::int32_t adjustment, std::uint64_t resets) -> std::uint64_t {
  return (resets << 32U) | static_cast<std::uint32_t>(adjustment);
}

/// Decisions of a call that waits, beside those of WaiterState.
enum SemaphoreDecision : std::uint64_t {
  waiter_overflow = 12,  ///< A value or an adjustment would have been out of range.
  waiter_refused = 16    ///< It came to an operation that does not wait.
};

/// Behind its Waiter, whose `request` says how many follow, the operations of a call that waits.
/// Index in bits 0 to 15, delta in 16 to 31, undo in bit 32, no_wait in bit 33.
constexpr auto pack_operation(std::uint16_t index, std::int16_t delta, bool undo, bool no_wait)
    -> std::uint64_t {
  return index | static_cast<std::uint64_t>(static_cast<std::uint16_t>(delta)) << 16U |
         static_cast<std::uint64_t>(undo) << 32U | static_cast<std::uint64_t>(no_wait) << 33U;
}

/// What the sizes of a set's parts follow from.
struct SemaphoreSetShape {
  std::uint32_t count;
  std::uint32_t operations;
  std::uint32_t waiters;
  std::uint32_t place_count;

  // Offsets in the body, and its end, in bytes.
  [[nodiscard]] constexpr auto journal_entries() const -> std::size_t { return 2 * count + 8; }
  [[nodiscard]] constexpr auto semaphores() const -> std::size_t {
    return sizeof(SemaphoreSetBody) + journal_entries() * sizeof(JournalEntry);
  }
  [[nodiscard]] constexpr auto undo_rows() const -> std::size_t {
    return semaphores() + count * sizeof(SemaphoreWord);
  }
  [[nodiscard]] constexpr auto undo_row_words() const -> std::size_t { return 1 + count; }
  [[nodiscard]] constexpr auto waiter_records() const -> std::size_t {
    return undo_rows() + place_count * undo_row_words() * sizeof(std::uint64_t);
  }
  [[nodiscard]] constexpr auto waiter_bytes() const -> std::size_t {
    return sizeof(Waiter) + operations * sizeof(std::uint64_t);
  }
  [[nodiscard]] constexpr auto body_bytes() const -> std::size_t {
    return waiter_records() + waiters * waiter_bytes();
  }

  [[nodiscard]] constexpr auto row_parts() const -> PartsShape {
    return {.begin = undo_rows(),
            .each_bytes = undo_row_words() * sizeof(std::uint64_t),
            .most = place_count};
  }
  [[nodiscard]] constexpr auto waiter_parts() const -> PartsShape {
    return {.begin = waiter_records(), .each_bytes = waiter_bytes(), .most = waiters};
  }
  /// What has memory at first ends there.
  [[nodiscard]] constexpr auto backed_at_first() const -> std::size_t {
    return std::min(page_up(undo_rows()), body_bytes());
  }
};

}  // namespace parley::shm
