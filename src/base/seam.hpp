// Where a test takes hold of the algorithms: before each step on shared memory, each system call,
// each sleep and each wake-up.
//
// Only a build with PARLEY_TEST_SEAM has it. There a thread may have a Director, which sees every
// step before it happens: it can end the process there, or not return before it is this thread's
// turn. The algorithms know nothing of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace parley::seam {

enum class Step { load, store, exchange, system_call };

/// One word that a sleeper watches, and what it must hold for the sleep to begin.
struct WatchedWord {
  const std::uint32_t* word;
  std::uint32_t expected;
};

#if PARLEY_TEST_SEAM
class Director {
 public:
  Director() = default;
  Director(const Director&) = delete;
  auto operator=(const Director&) -> Director& = delete;
  virtual ~Director() = default;

  /// Before each step. `word` is null for a system call.
  virtual void before(Step step, const volatile void* word) = 0;

  /// In place of a sleep in the kernel: whether a wake-up or a changed word ended it (true) or the
  /// deadline (false). Nothing: sleep in earnest.
  virtual auto sleep(std::span<const WatchedWord> /*words*/, bool /*has_deadline*/)
      -> std::optional<bool> {
    return std::nullopt;
  }

  /// Told of each wake-up; true where the kernel need not be called.
  virtual auto wake(const std::uint32_t* /*word*/, unsigned /*count*/) -> bool { return false; }

  /// Asked whether the time for a piece of work is over. Nothing: as the clock says.
  virtual auto time_is_over() -> std::optional<bool> { return std::nullopt; }
};

inline constinit thread_local Director* director = nullptr;

inline void before(Step step, const volatile void* word) {
  if (director != nullptr) director->before(step, word);
}

inline auto time_is_over() -> std::optional<bool> {
  return director != nullptr ? director->time_is_over() : std::nullopt;
}
#else
constexpr void before(Step /*step*/, const volatile void* /*word*/) {}
constexpr auto time_is_over() -> std::optional<bool> {
  return std::nullopt;
}
#endif

}  // namespace parley::seam
