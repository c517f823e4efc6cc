// A lock on a file, for changes that are too rare to be worth a latch.
#pragma once

#include <functional>
#include <string>

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// Runs `act` while everybody else, in this process and in others, is kept from doing so with the
/// same file; it is given up when the process ends, wherever. It waits for as long as it takes. The
/// file is opened for it and closed again, so nobody can close the descriptor meanwhile. No signal
/// handler runs in this thread until it is done, and no thread forks: a child would hold the lock,
/// too. fcntl(2), F_OFD_SETLKW
auto while_locked(const std::string& path, const std::function<Result<void>(BorrowedFd)>& act)
    -> Result<void>;

}  // namespace parley::os
