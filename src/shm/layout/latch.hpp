// The two words of a latch.
//
//   0   holder     the place of whoever holds it, plus 1; 0: free
//   4   sleepers   1: somebody may sleep until it is released
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

struct LatchWords {
  Atomic<std::uint32_t> holder;    ///< Written by whoever takes it from 0 or from the dead.
  Atomic<std::uint32_t> sleepers;  ///< Set by who goes to sleep, cleared by who then wakes one.
};
static_assert(offsetof(LatchWords, holder) == 0);
static_assert(offsetof(LatchWords, sleepers) == 4);
static_assert(sizeof(LatchWords) == 8 && std::is_standard_layout_v<LatchWords>);

}  // namespace parley::shm
