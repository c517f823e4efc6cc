// How often a handle looks before it sleeps.
#pragma once

#include <cstdint>

#include <parley/object.hpp>

namespace parley {

/// One look takes some tens of nanoseconds: the adaptive strategy gives up after some microseconds,
/// which is less than a sleep and a wake-up cost.
constexpr auto spins_of(WaitStrategy strategy) noexcept -> std::uint32_t {
  switch (strategy) {
    case WaitStrategy::block:
      return 0;
    case WaitStrategy::spin:
      return ~std::uint32_t{0};
    case WaitStrategy::adaptive:
      break;
  }
  return 200;
}

}  // namespace parley
