#include <parley/os/signal_driven.hpp>

#include "os/sys.hpp"

namespace parley::os {

auto set_signal_owner(BorrowedFd fd, SignalOwner owner) -> Result<void> {
  const f_owner_ex raw{.type = static_cast<decltype(f_owner_ex::type)>(owner.target),
                       .pid = owner.id};
  PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_SETOWN_EX, &raw));
  return {};
}

auto signal_owner(BorrowedFd fd) -> Result<SignalOwner> {
  f_owner_ex raw{};
  PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETOWN_EX, &raw));
  return SignalOwner{.target = static_cast<SignalTarget>(raw.type), .id = raw.pid};
}

auto set_ready_signal(BorrowedFd fd, int signal) -> Result<void> {
  PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_SETSIG, signal));
  return {};
}

auto ready_signal(BorrowedFd fd) -> Result<int> {
  return sys::call<::fcntl>(fd.number(), F_GETSIG);
}

auto set_signal_driven(BorrowedFd fd, bool signal_driven) -> Result<void> {
  const int flags = PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL));
  const int wanted = signal_driven ? flags | O_ASYNC : flags & ~O_ASYNC;
  PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_SETFL, wanted));
  return {};
}

auto is_signal_driven(BorrowedFd fd) -> Result<bool> {
  return (PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL)) & O_ASYNC) != 0;
}

}  // namespace parley::os
