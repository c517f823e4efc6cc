#include <parley/os/memory.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// `invalid` unless it is a regular file, as memory objects are, open in that way.
auto require_access(BorrowedFd fd, int access_mode) -> Result<void> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  const int flags = PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL));
  if (!S_ISREG(status.st_mode) || (flags & O_ACCMODE) != access_mode) {
    return failure(Error::invalid);
  }
  return {};
}

}  // namespace

auto MemoryObject::status() const -> Result<MemoryStatus> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd_.number(), &status));
  constexpr std::size_t block_bytes = 512;  // the unit of st_blocks, stat(3type)
  return MemoryStatus{.size_bytes = static_cast<std::size_t>(status.st_size),
                      .allocated_bytes = static_cast<std::size_t>(status.st_blocks) * block_bytes,
                      .owner = {.uid = status.st_uid, .gid = status.st_gid},
                      .mode = status.st_mode & 0777U,
                      .name_count = static_cast<std::size_t>(status.st_nlink)};
}

auto MemoryObject::size_bytes() const -> Result<std::size_t> {
  return PARLEY_TRY(status()).size_bytes;
}

auto MemoryObject::set_mode(mode_t mode) -> Result<void> {
  PARLEY_TRY(sys::call<::fchmod>(fd_.number(), mode));
  return {};
}

auto MemoryObject::set_owner(Owner owner) -> Result<void> {
  PARLEY_TRY(sys::call<::fchown>(fd_.number(), owner.uid, owner.gid));
  return {};
}

auto ReadOnlyMemory::adopt(OwnedFd fd) -> Result<ReadOnlyMemory> {
  PARLEY_TRY(require_access(fd, O_RDONLY));
  return ReadOnlyMemory(std::move(fd));
}

auto WritableMemory::check(OwnedFd fd) -> Result<OwnedFd> {
  PARLEY_TRY(require_access(fd, O_RDWR));
  return fd;
}

auto WritableMemory::resize(std::size_t size_bytes) -> Result<void> {
  PARLEY_TRY(until(Deadline::never(), [&] {
    return sys::call<::ftruncate>(fd().number(), static_cast<off_t>(size_bytes));
  }));
  return {};
}

auto WritableMemory::reserve(ByteRange range) -> Result<void> {
  return allocate(0, range);
}

auto WritableMemory::discard(ByteRange range) -> Result<void> {
  return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
}

auto WritableMemory::allocate(int mode, ByteRange range) -> Result<void> {
  if (range.size_bytes == ByteRange::to_the_end) {
    const std::size_t end = PARLEY_TRY(size_bytes());
    if (range.offset_bytes >= end) return {};
    range.size_bytes = end - range.offset_bytes;
  }
  PARLEY_TRY(until(Deadline::never(), [&] {
    return sys::call<::fallocate>(fd().number(), mode, static_cast<off_t>(range.offset_bytes),
                                  static_cast<off_t>(range.size_bytes));
  }));
  return {};
}

}  // namespace parley::os
