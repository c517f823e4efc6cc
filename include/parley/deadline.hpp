// Until when a call may wait: the last argument of every call that can.
#pragma once

#include <chrono>
#include <cstdint>

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

  /// The same, and a wait under it also ends at a signal, with `Error::interrupted`: once a handler
  /// that ran on this thread since this call has called `interrupt_wait()`, or was installed
  /// without SA_RESTART and found the thread asleep. What was decided meanwhile counts, as at any
  /// deadline. A flag that the handler sets is looked at between this call and the wait: no signal
  /// is lost. For this thread alone. It ends the waits of `SemaphoreSet`, `Semaphore`,
  /// `MessageQueue` and `Stream`, not the short one for an object's latch, nor that of a `Mutex`;
  /// nor those of `os`.
  [[nodiscard]] auto or_signal() const noexcept -> Deadline;

  /// The same, and signals do not end it.
  [[nodiscard]] constexpr auto despite_signals() const noexcept -> Deadline {
    return Deadline(point_);
  }

  /// The same, but not later than the point.
  [[nodiscard]] constexpr auto no_later_than(Clock::time_point point) const noexcept -> Deadline {
    Deadline earlier = *this;
    if (point < point_) earlier.point_ = point;
    return earlier;
  }

  [[nodiscard]] constexpr auto ends_at_signal() const noexcept -> bool { return ends_at_signal_; }

  /// How many signals this thread had been told of when `or_signal` was called.
  [[nodiscard]] constexpr auto signals() const noexcept -> std::uint32_t { return signals_; }

  [[nodiscard]] auto is_interrupted() const noexcept -> bool {
    return ends_at_signal_ && has_signal_come();
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

  /// Fails once a wait under it is over: with `error()`, or `interrupted` by a signal.
  [[nodiscard]] auto check() const noexcept -> Result<void> {
    if (is_interrupted()) return failure(Error::interrupted);
    return has_passed() ? failure(error()) : Result<void>();
  }

  /// The point itself, for a system call that takes an absolute CLOCK_MONOTONIC time.
  [[nodiscard]] constexpr auto point() const noexcept -> Clock::time_point { return point_; }

 private:
  constexpr explicit Deadline(Clock::time_point point) noexcept : point_(point) {}

  [[nodiscard]] auto has_signal_come() const noexcept -> bool;

  Clock::time_point point_;
  std::uint32_t signals_ = 0;
  bool ends_at_signal_ = false;
};

/// For a signal handler: ends the wait that the handler has interrupted on this thread, if that is
/// under a deadline that says `or_signal()`, also where the handler has SA_RESTART. The handler may
/// wait itself. Async-signal-safe; errno is as it was.
void interrupt_wait() noexcept;

}  // namespace parley
