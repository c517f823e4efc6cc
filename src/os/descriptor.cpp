#include <parley/os/descriptor.hpp>

#include "os/sys.hpp"

namespace parley::os {
namespace {

/// Sets or clears one bit of what fcntl `get` reports; no call where it is as asked.
auto set_flag(BorrowedFd fd, int get, int set, int flag, bool on) -> Result<void> {
  const int flags = PARLEY_TRY(sys::call<::fcntl>(fd.number(), get));
  const int wanted = on ? flags | flag : flags & ~flag;
  if (wanted != flags) PARLEY_TRY(sys::call<::fcntl>(fd.number(), set, wanted));
  return {};
}

}  // namespace

OwnedFd::~OwnedFd() {
  // Linux has freed the number whatever close(2) returns, EINTR included: never twice.
  if (number_ >= 0) sys::release<::close>(number_);
}

auto duplicate(BorrowedFd fd) -> Result<OwnedFd> {
  return OwnedFd::from_number(PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_DUPFD_CLOEXEC, 0)));
}

auto set_nonblocking(BorrowedFd fd, bool nonblocking) -> Result<void> {
  return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, nonblocking);
}

auto is_nonblocking(BorrowedFd fd) -> Result<bool> {
  return (PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL)) & O_NONBLOCK) != 0;
}

auto set_close_on_exec(BorrowedFd fd, bool close_on_exec) -> Result<void> {
  return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, close_on_exec);
}

auto closes_on_exec(BorrowedFd fd) -> Result<bool> {
  return (PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFD)) & FD_CLOEXEC) != 0;
}

}  // namespace parley::os
