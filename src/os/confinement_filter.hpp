// The system calls that capability mode allows, as a program for seccomp(2).
#pragma once

#include <linux/filter.h>

#include <vector>

#include <parley/error.hpp>

namespace parley::os {

/// Who keeps signals from strangers: Landlock's scope, which knows the receiver; or the filter,
/// which knows only the number that is asked for, and so allows none but this process's own.
enum class SignalGuard { landlock, filter };

auto compile_filter(SignalGuard guard) -> Result<std::vector<sock_filter>>;

}  // namespace parley::os
