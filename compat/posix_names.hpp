// Where a POSIX object of that name is: its file in a folder of the space.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <string>

#include <parley/os/descriptor.hpp>

#include "process.hpp"

namespace parley::compat {

// The names are those of the C library's own calls, which differ: see mq_overview(7) and the rest.
// `no_such_call` where there is no space.

/// `invalid` without a slash before it, `not_found` for a slash alone, `access_denied` for a
/// further slash and for what a directory always has.
auto queue_path(const char* name) -> Result<std::string>;

/// Leading slashes do not count. `invalid` for a further slash, or nothing behind them.
auto semaphore_path(const char* name) -> Result<std::string>;
auto memory_path(const char* name) -> Result<std::string>;

/// What unlink(2) says of it, `access_denied` also where the directory is the one that forbids it.
auto unlink_file(const std::string& path) -> Result<void>;

/// A new file without a name beside `path`, with that mode less the umask.
auto create_file(const std::string& path, mode_t mode) -> Result<os::OwnedFd>;
/// Gives it its name: `exists` if that is taken.
auto link_file(os::BorrowedFd file, const std::string& path) -> Result<void>;

/// What tells a file from all others that exist at the same time.
struct FileNumbers {
  dev_t device = 0;
  ino_t inode = 0;

  auto operator==(const FileNumbers&) const noexcept -> bool = default;
};

/// Of an open file; none of any where the number is not open.
inline auto numbers_of(int fd) noexcept -> FileNumbers {
  struct stat status{};
  if (fstat(fd, &status) != 0) return {};
  return {.device = status.st_dev, .inode = status.st_ino};
}

}  // namespace parley::compat
