// POSIX shared memory: a memory object with a name.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <parley/os/memory.hpp>
#include <parley/os/posix/name.hpp>

namespace parley::os::posix {

struct SharedMemoryOptions {
  std::size_t size_bytes = 0;
  mode_t mode = 0600;   ///< Less the umask.
  bool reserve = true;  ///< Put memory behind it at once: a full /dev/shm is `no_space` here.
};

/// How large all of these objects together can be, and how much of that is free now. On Linux the
/// size of /dev/shm; 0 if it was mounted without one.
struct SharedMemoryLimits {
  std::uint64_t size_bytes;
  std::uint64_t available_bytes;
};

/// Memory with a name. It stays until it is unlinked, whoever dies, and then until its last
/// descriptor and mapping are gone. Close-on-exec. Names: see name.hpp.
///
/// With shm_open(3) an object is named first and sized afterwards: in between others open it empty,
/// and touching its pages is SIGBUS. Here it is made whole without a name and then named in one
/// step, so nobody sees it unfinished; `create_unnamed` and `publish` let a program fill it before
/// that step too. (On Linux: O_TMPFILE in /dev/shm, which is where the C libraries keep them, and
/// linkat(2) through /proc/self/fd, so /proc must be mounted.) What another program makes with
/// shm_open can still be met empty: to map it is then `invalid`.
class SharedMemory : public WritableMemory {
 public:
  /// Makes a new one, of its size and zeroed: `exists` if there is one of that name.
  static auto create(std::string_view name, const SharedMemoryOptions& options)
      -> Result<SharedMemory>;

  /// The one of that name, whatever its size and mode; where there is none, a new one.
  static auto open_or_create(std::string_view name, const SharedMemoryOptions& options)
      -> Result<SharedMemory>;

  /// Makes one that nobody can find until it is published. Unpublished, it goes with its holders.
  static auto create_unnamed(const SharedMemoryOptions& options) -> Result<SharedMemory>;

  /// Gives it its name: `exists` where that is taken, and the object stays without.
  auto publish(std::string_view name) -> Result<void>;

  /// `not_found`, `access_denied`. shm_open(3)
  static auto open(std::string_view name) -> Result<SharedMemory>;

  /// The same, emptied (O_TRUNC): whoever has it mapped gets SIGBUS.
  static auto open_truncated(std::string_view name) -> Result<SharedMemory>;

  static auto open_read_only(std::string_view name) -> Result<ReadOnlyMemory>;

  /// Takes a received or inherited descriptor. `invalid` unless it is a regular file, as these
  /// objects are, open for reading and writing.
  static auto adopt(OwnedFd fd) -> Result<SharedMemory>;

  /// Takes the name away; who has it open or mapped goes on using it. `not_found`,
  /// `access_denied` for another user's, as /dev/shm is sticky. shm_unlink(3)
  static auto unlink(std::string_view name) -> Result<void>;

  /// statvfs(3)
  static auto limits() -> Result<SharedMemoryLimits>;

 private:
  using WritableMemory::WritableMemory;
};

}  // namespace parley::os::posix
