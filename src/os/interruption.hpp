// How a signal ends a sleep that the kernel would resume.
//
// After a handler with SA_RESTART the kernel makes futex_waitv(2) again by itself, with the same
// words. So a sleep that is to end at a signal also watches the number of signals that this thread
// was told of: the handler changes it, and the call that is made again finds it changed. Nothing
// points to the sleep, so a handler may leave by siglongjmp(3), or wait itself.
#pragma once

#include <cstdint>

namespace parley::os {

/// Of the calling thread; counts up, and wraps.
auto signal_count() noexcept -> const std::uint32_t*;

}  // namespace parley::os
