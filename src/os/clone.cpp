#include "os/clone.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <csignal>

#include "os/sys.hpp"

namespace parley::os {

auto clone_until_exec() -> Result<Copy> {
  int pidfd = -1;
  const long pid = PARLEY_TRY(sys::call<::syscall>(long{SYS_clone}, long{CLONE_PIDFD | CLONE_VFORK},
                                                   nullptr, &pidfd, nullptr, 0L));
  if (pid == 0) return Copy{.pidfd = {}, .pid = 0};
  return Copy{.pidfd = OwnedFd::from_number(pidfd), .pid = static_cast<pid_t>(pid)};
}

void discard(BorrowedFd pidfd) {
  sys::release<::syscall>(long{SYS_pidfd_send_signal}, long{pidfd.number()}, long{SIGKILL}, nullptr,
                          0L);
  siginfo_t info{};
  sys::release<::waitid>(by_pidfd, static_cast<id_t>(pidfd.number()), &info, WEXITED | __WALL);
}

}  // namespace parley::os
