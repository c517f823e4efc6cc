// What stands before the body of a SharedMemory. The body is its users'; it has no participants.
//
//   0            SegmentHeader, with `place_count` 0   128
//   128          SharedMemoryHeader                      8
//   body_offset  the body, at a multiple of 4096; where the memory is made of huge pages, on the
//                second of them
//
// `segment_bytes` grows, where the memory may: after the file, and before the call that made it
// grow returns. It never says more than the file had.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

inline constexpr std::uint32_t shared_memory_version = 1;

/// Where the places of other objects begin.
inline constexpr std::size_t shared_memory_header_offset = 128;

struct SharedMemoryHeader {
  Atomic<std::uint32_t> growable;  ///< 1: it may grow. Written at creation.
  std::uint32_t reserved;          ///< Zero.
};
static_assert(offsetof(SharedMemoryHeader, growable) == 0);
static_assert(offsetof(SharedMemoryHeader, reserved) == 4);
static_assert(sizeof(SharedMemoryHeader) == 8 && std::is_standard_layout_v<SharedMemoryHeader>);

}  // namespace parley::shm
