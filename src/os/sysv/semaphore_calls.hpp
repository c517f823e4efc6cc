// semctl and semtimedop, as the semaphore set and its gate call them.
#pragma once

#include <sys/sem.h>

#include <algorithm>
#include <span>

#include <parley/deadline.hpp>

#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os::sysv {

/// semctl's fourth argument, which the caller has to declare.
union SemaphoreArgument {
  int value;
  semid_ds* status;
  unsigned short* values;
  seminfo* info;
};

inline auto semaphore_control(int id, int index, int command, SemaphoreArgument argument)
    -> Result<int> {
  return sys::call<::semctl>(id, index, command, argument);
}

/// semtimedop until the deadline. Under `now()` every operation gets IPC_NOWAIT.
inline auto semaphore_operate(int id, std::span<sembuf> operations, Deadline deadline)
    -> Result<void> {
  if (deadline.is_now()) {
    for (sembuf& each : operations) each.sem_flg = static_cast<short>(each.sem_flg | IPC_NOWAIT);
  }
  for (;;) {
    const timespec left = remaining_timespec(deadline);
    const timespec* const timeout = deadline.is_never() || deadline.is_now() ? nullptr : &left;
    const auto done = sys::call<::semtimedop>(id, operations.data(), operations.size(), timeout);
    if (done) return {};
    const bool interrupted = done.error() == Error::interrupted;
    if (!interrupted && done.error() != Error::would_block) return failure(done.error());
    if (interrupted && deadline.is_now()) continue;
    if (deadline.has_passed()) return failure(deadline.error());
    // With time left it was an operation's own IPC_NOWAIT.
    if (!interrupted && std::ranges::any_of(operations, [](const sembuf& each) {
          return (each.sem_flg & IPC_NOWAIT) != 0;
        })) {
      return failure(Error::would_block);
    }
  }
}

}  // namespace parley::os::sysv
