// Small files in which the kernel tells numbers: those of /proc and /sys.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <parley/error.hpp>

namespace parley::os {

/// The beginning of a file, as much of it as fits. Allocates nothing.
auto read_file(const char* path, std::span<char> into) -> Result<std::string_view>;

/// The number that a file begins with; `corrupt` where there is none.
auto read_number(const char* path) -> Result<std::uint64_t>;

}  // namespace parley::os
