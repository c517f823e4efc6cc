// Equal parts of an object's body, one behind the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace parley::shm {

/// The next multiple of the size by which memory is had.
constexpr auto page_up(std::size_t offset) -> std::size_t {
  return (offset + 4095) / 4096 * 4096;
}

/// Where they lie: offsets in the body, in bytes.
struct PartsShape {
  std::size_t begin;
  std::size_t each_bytes;
  std::uint32_t most;  ///< So many there are.

  [[nodiscard]] constexpr auto end_of(std::uint32_t count) const -> std::size_t {
    return begin + count * each_bytes;
  }
  /// How many of them end there, or before.
  [[nodiscard]] constexpr auto whole_before(std::size_t end) const -> std::uint32_t {
    if (end <= begin) return 0;
    return static_cast<std::uint32_t>(std::min<std::size_t>((end - begin) / each_bytes, most));
  }
};

}  // namespace parley::shm
