// Mappings: memory objects, files and anonymous memory in the address space of this process.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// A part of an object or mapping; as it stands, all of it. The calls that work on pages want the
/// offset to be a multiple of the page size (else `invalid`).
struct ByteRange {
  static constexpr std::size_t to_the_end = std::numeric_limits<std::size_t>::max();

  std::size_t offset_bytes = 0;
  std::size_t size_bytes = to_the_end;
};

/// Pages of the kernel's reserved pool (hugetlb), by size: the values are its base-2 logarithm.
/// Which sizes there are: /sys/kernel/mm/hugepages. A size that the kernel does not have is
/// `invalid`; an empty pool is `out_of_memory` when it is mapped.
enum class HugePages : int {
  none = -1,
  system_size = 0,  ///< Hugepagesize of /proc/meminfo.
  kib_64 = 16,
  kib_512 = 19,
  mib_1 = 20,
  mib_2 = 21,
  mib_8 = 23,
  mib_16 = 24,
  mib_32 = 25,
  mib_256 = 28,
  mib_512 = 29,
  gib_1 = 30,
  gib_2 = 31,
  gib_16 = 34,
};

enum class MapSharing {
  shared,        ///< MAP_SHARED: what is written is in the object, for all who map it.
  private_copy,  ///< MAP_PRIVATE: what is written is this process's own copy.
};

struct MapOptions {
  ByteRange range = {};  ///< Of the object. Past its end a page can be mapped, but not touched.
  MapSharing sharing = MapSharing::shared;
  bool execute = false;
  bool populate = false;    ///< MAP_POPULATE: make the pages present now, not at their first touch.
  bool locked = false;      ///< MAP_LOCKED; `would_block` over RLIMIT_MEMLOCK. `lock` tells more.
  bool no_reserve = false;  ///< MAP_NORESERVE: promise no swap space for it.
  HugePages huge_pages =
      HugePages::none;      ///< MAP_HUGETLB. An object made of huge pages needs none.
  void* address = nullptr;  ///< MAP_FIXED_NOREPLACE: there or `exists`. Null: the kernel chooses.
};

/// What may be done with a page. Nothing at all is a guard.
struct Protection {
  bool read = true;
  bool write = false;
  bool execute = false;
};

struct SyncOptions {
  bool wait = true;         ///< MS_SYNC; false: MS_ASYNC, which since Linux 2.6.19 does nothing.
  bool invalidate = false;  ///< MS_INVALIDATE: other mappings of the file are to be refreshed.
};

enum class LockWhen {
  now,       ///< Make every page present and keep it.
  on_fault,  ///< MLOCK_ONFAULT: keep each page from its first touch on.
};

/// What madvise(2) takes. Its newer values are `invalid` on older kernels.
enum class Advice : int {
  normal = MADV_NORMAL,
  random = MADV_RANDOM,
  sequential = MADV_SEQUENTIAL,
  will_need = MADV_WILLNEED,
  dont_need = MADV_DONTNEED,  ///< Private pages are lost; a shared object keeps its contents.
  free = MADV_FREE,           ///< Private anonymous pages only.
  remove = MADV_REMOVE,       ///< Punches a hole into the object: it reads as zeros, for everybody.
  dont_fork = MADV_DONTFORK,
  do_fork = MADV_DOFORK,
  wipe_on_fork = MADV_WIPEONFORK,  ///< Private anonymous pages only.
  keep_on_fork = MADV_KEEPONFORK,
  mergeable = MADV_MERGEABLE,
  unmergeable = MADV_UNMERGEABLE,
  huge_pages = MADV_HUGEPAGE,
  no_huge_pages = MADV_NOHUGEPAGE,
  collapse = 25,  ///< MADV_COLLAPSE, Linux 6.1.
  dont_dump = MADV_DONTDUMP,
  do_dump = MADV_DODUMP,
  cold = 20,              ///< MADV_COLD, Linux 5.4.
  page_out = 21,          ///< MADV_PAGEOUT, Linux 5.4.
  populate_read = 22,     ///< MADV_POPULATE_READ, Linux 5.14.
  populate_write = 23,    ///< MADV_POPULATE_WRITE, Linux 5.14.
  dont_need_locked = 24,  ///< MADV_DONTNEED_LOCKED, Linux 5.18.
  guard_install = 102,    ///< MADV_GUARD_INSTALL, Linux 6.13.
  guard_remove = 103,     ///< MADV_GUARD_REMOVE, Linux 6.13.
};

/// What every mapping can do. Not used by itself. Unmapped when it goes.
///
/// The memory is only as good as the object behind it: when somebody shrinks that, or its
/// filesystem is full at a page's first touch, touching the page raises SIGBUS. `reserve` the
/// object's memory beforehand, and seal it (Memfd) where others can shrink it.
class MappedMemory {
 public:
  MappedMemory(MappedMemory&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)),
        size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  auto operator=(MappedMemory&& other) noexcept -> MappedMemory& {
    std::swap(address_, other.address_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  MappedMemory(const MappedMemory&) = delete;
  auto operator=(const MappedMemory&) -> MappedMemory& = delete;
  ~MappedMemory();

  [[nodiscard]] auto size_bytes() const noexcept -> std::size_t { return size_bytes_; }

  /// Writes changed pages back to the file. Of use for files; memory objects have nothing behind
  /// them. `busy` with `invalidate` where pages are locked. msync(2)
  auto sync(SyncOptions options = {}, ByteRange range = {}) -> Result<void>;

  /// madvise(2)
  auto advise(Advice advice, ByteRange range = {}) -> Result<void>;

  /// Changes what may be done with the pages; to do the other is SIGSEGV, whatever `bytes()` says.
  /// `access_denied` for writing where the object was opened read-only. mprotect(2)
  auto protect(Protection protection, ByteRange range = {}) -> Result<void>;

  /// Keeps the pages in memory. `out_of_memory` over RLIMIT_MEMLOCK, `not_permitted` where that is
  /// 0. They are unlocked when they are unmapped, and not locked in a child of fork. mlock2(2)
  auto lock(LockWhen when = LockWhen::now, ByteRange range = {}) -> Result<void>;
  auto unlock(ByteRange range = {}) -> Result<void>;

  /// Grows or shrinks the mapping, not the object: grow that first. The bytes may move: every span
  /// taken before is void. mremap(2) with MREMAP_MAYMOVE
  auto resize(std::size_t size_bytes) -> Result<void>;

  /// The same in place; `out_of_memory` where something else is mapped in the way.
  auto resize_in_place(std::size_t size_bytes) -> Result<void>;

 protected:
  static auto map(BorrowedFd fd, int protection, int flags, const MapOptions& options)
      -> Result<MappedMemory>;

  [[nodiscard]] auto address() const noexcept -> std::byte* {
    return static_cast<std::byte*>(address_);
  }

 private:
  MappedMemory(void* address, std::size_t size_bytes) noexcept
      : address_(address), size_bytes_(size_bytes) {}

  [[nodiscard]] auto part(ByteRange range) const -> Result<std::span<std::byte>>;

  void* address_;
  std::size_t size_bytes_;
};

/// Memory that can be read: writing to it does not compile.
class ReadMapping : public MappedMemory {
 public:
  /// Maps a descriptor that is open for reading. The descriptor may be closed afterwards.
  /// `invalid` for an empty object and for a range that begins outside of it, `access_denied` for a
  /// descriptor that may not read, `not_permitted` for execution where the filesystem is mounted
  /// without it. mmap(2)
  static auto of(BorrowedFd fd, const MapOptions& options = {}) -> Result<ReadMapping>;

  [[nodiscard]] auto bytes() const noexcept -> std::span<const std::byte> {
    return {address(), size_bytes()};
  }

 private:
  explicit ReadMapping(MappedMemory&& memory) noexcept : MappedMemory(std::move(memory)) {}
};

/// Memory that can be read and written.
class Mapping : public MappedMemory {
 public:
  /// Maps a descriptor; if shared it must be open for reading and writing (`access_denied`) and not
  /// sealed against writing (`not_permitted`). The rest is as with ReadMapping.
  static auto of(BorrowedFd fd, const MapOptions& options = {}) -> Result<Mapping>;

  /// Fresh zeroed memory without a descriptor; if shared, with the children that are forked
  /// afterwards. The options' range means nothing here. MAP_ANONYMOUS
  static auto anonymous(std::size_t size_bytes, MapOptions options = {}) -> Result<Mapping>;

  [[nodiscard]] auto bytes() const noexcept -> std::span<std::byte> {
    return {address(), size_bytes()};
  }

 private:
  explicit Mapping(MappedMemory&& memory) noexcept : MappedMemory(std::move(memory)) {}
};

}  // namespace parley::os
