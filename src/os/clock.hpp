// The time of day, as cheap as the system has it.
#pragma once

#include <cstdint>
#include <ctime>

#include "os/sys.hpp"

namespace parley::os {

/// Nanoseconds since 1970, some milliseconds old. CLOCK_REALTIME_COARSE, clock_gettime(2)
inline auto coarse_time_ns() noexcept -> std::uint64_t {
#ifdef CLOCK_REALTIME_COARSE
  constexpr clockid_t clock = CLOCK_REALTIME_COARSE;
#else
  constexpr clockid_t clock = CLOCK_REALTIME;
#endif
  timespec now{};
  if (!sys::call<::clock_gettime>(clock, &now)) return 0;
  constexpr std::uint64_t ns_per_second = 1'000'000'000;
  return static_cast<std::uint64_t>(now.tv_sec) * ns_per_second +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace parley::os
