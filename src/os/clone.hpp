// Copies of this process that end or become another program before the caller goes on.
#pragma once

#include <pthread.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <csignal>

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// Blocks every signal in this thread while it lives, so that no handler runs in a new process that
/// has inherited the block.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all{};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  auto operator=(const SignalsBlocked&) -> SignalsBlocked& = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  [[nodiscard]] auto before() const noexcept -> const sigset_t& { return before_; }

 private:
  sigset_t before_{};
};

struct Copy {
  OwnedFd pidfd;
  pid_t pid;  ///< 0 in the copy itself, which has no pidfd.
};

/// A copy of this process whose end sends no signal, unless it ran another program. This thread
/// goes on when the copy has ended or become a program. Call it with every signal blocked; in the
/// copy only what signal-safety(7) allows may be done, and it must not return from the caller.
auto clone_until_exec() -> Result<Copy>;

/// Ends a process that is of no use and waits until it is gone.
void discard(BorrowedFd pidfd);

/// waitid's P_PIDFD, which not every C library names.
inline constexpr auto by_pidfd = static_cast<idtype_t>(3);

}  // namespace parley::os
