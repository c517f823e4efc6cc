// Memory objects: what POSIX shared memory and memfd have in common.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <utility>

#include <parley/os/descriptor.hpp>
#include <parley/os/mapping.hpp>
#include <parley/os/owner.hpp>

namespace parley::os {

/// What fstat(2) tells of a memory object.
struct MemoryStatus {
  std::size_t size_bytes;
  std::size_t allocated_bytes;  ///< How much of it has memory behind it.
  Owner owner;
  mode_t mode;             ///< The nine permission bits.
  std::size_t name_count;  ///< 0 once it is unlinked, and for what never had a name.
};

/// What can be done with every memory object. Not used by itself.
class MemoryObject {
 public:
  [[nodiscard]] auto fd() const noexcept -> BorrowedFd { return fd_; }

  /// The descriptor itself, to hand it on or to keep it elsewhere.
  [[nodiscard]] auto into_fd() && noexcept -> OwnedFd { return std::move(fd_); }

  [[nodiscard]] auto status() const -> Result<MemoryStatus>;
  [[nodiscard]] auto size_bytes() const -> Result<std::size_t>;

  /// Only the owner and root may: `not_permitted`. fchmod(2), fchown(2)
  auto set_mode(mode_t mode) -> Result<void>;
  auto set_owner(Owner owner) -> Result<void>;

  /// The whole object unless the options name a part. `invalid` for an empty object, such as one
  /// that another program has just made and not yet sized.
  [[nodiscard]] auto map_read_only(const MapOptions& options = {}) const -> Result<ReadMapping> {
    return ReadMapping::of(fd_, options);
  }

 protected:
  explicit MemoryObject(OwnedFd fd) noexcept : fd_(std::move(fd)) {}

 private:
  OwnedFd fd_;
};

/// A memory object through a descriptor that cannot write: to map it writable is `access_denied`.
///
/// The descriptor alone does not keep a process of the same user, or root, from writing: it can
/// open the object anew by its name or through /proc/self/fd. Only a seal (Memfd) holds for all.
class ReadOnlyMemory : public MemoryObject {
 public:
  /// Takes a received or inherited descriptor of a memory object or file. `invalid` unless it is a
  /// regular file that is open for reading and not for writing.
  static auto adopt(OwnedFd fd) -> Result<ReadOnlyMemory>;

 private:
  using MemoryObject::MemoryObject;
};

/// A memory object through a descriptor that reads and writes. Not used by itself.
class WritableMemory : public MemoryObject {
 public:
  /// The whole object unless the options name a part. `not_permitted` where it is sealed against
  /// writing.
  [[nodiscard]] auto map(const MapOptions& options = {}) const -> Result<Mapping> {
    return Mapping::of(fd(), options);
  }

  /// New bytes are zeros, and have no memory behind them yet: `reserve` them. Whoever has mapped
  /// what is cut off gets SIGBUS when touching it. `not_permitted` where a seal forbids it.
  /// ftruncate(2)
  auto resize(std::size_t size_bytes) -> Result<void>;

  /// Puts memory behind the bytes now, so that its lack is `no_space` here and not a SIGBUS later.
  /// Grows the object where the range ends after it. fallocate(2)
  auto reserve(ByteRange range = {}) -> Result<void>;

  /// Gives the memory of the range back: it reads as zeros, the size stays. FALLOC_FL_PUNCH_HOLE
  auto discard(ByteRange range) -> Result<void>;

 protected:
  using MemoryObject::MemoryObject;

  /// `fd` itself if it is a regular file open for reading and writing; `invalid` for all else.
  static auto check(OwnedFd fd) -> Result<OwnedFd>;

 private:
  auto allocate(int mode, ByteRange range) -> Result<void>;
};

}  // namespace parley::os
