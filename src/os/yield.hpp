// Giving the processor away for a moment.
#pragma once

#include <sched.h>

#include "os/sys.hpp"

namespace parley::os {

/// Lets another thread run that waits for this processor, if there is one. sched_yield(2)
inline void yield_processor() noexcept {
  sys::release<::sched_yield>();
}

}  // namespace parley::os
