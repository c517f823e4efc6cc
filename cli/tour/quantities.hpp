// Numbers as people read them: three digits and a unit; and bars.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace parley::cli {

/// "1.05 MB": powers of 1000.
auto with_byte_unit(double bytes) -> std::string;

/// "8.21 us", from ns to s. `micro` is how the unit's first letter is written.
auto with_time_unit(std::int64_t time_ns, const char* micro = "u") -> std::string;

/// "1,048,576"
auto with_separators(std::uint64_t number) -> std::string;

/// A bar of `columns` characters, filled up to the share of 0 to 1; something that is not zero
/// shows.
auto bar(double share, std::size_t columns, bool unicode) -> std::string;

}  // namespace parley::cli
