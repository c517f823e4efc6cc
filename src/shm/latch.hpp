// The lock of an object: one word that names its holder's place, so that a dead holder shows.
//
// Owners      the word: whoever takes it from 0, or from a dead holder; then that holder alone,
//             except that anybody may add `contended`.
// Invariants  I1 the word is 0 or names a place that is not free.
//             I2 whoever may sleep on the word has seen `contended` in it, and until somebody
//                releases the latch with it, or dies holding it, it stays.
//             I3 a wake-up of the word is passed on: who is woken takes the latch with `contended`
//                in it, or, when giving up, wakes the next; who cleans up after a dead participant,
//                which may have been woken, also releases with it.
// Edges       LATCH  release in `release` -> acquire in `acquire`: all that the holder changed.
// Crash       dead before the exchange: no holder. Dead holding it: the life word of the named place
//             says so, each sleeper watches it, and one that wakes takes the latch over. Dead after
//             `release` but before its wake-up: each sleeper is also woken by this death.
//
// After U. Drepper, "Futexes Are Tricky" (mutex2), with the holder's place for the locked state.
#pragma once

#include <cstdint>

#include <parley/deadline.hpp>

#include "shm/atomic.hpp"
#include "shm/segment.hpp"

namespace parley::shm {

class Latch {
 public:
  /// What `acquire` found.
  enum class Found { free, left_by_the_dead };

  Latch(const Segment& segment, Atomic<std::uint32_t>& word) noexcept
      : segment_(segment), word_(word) {}

  /// `left_by_the_dead`: the holder died inside; the caller now holds the latch and repairs what it
  /// guards. `spins` is how often to look before sleeping. An `heir` stands in a dead participant's
  /// place, and takes the latch that this place holds. `timed_out` at the deadline; `corrupt` where
  /// the word names no place.
  auto acquire(std::uint32_t spins, Deadline deadline, bool heir = false) -> Result<Found> {
    std::uint32_t expected = 0;
    if (word_.compare_exchange_acq_rel(expected, mine())) [[likely]] return Found::free;  // LATCH
    return acquire_slowly(spins, deadline, heir);
  }

  void release() noexcept {
    if ((word_.exchange_acq_rel(0) & contended) != 0) wake_next();  // LATCH
  }

  /// From now on the release wakes somebody.
  void expect_sleepers() noexcept { word_.store_release(mine() | contended); }

  [[nodiscard]] auto is_mine() const noexcept -> bool {
    return (word_.load_relaxed() & ~contended) == mine();  // only we put our place there
  }

 private:
  static constexpr std::uint32_t contended = 0x8000'0000;

  [[nodiscard]] auto mine() const noexcept -> std::uint32_t { return segment_.place() + 1; }
  auto acquire_slowly(std::uint32_t spins, Deadline deadline, bool heir) -> Result<Found>;
  void wake_next() noexcept;

  const Segment& segment_;
  Atomic<std::uint32_t>& word_;
};

}  // namespace parley::shm
