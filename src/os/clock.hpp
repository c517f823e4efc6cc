// The time of day, as cheap as the system has it.
#pragma once

#include <cstdint>
#include <ctime>

#include "os/sys.hpp"

namespace parley::os {

/// Seconds since 1970. time(2): where the system has it, one load without a system call.
inline auto time_of_day_s() noexcept -> std::uint64_t {
  return static_cast<std::uint64_t>(
      sys::call<::time>(static_cast<std::time_t*>(nullptr)).value_or(0));
}

}  // namespace parley::os
