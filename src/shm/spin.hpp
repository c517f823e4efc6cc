// How a thread looks for a while before it sleeps.
#pragma once

#include <cstdint>

#include "os/yield.hpp"

namespace parley::shm {

/// Looks between two glances at the clock and at the dead, by who spins for long.
inline constexpr std::uint32_t looks_between_clocks = 1024;

/// Between two looks at a word that another thread is to change: some tens of nanoseconds. Now and
/// then the processor is offered to others, since the other thread may need this very one.
inline void pause_between_looks(std::uint32_t look) noexcept {
  constexpr std::uint32_t looks_between_yields = 64;
  if (look % looks_between_yields == looks_between_yields - 1) {
    os::yield_processor();
    return;
  }
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace parley::shm
