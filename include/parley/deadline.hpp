// Until when a call may wait: the last argument of every call that can.
#pragma once

#include <chrono>

#include <parley/error.hpp>

namespace parley {

/// A point of CLOCK_MONOTONIC (`std::chrono::steady_clock`), fixed when it is made: a call that is
/// interrupted and resumed, or that waits several times, keeps to the same one.
///
/// A call that could not be served by then fails with `Error::timed_out`; under `Deadline::now()`,
/// which never waits, with `Error::would_block`. It then has changed nothing unless it says so.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// The try form: do it at once or not at all.
  static constexpr auto now() noexcept -> Deadline { return Deadline(Clock::time_point::min()); }

  /// Wait for as long as it takes.
  static constexpr auto never() noexcept -> Deadline { return Deadline(Clock::time_point::max()); }

  static constexpr auto at(Clock::time_point point) noexcept -> Deadline { return Deadline(point); }

  /// Counted from this call. A duration too long for the clock is `never()`; a negative one is
  /// past.
  static auto after(Clock::duration duration) noexcept -> Deadline {
    const auto start = Clock::now();
    if (duration > Clock::time_point::max() - start) return never();
    return Deadline(start + duration);
  }

  [[nodiscard]] constexpr auto is_now() const noexcept -> bool {
    return point_ == Clock::time_point::min();
  }
  [[nodiscard]] constexpr auto is_never() const noexcept -> bool {
    return point_ == Clock::time_point::max();
  }

  /// What is left, never negative; the longest duration there is for `never()`.
  [[nodiscard]] auto remaining() const noexcept -> Clock::duration {
    if (is_now()) return Clock::duration::zero();
    if (is_never()) return Clock::duration::max();
    const auto clock = Clock::now();
    return point_ > clock ? point_ - clock : Clock::duration::zero();
  }

  [[nodiscard]] auto has_passed() const noexcept -> bool {
    return remaining() == Clock::duration::zero();
  }

  /// What a call that this deadline ended fails with.
  [[nodiscard]] constexpr auto error() const noexcept -> Error {
    return is_now() ? Error::would_block : Error::timed_out;
  }

  /// The point itself, for a system call that takes an absolute CLOCK_MONOTONIC time.
  [[nodiscard]] constexpr auto point() const noexcept -> Clock::time_point { return point_; }

 private:
  constexpr explicit Deadline(Clock::time_point point) noexcept : point_(point) {}

  Clock::time_point point_;
};

}  // namespace parley
