// How a call waits: for a descriptor to be ready, or under an alarm; always against one deadline.
#pragma once

#include <poll.h>

#include <ctime>
#include <optional>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::os {

/// What is left as a relative timespec; for `never()` one that no clock reaches.
auto remaining_timespec(Deadline deadline) noexcept -> timespec;

/// The duration, not negative, as a timespec.
auto to_timespec(Deadline::Clock::duration duration) noexcept -> timespec;

/// Waits until poll(2) reports one of `events` (or POLLERR, POLLHUP) and returns what it reported.
auto wait_ready(BorrowedFd fd, short events, Deadline deadline) -> Result<short>;

/// The shape of every operation on a non-blocking descriptor: try it; where it would block, wait
/// until the descriptor is ready; where a signal interrupted it, try again.
template <class Attempt>
auto when_ready(BorrowedFd fd, short events, Deadline deadline, Attempt attempt)
    -> decltype(attempt()) {
  for (;;) {
    auto result = attempt();
    if (result) return result;
    if (result.error() == Error::would_block) {
      PARLEY_TRY(wait_ready(fd, events, deadline));
    } else if (result.error() != Error::interrupted) {
      return result;
    }
  }
}

/// Interrupts this thread's system calls once a deadline has passed, for those that block and take
/// no timeout (msgrcv, open of a FIFO, …).
///
/// A timer sends a real-time signal to this very thread, at the deadline and every millisecond
/// after it, so that a call which begins just after the first one is interrupted as well. The
/// signal is the highest one whose action is still the default, one that this thread does not block
/// if there is any; it gets a handler of ours that does nothing, so no handler of the program ever
/// runs. Unblocked in this thread while the alarm lives.
class Alarm {
 public:
  /// `busy` when the program uses every real-time signal itself, or as many timers as it may.
  static auto set(Deadline deadline) -> Result<Alarm>;

  Alarm(Alarm&& other) noexcept;
  Alarm(const Alarm&) = delete;
  auto operator=(const Alarm&) -> Alarm& = delete;
  auto operator=(Alarm&&) -> Alarm& = delete;
  ~Alarm();

 private:
  Alarm(void* timer, int signal, bool was_blocked) noexcept
      : timer_(timer), signal_(signal), was_blocked_(was_blocked) {}

  void* timer_;
  int signal_;
  bool was_blocked_;
};

/// Runs `blocking`, a call that waits without a limit, until it ends or the deadline passes. It
/// must have had its chance to succeed without waiting before: under `now()` it is not run at all.
template <class Blocking>
auto until(Deadline deadline, Blocking blocking) -> decltype(blocking()) {
  if (deadline.has_passed()) return failure(deadline.error());
  std::optional<Alarm> alarm;
  if (!deadline.is_never()) alarm.emplace(PARLEY_TRY(Alarm::set(deadline)));
  for (;;) {
    auto result = blocking();
    if (result || result.error() != Error::interrupted) return result;
    if (deadline.has_passed()) return failure(deadline.error());
  }
}

}  // namespace parley::os
