// How long a test with a seed goes on, and where it starts.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace parley::test {

/// PARLEY_FULL=1: minutes instead of seconds.
inline auto is_full_run() -> bool {
  return std::getenv("PARLEY_FULL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

inline auto time_budget(std::chrono::seconds usual, std::chrono::seconds full)
    -> std::chrono::seconds {
  return is_full_run() ? full : usual;
}

/// PARLEY_SEED, or another one at each run. Printed, so that a failure can be repeated.
inline auto seed() -> std::uint64_t {
  const char* const given = std::getenv("PARLEY_SEED");  // NOLINT(concurrency-mt-unsafe)
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("PARLEY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

}  // namespace parley::test
