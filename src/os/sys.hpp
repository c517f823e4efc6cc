// The one seam through which every system call is made.
//
// `sys::call<::pipe2>(fds, flags)` makes the call and turns -1 (for a pointer: MAP_FAILED or null)
// into the Error that errno holds. Nothing else in the library calls the kernel, so in a test build
// this is where a test makes the n-th call fail, whatever it is, or kills the process before it.
//
// Calls that give something back (close, munmap, unlink of a name we made) go through
// `sys::release`: nothing can be done about their failure, and a test cannot inject one.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <type_traits>

#include <parley/error.hpp>

#include "base/seam.hpp"

namespace parley::os::sys {

#if PARLEY_TEST_SEAM
/// What a test decided about this thread's next system calls.
struct Injection {
  int calls_until_failure = 0;  ///< 1: the next one fails, once. 0: none does.
  Error error = Error::io;
  bool kills = false;  ///< Instead of failing, the process is killed before the call.
  bool fired = false;
};

inline constinit thread_local Injection injection;

inline auto must_fail() noexcept -> bool {
  if (injection.calls_until_failure == 0) return false;
  --injection.calls_until_failure;
  if (injection.calls_until_failure != 0) return false;
  injection.fired = true;
  if (injection.kills) static_cast<void>(std::raise(SIGKILL));
  errno = static_cast<int>(injection.error);
  return true;
}
#else
constexpr auto must_fail() noexcept -> bool {
  return false;
}
#endif

/// Makes one system call. The arguments are passed as they are; the result is the call's own.
template <auto function, class... Arguments>
auto call(Arguments... arguments) -> Result<decltype(function(arguments...))> {
  using Value = decltype(function(arguments...));
  seam::before(seam::Step::system_call, nullptr);
  if (must_fail()) return failure(last_error());
  const Value value = function(arguments...);
  if constexpr (std::is_pointer_v<Value>) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): MAP_FAILED is an integer cast to a pointer.
    if (value == nullptr || value == reinterpret_cast<Value>(-1)) return failure(last_error());
  } else {
    if (value == static_cast<Value>(-1)) return failure(last_error());
  }
  return value;
}

// What asks about files and users, by its own system calls. A confined process may not make those
// of the C library, which can name a path; and a program's surroundings may stand in for its
// functions (fakeroot(1)) and use IPC themselves, which would come back to us.
#if defined(__linux__) && defined(__LP64__)
inline auto file_status(int fd, struct stat* status) -> int {
  return static_cast<int>(syscall(SYS_fstat, fd, status));
}
inline auto path_status(const char* path, struct stat* status) -> int {
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, status, 0));
}
inline auto link_status(const char* path, struct stat* status) -> int {
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW));
}
inline auto change_mode(const char* path, mode_t mode) -> int {
  return static_cast<int>(syscall(SYS_fchmodat, AT_FDCWD, path, mode));
}
inline auto change_mode_of(int fd, mode_t mode) -> int {
  return static_cast<int>(syscall(SYS_fchmod, fd, mode));
}
inline auto make_directory(const char* path, mode_t mode) -> int {
  return static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
inline auto remove_directory(const char* path) -> int {
  return static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}
inline auto remove_file(const char* path) -> int {
  return static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}
inline auto user_id() -> uid_t {
  return static_cast<uid_t>(syscall(SYS_geteuid));
}
#else
inline auto file_status(int fd, struct stat* status) -> int {
  return fstat(fd, status);
}
inline auto path_status(const char* path, struct stat* status) -> int {
  return stat(path, status);
}
inline auto link_status(const char* path, struct stat* status) -> int {
  return lstat(path, status);
}
inline auto change_mode(const char* path, mode_t mode) -> int {
  return chmod(path, mode);
}
inline auto change_mode_of(int fd, mode_t mode) -> int {
  return fchmod(fd, mode);
}
inline auto make_directory(const char* path, mode_t mode) -> int {
  return mkdir(path, mode);
}
inline auto remove_directory(const char* path) -> int {
  return rmdir(path);
}
inline auto remove_file(const char* path) -> int {
  return unlink(path);
}
inline auto user_id() -> uid_t {
  return geteuid();
}
#endif

/// Gives something back to the kernel. errno is as it was.
template <auto function, class... Arguments>
void release(Arguments... arguments) noexcept {
  seam::before(seam::Step::system_call, nullptr);
  const int saved = errno;
  static_cast<void>(function(arguments...));
  errno = saved;
}

}  // namespace parley::os::sys
