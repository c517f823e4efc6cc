// How an operation on a socket waits, without turning round and round on a condition that stays.
#pragma once

#include <poll.h>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::os {

/// The waits of one operation. An unread error queue makes poll(2) report POLLERR for as long as it
/// is there, although the operation that waits for data is no further by it. Where that happens,
/// the waiter sleeps on edges (EPOLLET) instead of levels.
class SocketWait {
 public:
  SocketWait(BorrowedFd fd, short events) noexcept : fd_(fd), events_(events) {}

  /// Returns when the operation should be tried again: what poll reported.
  auto wait(Deadline deadline) -> Result<short>;

 private:
  auto watch_changes() -> Result<void>;

  BorrowedFd fd_;
  short events_;
  bool woken_in_vain_ = false;
  OwnedFd changes_;
};

}  // namespace parley::os
