// The gate: the semaphore behind the others that tells whether a set has its initial values.
//
// Its value is the number of steps that were done, or `open` after the last. A step gives some
// semaphores their values and advances the gate, all in one semop that does nothing unless the gate
// is at that very step. So each is done exactly once, by whichever process comes first, and a
// process that dies leaves a set that any other can finish from its values.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include <parley/deadline.hpp>

namespace parley::os::sysv::gate {

constexpr int highest_value = 32767;  ///< SEMVMX
constexpr std::uint16_t open = highest_value;

/// The mode that a set with a gate is created with: a gate is there from the first moment on.
constexpr mode_t mark = 0001;
constexpr auto is_marked(mode_t mode) noexcept -> bool {
  return (mode & 0111) == mark;
}

/// Does every step that is not done yet.
auto fill(int id, std::span<const std::uint16_t> values) -> Result<void>;

/// Waits until the gate, which is at `index`, is open. Leaves no trace in the set.
auto pass(int id, std::size_t index, Deadline deadline) -> Result<void>;

}  // namespace parley::os::sysv::gate
