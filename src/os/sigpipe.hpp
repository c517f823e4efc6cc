// Writing to a closed pipe without the signal that says so.
#pragma once

#include <pthread.h>
#include <csignal>

#include <cerrno>
#include <ctime>

namespace parley::os {

/// While it lives, a SIGPIPE that this thread raises is not delivered but taken back: no handler
/// runs and the process does not die. One that was pending before stays pending. For the calls that
/// have no flag for it (write, splice, tee, vmsplice); sockets have MSG_NOSIGNAL.
class SigpipeGuard {
 public:
  SigpipeGuard() noexcept {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending{};
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  SigpipeGuard(const SigpipeGuard&) = delete;
  auto operator=(const SigpipeGuard&) -> SigpipeGuard& = delete;
  ~SigpipeGuard() {
    const int saved = errno;
    const timespec at_once{};
    if (!was_pending_) {
      while (sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = saved;
  }

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_;
};

}  // namespace parley::os
