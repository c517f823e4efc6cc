// Signal-driven input and output: a signal says that a pipe, FIFO or socket is ready.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <parley/os/descriptor.hpp>

namespace parley::os {

enum class SignalTarget : int {
  thread = F_OWNER_TID,
  process = F_OWNER_PID,
  group = F_OWNER_PGRP,
};

/// Who is signalled.
struct SignalOwner {
  SignalTarget target = SignalTarget::process;
  pid_t id = 0;  ///< 0: nobody.

  auto operator==(const SignalOwner&) const noexcept -> bool = default;
};

// All of this belongs to the open *description*: whoever shares it, in whichever process, sees it.
// A signal tells of a change (something came, room was made, the peer is gone), never of a state:
// read or write until `would_block`, then wait for the next. For an event loop use poll(2) or
// epoll(7) on the descriptor.

/// Who gets the signals of this descriptor, and a socket's SIGURG for urgent bytes, which needs
/// nothing else. ESRCH for one that does not exist. A signal that this user could not send to the
/// owner (kill(2)) is dropped. fcntl(2) F_SETOWN_EX
auto set_signal_owner(BorrowedFd fd, SignalOwner owner) -> Result<void>;
auto signal_owner(BorrowedFd fd) -> Result<SignalOwner>;

/// Which signal. 0, as at first, is SIGIO without further words; any other, SIGIO too, comes with
/// si_fd, which is the number of `fd` here, and si_band, which is what poll(2) would report. Only
/// real-time signals queue: of others several become one, and of too many there is one SIGIO.
/// `invalid` for a number that is no signal. fcntl(2) F_SETSIG
auto set_ready_signal(BorrowedFd fd, int signal) -> Result<void>;
auto ready_signal(BorrowedFd fd) -> Result<int>;

/// Turns the signals on or off; to nobody before there is an owner. The default action of SIGIO and
/// of the real-time signals ends a process: handle or block it before. O_ASYNC
auto set_signal_driven(BorrowedFd fd, bool signal_driven) -> Result<void>;
auto is_signal_driven(BorrowedFd fd) -> Result<bool>;

}  // namespace parley::os
