// A shared object's memory, mapped behind the private memory of its robust list nodes.
//
//   address                    + node_distance_bytes
//   | private: list nodes      | shared: the object      | rings, where it has any: each part twice
//   |
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <parley/os/descriptor.hpp>

#include "os/object_file.hpp"

namespace parley::os {

/// One mapping that may lose its file, as the handler of SIGBUS knows it.
struct TruncationGuard {
  std::uintptr_t begin;  ///< 0: this guard is free.
  std::size_t size_bytes;
  bool lost;
  TruncationGuard* next;
};

/// The mapping of an object from its beginning.
///
/// Another process may truncate an object that is a file, and touching what is gone would end this
/// one with SIGBUS. So where `may_shrink`, a handler of SIGBUS is installed, once in the process:
/// it puts private zeros in place of the object and notes that it is lost. A fault elsewhere goes
/// to the action that was there before. A program that installs its own handler later is on its
/// own.
class Region {
 public:
  /// Readable and writable, with private memory before it for the nodes of its life words.
  /// With `rings` there is also room behind it for `map_ring`.
  static auto map(BorrowedFd fd, std::size_t size_bytes, bool may_shrink, bool rings = false)
      -> Result<Region>;

  /// Of an object that has no life words. To write where the access is `read_only` is SIGSEGV.
  static auto map_alone(BorrowedFd fd, std::size_t size_bytes, Access access, bool may_shrink)
      -> Result<Region>;

  Region(Region&& other) noexcept;
  Region(const Region&) = delete;
  auto operator=(const Region&) -> Region& = delete;
  auto operator=(Region&&) -> Region& = delete;
  ~Region();

  [[nodiscard]] auto bytes() const noexcept -> std::span<std::byte> { return bytes_; }

  /// Maps a part of the object, whole pages, twice in a row; what is returned is the first of them,
  /// and behind it the same bytes come again. All parts together at most the object once.
  auto map_ring(BorrowedFd fd, std::size_t offset_bytes, std::size_t size_bytes)
      -> Result<std::span<std::byte>>;

  [[nodiscard]] auto may_shrink() const noexcept -> bool { return guard_ != nullptr; }

  /// Whether the object was truncated and zeros stand in its place.
  [[nodiscard]] auto is_lost() const noexcept -> bool {
    return guard_ != nullptr && __atomic_load_n(&guard_->lost, __ATOMIC_ACQUIRE);
  }

 private:
  Region(std::span<std::byte> bytes, std::size_t nodes_bytes, std::size_t reserved_bytes) noexcept
      : bytes_(bytes), nodes_bytes_(nodes_bytes), reserved_bytes_(reserved_bytes) {}

  auto guard() -> Result<void>;

  std::span<std::byte> bytes_;
  std::size_t nodes_bytes_;
  std::size_t reserved_bytes_;  ///< From the beginning of `bytes_` to the end of the rings.
  std::size_t rings_bytes_ = 0;
  TruncationGuard* guard_ = nullptr;  ///< Null where the object is sealed.
};

}  // namespace parley::os
