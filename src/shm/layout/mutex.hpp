// The body of a Mutex.
//
//   0   latch       its holder has the lock
//   8   inherited   whether the last holder died with it
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/layout/latch.hpp"

namespace parley::shm {

inline constexpr std::uint32_t mutex_version = 1;

struct MutexBody {
  LatchWords latch;                 ///< See shm/latch.hpp.
  Atomic<std::uint32_t> inherited;  ///< 1: taken over from the dead. Written by the holder.
  std::uint32_t reserved;           ///< Zero.
};
static_assert(offsetof(MutexBody, latch) == 0);
static_assert(offsetof(MutexBody, inherited) == 8);
static_assert(sizeof(MutexBody) == 16 && std::is_standard_layout_v<MutexBody>);

}  // namespace parley::shm
