#include "os/socket_wait.hpp"

#include <sys/epoll.h>

#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {

auto SocketWait::wait(Deadline deadline) -> Result<short> {
  if (changes_.is_open()) {
    PARLEY_TRY(wait_ready(changes_, POLLIN, deadline));
  } else {
    const short ready = PARLEY_TRY(wait_ready(fd_, events_, deadline));
    // The first time it may be an error that the next try reports and clears.
    if ((ready & events_) != 0 || !std::exchange(woken_in_vain_, true)) return ready;
    PARLEY_TRY(watch_changes());
  }
  // Right after the start of watching this is the state that is known already: the operation is
  // tried once more, so that nothing between its last try and the watching is missed.
  epoll_event change{};
  PARLEY_TRY(sys::call<::epoll_wait>(changes_.number(), &change, 1, 0));
  return static_cast<short>(change.events & 0x7fffU);
}

auto SocketWait::watch_changes() -> Result<void> {
  OwnedFd epoll = OwnedFd::from_number(PARLEY_TRY(sys::call<::epoll_create1>(EPOLL_CLOEXEC)));
  epoll_event interest{};
  interest.events = static_cast<unsigned>(events_) | EPOLLET;
  PARLEY_TRY(sys::call<::epoll_ctl>(epoll.number(), EPOLL_CTL_ADD, fd_.number(), &interest));
  changes_ = std::move(epoll);
  return {};
}

}  // namespace parley::os
