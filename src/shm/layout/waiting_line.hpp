// A line of calls that wait for an object to change: its ends, and a record for each call.
//
//   LineEnds   first, last                             16 bytes, in the object's body
//   Waiter     state, next, place, request, process    32 bytes, then words of the object's own
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

struct LineEnds {
  Atomic<std::uint64_t> first;  ///< Of those who wait: index + 1, 0 for none.
  Atomic<std::uint64_t> last;
};
static_assert(offsetof(LineEnds, first) == 0);
static_assert(offsetof(LineEnds, last) == 8);
static_assert(sizeof(LineEnds) == 16 && std::is_standard_layout_v<LineEnds>);

/// A call that waits. All but `state` is written by the latch's holder alone.
struct Waiter {
  /// WaiterState. Free and decided ones belong to the call that waits; it alone changes them, to
  /// free. Undecided ones are decided by the latch's holder or cancelled by the call, by exchange.
  Atomic<std::uint64_t> state;
  Atomic<std::uint64_t> next;     ///< In the line: index + 1, 0 for the last.
  Atomic<std::uint32_t> place;    ///< Of the participant.
  Atomic<std::uint32_t> request;  ///< What it waits for; its meaning is the object's.
  Atomic<std::uint32_t> process;  ///< The participant's, as it knows itself.
  std::uint32_t reserved;         ///< Zero.
};
static_assert(offsetof(Waiter, state) == 0);
static_assert(offsetof(Waiter, next) == 8);
static_assert(offsetof(Waiter, place) == 16);
static_assert(offsetof(Waiter, request) == 20);
static_assert(offsetof(Waiter, process) == 24);
static_assert(sizeof(Waiter) == 32 && std::is_standard_layout_v<Waiter>);

/// The low two bits are `undecided_bits`. An object may have decisions of its own, from 12 on.
enum WaiterState : std::uint64_t {
  waiter_free = 0,
  waiter_waits = 1,
  waiter_cancelled = 2,
  waiter_sleeps = 5,   ///< Waits, and is to be woken.
  waiter_granted = 4,  ///< It was done.
  waiter_removed = 8   ///< The object was.
};

constexpr auto is_undecided(std::uint64_t state) -> bool {
  return state == waiter_waits || state == waiter_sleeps;
}

}  // namespace parley::shm
