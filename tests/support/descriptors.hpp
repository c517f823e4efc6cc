// What a test asks about descriptors: which are open, so that a leak shows.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace parley::test {

/// The number of descriptors that this process has open now.
auto open_descriptors() -> std::size_t;

inline auto bytes_of(std::string_view text) -> std::span<const std::byte> {
  return std::as_bytes(std::span(text));
}

inline auto text_of(std::span<const std::byte> bytes) -> std::string {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace parley::test
