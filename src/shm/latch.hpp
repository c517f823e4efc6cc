// The lock of an object: one word that names its holder's place, so that a dead holder shows.
//
// Owners      holder: whoever takes it from 0 or from the dead, then that holder alone. sleepers:
// set
//             by who goes to sleep, and by who must pass a wake-up on; cleared by who wakes one.
// Invariants  I1 holder is 0 or names a place that is not free.
//             I2 who sleeps on `sleepers` saw 1 in it when falling asleep. Whoever makes it 0 then
//                wakes one sleeper, and that one makes it 1 again before it looks at the holder.
//             I3 a wake-up is passed on: who is woken and gives up wakes the next; who buries a
//             dead
//                participant, which may have been woken, sets `sleepers` before it releases; who
//                dies asleep, having taken a wake-up then or before, rings the segment's bell.
// Edges       LATCH  store of 0 in `release` -> exchange in `acquire`: all that the holder changed.
//             ASLEEP  the sleeper stores `sleepers`, fences all processors (membarrier) and then
//             loads the holder; `release` stores the holder and then loads `sleepers`, with no
//             barrier of its own: one of the two sees the other's store. So an uncontended round
//             costs one locked instruction. Where the fence does not reach everybody, sleepers look
//             again every few milliseconds.
// Crash       dead before the exchange: no holder. Dead holding it: each sleeper watches all lives,
//             and one that wakes takes the latch over. Dead between release and wake-up: the same
//             death wakes a sleeper.
//
// After U. Drepper, "Futexes Are Tricky" (mutex2), with the holder's place for the locked state.
#pragma once

#include <cstdint>

#include <parley/deadline.hpp>

#include "shm/layout/latch.hpp"
#include "shm/segment.hpp"

namespace parley::shm {

class Latch {
 public:
  /// What `acquire` found.
  enum class Found { free, left_by_the_dead };

  Latch(const Segment& segment, LatchWords& words) noexcept : segment_(segment), words_(words) {}

  /// `left_by_the_dead`: the holder died inside; the caller now holds the latch and repairs what it
  /// guards. `spins` is how often to look before sleeping. An `heir` stands in a dead participant's
  /// place, and takes the latch that this place holds. `timed_out` at the deadline, which no signal
  /// ends; `corrupt` where the word names no place.
  auto acquire(std::uint32_t spins, Deadline deadline, bool heir = false) -> Result<Found> {
    if (try_acquire()) [[likely]]
      return Found::free;
    return acquire_slowly(spins, deadline, heir);
  }

  /// Takes it where it is free.
  [[nodiscard]] auto try_acquire() noexcept -> bool {
    std::uint32_t expected = 0;
    return words_.holder.compare_exchange_acq_rel(expected, mine());  // LATCH
  }

  /// For whom `try_acquire` has failed.
  auto acquire_slowly(std::uint32_t spins, Deadline deadline, bool heir = false) -> Result<Found>;

  void release() noexcept {
    words_.holder.store_release(0);  // LATCH
    compiler_barrier();
    // No order of its own: see ASLEEP.
    if (words_.sleepers.load_relaxed() != 0) [[unlikely]]
      wake_next();
  }

  /// For who slept on something else in the object, after each sleep: the bell that woke it may
  /// have been rung for a sleeper of the latch, whose wake-up one of the dead took.
  void pass_the_bell_on() const noexcept;

  /// From now on the release wakes somebody.
  void expect_sleepers() noexcept { words_.sleepers.store_release(1); }

  [[nodiscard]] auto is_mine() const noexcept -> bool {
    return words_.holder.load_relaxed() == mine();  // only we put our place there
  }

 private:
  [[nodiscard]] auto mine() const noexcept -> std::uint32_t { return segment_.place() + 1; }
  [[nodiscard]] auto is_held_by_the_dead() const noexcept -> bool;
  void wake_next() noexcept;
  void give_up() noexcept;

  const Segment& segment_;
  LatchWords& words_;
};

}  // namespace parley::shm
