// The body of a Mutex.
//
//   0   latch       names the holder's place
//   4   inherited   whether the last holder died with it
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

inline constexpr std::uint32_t mutex_version = 1;

struct MutexBody {
  Atomic<std::uint32_t> latch;      ///< See shm/latch.hpp.
  Atomic<std::uint32_t> inherited;  ///< 1: taken over from the dead. Written by the holder.
};
static_assert(offsetof(MutexBody, latch) == 0);
static_assert(offsetof(MutexBody, inherited) == 4);
static_assert(sizeof(MutexBody) == 8 && std::is_standard_layout_v<MutexBody>);

}  // namespace parley::shm
