#include "os/file_lock.hpp"

#include <pthread.h>

#include "os/clone.hpp"
#include "os/object_file.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// Held by the thread that holds a file's lock, and by one that forks.
constinit pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

void lock_all() {
  pthread_mutex_lock(&one_at_a_time);
}
void unlock_all() {
  pthread_mutex_unlock(&one_at_a_time);
}

class OneAtATime {
 public:
  OneAtATime() noexcept {
    [[maybe_unused]] static const int told = pthread_atfork(lock_all, unlock_all, unlock_all);
    lock_all();
  }
  OneAtATime(const OneAtATime&) = delete;
  auto operator=(const OneAtATime&) -> OneAtATime& = delete;
  ~OneAtATime() { unlock_all(); }
};

/// Released explicitly: who copied the descriptor without fork(3) does not keep the lock.
class OpenLock {
 public:
  explicit OpenLock(BorrowedFd fd) noexcept : fd_(fd) {}
  OpenLock(const OpenLock&) = delete;
  auto operator=(const OpenLock&) -> OpenLock& = delete;
  ~OpenLock() {
    const struct flock none = range(F_UNLCK);
    sys::release<::fcntl>(fd_.number(), F_OFD_SETLK, &none);
  }

  static auto range(short type) -> struct flock {
    struct flock all{};
    all.l_type = type;
    all.l_whence = SEEK_SET;
    return all;
 }

 private : BorrowedFd fd_;
};

}  // namespace

auto while_locked(const std::string& path, const std::function<Result<void>(BorrowedFd)>& act)
    -> Result<void> {
  const SignalsBlocked no_handler_comes_back_here;
  const OneAtATime alone;
  const auto file = PARLEY_TRY(open_object(path, Access::read_write));
  const struct flock all = OpenLock::range(F_WRLCK);
  PARLEY_TRY(until(Deadline::never(),
                   [&] { return sys::call<::fcntl>(file.number(), F_OFD_SETLKW, &all); }));
  const OpenLock lock(file);
  return act(file);
}

}  // namespace parley::os
