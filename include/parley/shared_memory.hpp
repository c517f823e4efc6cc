// SharedMemory: bytes that several processes see, made whole, sealed, and shared by descriptor.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <parley/os/descriptor.hpp>
#include <parley/os/mapping.hpp>

namespace parley::os {
class Region;
}

namespace parley {

struct SharedMemoryOptions {
  std::size_t size_bytes = 0;  ///< At least 1.
  mode_t mode = 0600;          ///< Of a named object's file, as it is: no umask is applied.
  bool growable = false;
  /// For memory without a name. Its sizes are then multiples of the page's.
  os::HugePages huge_pages = os::HugePages::none;
  /// Writes what the memory starts with, before anybody else can see it. Without it: zeros.
  std::function<void(std::span<std::byte>)> fill = {};
};

/// What every mapping of shared memory can do. Not used by itself. Unmapped when it goes; it needs
/// the handle it came from no longer.
class MappedSharedMemory {
 public:
  MappedSharedMemory(MappedSharedMemory&&) noexcept;
  auto operator=(MappedSharedMemory&&) noexcept -> MappedSharedMemory&;
  MappedSharedMemory(const MappedSharedMemory&) = delete;
  auto operator=(const MappedSharedMemory&) -> MappedSharedMemory& = delete;
  ~MappedSharedMemory();

  [[nodiscard]] auto size_bytes() const noexcept -> std::size_t { return body_.size(); }

  /// `corrupt` once something was touched that somebody has truncated away: zeros of this process's
  /// own stand in place of the memory since then. To be asked after reading, before believing.
  [[nodiscard]] auto check() const -> Result<void>;

 protected:
  friend class SharedMemory;
  MappedSharedMemory(std::unique_ptr<os::Region> region, std::size_t body_offset) noexcept;

  [[nodiscard]] auto body() const noexcept -> std::span<std::byte> { return body_; }

  template <class T>
  [[nodiscard]] auto elements(os::ByteRange range) const -> Result<std::span<T>> {
    static_assert(std::is_trivially_copyable_v<T>,
                  "what has pointers or destructors cannot be shared");
    const auto bytes = part(range, {.size_bytes = sizeof(T), .alignment_bytes = alignof(T)});
    if (!bytes) return failure(bytes.error());
    return std::span(reinterpret_cast<T*>(bytes->data()), bytes->size() / sizeof(T));
  }

 private:
  struct ElementShape {
    std::size_t size_bytes;
    std::size_t alignment_bytes;
  };
  [[nodiscard]] auto part(os::ByteRange range, ElementShape element) const
      -> Result<std::span<std::byte>>;

  std::unique_ptr<os::Region> region_;
  std::span<std::byte> body_;
};

/// Shared memory that can be read; to write to it does not compile. Others may write meanwhile:
/// read a value once, check it, then use it.
class SharedReadMapping : public MappedSharedMemory {
 public:
  [[nodiscard]] auto bytes() const noexcept -> std::span<const std::byte> { return body(); }

  /// The bytes as values of a type that can be copied byte by byte; nothing orders what several
  /// processes do with them, but atomic_ref does. `invalid` where the range does not begin at
  /// a multiple of the type's alignment or is not some whole number of values; `out_of_range` where
  /// it leaves the memory.
  template <class T>
  [[nodiscard]] auto as(os::ByteRange range = {}) const -> Result<std::span<const T>> {
    return elements<const T>(range);
  }

 private:
  friend class SharedMemory;
  using MappedSharedMemory::MappedSharedMemory;
};

/// Shared memory that can be read and written.
class SharedMapping : public MappedSharedMemory {
 public:
  [[nodiscard]] auto bytes() const noexcept -> std::span<std::byte> { return body(); }

  /// As SharedReadMapping::as.
  template <class T>
  [[nodiscard]] auto as(os::ByteRange range = {}) const -> Result<std::span<T>> {
    return elements<T>(range);
  }

 private:
  friend class SharedMemory;
  using MappedSharedMemory::MappedSharedMemory;
};

/// Memory for several processes. What all objects have in common, also the errors
/// of `create`, `open` and `adopt`: object.hpp; but nobody takes part in this one, and no thread is
/// started: who dies leaves what it wrote.
///
/// It never gets smaller: without a name it is sealed against that, and, unless it may grow,
/// against growing. All of it has memory behind it from the start: a lack is `no_space` here, no
/// SIGBUS later. (Memory without a name has no limit but the machine's: if others have used that
/// up, the kernel ends processes, as with any memory.)
class SharedMemory {
 public:
  /// Without a name, shared by its descriptor. `invalid` for no bytes; `no_space` where there is
  /// not the memory; for huge pages also what os::HugePages says.
  static auto create(const SharedMemoryOptions& options) -> Result<SharedMemory>;

  /// With a name. `exists` if it is taken.
  static auto create(std::string_view name, const SharedMemoryOptions& options)
      -> Result<SharedMemory>;

  static auto open(std::string_view name) -> Result<SharedMemory>;

  /// For whom the file's permissions let read only.
  static auto open_read_only(std::string_view name) -> Result<SharedMemory>;

  /// The memory of that name, as it is, or a new one.
  static auto open_or_create(std::string_view name, const SharedMemoryOptions& options)
      -> Result<SharedMemory>;

  /// Takes a received or inherited descriptor, which may be one that only reads.
  static auto adopt(os::OwnedFd fd) -> Result<SharedMemory>;

  /// Takes the name away; who has the memory keeps it. unlink(2)
  static auto unlink(std::string_view name) -> Result<void>;

  SharedMemory(SharedMemory&&) noexcept = default;
  auto operator=(SharedMemory&&) noexcept -> SharedMemory&;
  SharedMemory(const SharedMemory&) = delete;
  auto operator=(const SharedMemory&) -> SharedMemory& = delete;
  ~SharedMemory();

  /// To hand on.
  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd { return fd_; }

  /// Where its bytes begin behind the descriptor, for who maps them himself: at a multiple of the
  /// page's size.
  [[nodiscard]] auto offset_bytes() const noexcept -> std::size_t { return body_offset_; }

  /// Whether the descriptor only reads.
  [[nodiscard]] auto is_read_only() const noexcept -> bool { return read_only_; }
  [[nodiscard]] auto is_growable() const noexcept -> bool { return growable_; }

  /// Now; others may make it grow. `corrupt` where it was truncated.
  [[nodiscard]] auto size_bytes() const -> Result<std::size_t>;

  /// Makes it at least that large, for everybody; the new bytes are zeros. Mappings stay as they
  /// are: map again to see more. `no_space` before anything has changed, `not_permitted` where it
  /// may not grow, `access_denied` through a descriptor that only reads, `busy` while another
  /// process makes it grow for longer than a second.
  auto grow(std::size_t size_bytes) -> Result<void>;

  /// All of it as it is now. `access_denied` through a descriptor that only reads, `not_permitted`
  /// once it is sealed.
  [[nodiscard]] auto map() const -> Result<SharedMapping>;
  [[nodiscard]] auto map_read_only() const -> Result<SharedReadMapping>;

  /// From now on nobody writes to it or makes it grow, whatever they hold. `busy` while anybody has
  /// it mapped but through a descriptor that only reads; `not_permitted` for memory that has a
  /// name, which is a file, and through a descriptor that only reads.
  auto seal() -> Result<void>;
  [[nodiscard]] auto is_sealed() const -> Result<bool>;

  /// The same memory through a descriptor that only reads, to be handed on. A courtesy and not a
  /// guard: a process of the same user, or root, can open /proc/self/fd/N anew, as this call does,
  /// and memory without a name anybody can. Only `seal` holds for all. `access_denied` where this
  /// user may not open the file.
  [[nodiscard]] auto reopen_read_only() const -> Result<SharedMemory>;

 private:
  explicit SharedMemory(os::OwnedFd fd) noexcept;

  static auto make(std::string_view name, const SharedMemoryOptions& options)
      -> Result<SharedMemory>;
  static auto of(os::OwnedFd fd) -> Result<SharedMemory>;

  /// With what stands before the body.
  [[nodiscard]] auto segment_bytes() const -> Result<std::size_t>;

  os::OwnedFd fd_;
  std::size_t body_offset_ = 0;
  std::size_t least_bytes_ = 0;  ///< The whole segment's, when this handle last looked.
  bool growable_ = false;
  bool may_shrink_ = true;
  bool read_only_ = false;
};

}  // namespace parley
