#include "os/wait.hpp"

#include <pthread.h>
#include <sys/syscall.h>
#include <csignal>

#include <chrono>
#include <optional>

#include "os/sys.hpp"

// The C library's name for the thread that a SIGEV_THREAD_ID timer signals, where it has one.
#ifndef sigev_notify_thread_id
// NOLINTNEXTLINE(readability-identifier-naming)
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace parley::os {
namespace {

void do_nothing(int) {}

auto claim(int signal) -> Result<int> {
  struct sigaction ours{};
  ours.sa_handler = do_nothing;  // without SA_RESTART: it is there to interrupt
  PARLEY_TRY(sys::call<::sigaction>(signal, &ours, nullptr));
  return signal;
}

/// The highest real-time signal that is ours already or that the program leaves at its default. One
/// that this thread blocks only where there is no other: the program may wait for it by sigwait(3).
auto claim_signal(const sigset_t& blocked) -> Result<int> {
  std::optional<int> spare;
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
    struct sigaction action{};
    PARLEY_TRY(sys::call<::sigaction>(signal, nullptr, &action));
    if (action.sa_handler == do_nothing) return signal;
    if (action.sa_handler != SIG_DFL) continue;
    if (sigismember(&blocked, signal) == 0) return claim(signal);
    if (!spare) spare = signal;
  }
  return spare ? claim(*spare) : failure(Error::busy);
}

}  // namespace

auto to_timespec(Deadline::Clock::duration duration) noexcept -> timespec {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  const std::chrono::nanoseconds rest = duration - seconds;
  return {.tv_sec = static_cast<time_t>(seconds.count()),
          .tv_nsec = static_cast<long>(rest.count())};
}

auto remaining_timespec(Deadline deadline) noexcept -> timespec {
  return to_timespec(deadline.remaining());
}

auto wait_ready(BorrowedFd fd, short events, Deadline deadline) -> Result<short> {
  for (;;) {
    pollfd entry{.fd = fd.number(), .events = events, .revents = 0};
    const timespec left = remaining_timespec(deadline);
    const auto ready =
        sys::call<::ppoll>(&entry, nfds_t{1}, deadline.is_never() ? nullptr : &left, nullptr);
    if (ready && (entry.revents & POLLNVAL) != 0) return failure(Error::bad_descriptor);
    if (ready && *ready > 0) return entry.revents;
    if (!ready && ready.error() != Error::interrupted) return failure(ready.error());
    if (deadline.has_passed()) return failure(deadline.error());
  }
}

auto Alarm::set(Deadline deadline) -> Result<Alarm> {
  sigset_t before{};
  pthread_sigmask(SIG_BLOCK, nullptr, &before);
  const int signal = PARLEY_TRY(claim_signal(before));
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signal;
  event.sigev_notify_thread_id = static_cast<pid_t>(PARLEY_TRY(sys::call<::syscall>(SYS_gettid)));
  timer_t timer{};
  const auto created = sys::call<::timer_create>(CLOCK_MONOTONIC, &event, &timer);
  // EAGAIN here means too many timers (RLIMIT_SIGPENDING): not what would_block says to a caller.
  if (!created)
    return failure(created.error() == Error::would_block ? Error::busy : created.error());

  sigset_t only{};
  sigemptyset(&only);
  sigaddset(&only, signal);
  pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  Alarm alarm(timer, signal, sigismember(&before, signal) == 1);

  const auto point = deadline.point().time_since_epoch();
  const itimerspec when{.it_interval = to_timespec(std::chrono::milliseconds(1)),
                        .it_value = to_timespec(point)};
  PARLEY_TRY(sys::call<::timer_settime>(timer, TIMER_ABSTIME, &when, nullptr));
  return alarm;
}

Alarm::Alarm(Alarm&& other) noexcept
    : timer_(std::exchange(other.timer_, nullptr)),
      signal_(std::exchange(other.signal_, 0)),
      was_blocked_(other.was_blocked_) {}

Alarm::~Alarm() {
  if (signal_ == 0) return;
  sys::release<::timer_delete>(timer_);
  if (!was_blocked_) return;
  sigset_t only{};
  sigemptyset(&only);
  sigaddset(&only, signal_);
  pthread_sigmask(SIG_BLOCK, &only, nullptr);
}

}  // namespace parley::os
