// System V shared memory: segments that processes attach to their address spaces.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <parley/os/sysv/permissions.hpp>

namespace parley::os::sysv {

struct SharedMemoryOptions {
  mode_t mode = 0600;  ///< As it is: no umask is applied.
  /// SHM_HUGETLB, with pages of this size: 0 for the system's default huge page. `invalid` if the
  /// system has none of that size, `out_of_memory` if not enough of them are free.
  std::optional<std::size_t> huge_page_bytes = std::nullopt;
  /// SHM_NORESERVE: no swap space is set aside for it, so that a write may find no memory and kill
  /// the writer.
  bool no_reserve = false;
};

struct AttachOptions {
  /// Where; null lets the system choose. `invalid` unless a multiple of SHMLBA (or `round_down`),
  /// or if something is there (unless `replace`).
  void* address = nullptr;
  bool round_down = false;  ///< SHM_RND
  bool replace = false;     ///< SHM_REMAP: whatever was mapped there is gone. Needs an address.
  bool executable = false;  ///< SHM_EXEC: needs execute permission as well, unless privileged.
};

struct SharedMemoryStatus {
  int id;
  Permissions permissions;
  std::size_t size_bytes;
  std::size_t attachment_count;  ///< In all processes; right after any death.
  pid_t creator;
  pid_t last_process;  ///< That attached or detached; 0: none yet.
  std::optional<std::chrono::sys_seconds> last_attach;
  std::optional<std::chrono::sys_seconds> last_detach;
  std::chrono::sys_seconds last_change;  ///< Creation, `set_access`.
  bool marked_for_removal;               ///< SHM_DEST: goes with its last attachment.
  bool locked;                           ///< SHM_LOCKED
};

/// IPC_INFO. What Linux reports but does not use is left out.
struct SharedMemoryLimits {
  std::size_t segments;     ///< SHMMNI, in the system.
  std::size_t least_bytes;  ///< SHMMIN
  std::size_t most_bytes;   ///< SHMMAX, of one segment.
  std::size_t all_pages;    ///< SHMALL, of all segments together.
};

/// SHM_INFO.
struct SharedMemoryUsage {
  std::size_t segments;
  std::size_t all_pages;
  std::size_t resident_pages;
  std::size_t swapped_pages;
};

/// A segment in this process's address space, until this object goes. Move-only; empty after it was
/// moved from. A child of fork inherits it and detaches its own; exec detaches all.
///
/// `Byte` is `std::byte`, or `const std::byte` for an attachment that may only be read: a write
/// through it does not compile, and one that is forced raises SIGSEGV.
template <class Byte>
class BasicAttachment {
 public:
  BasicAttachment(BasicAttachment&& other) noexcept
      : bytes_(std::exchange(other.bytes_, std::span<Byte>())) {}
  auto operator=(BasicAttachment&& other) noexcept -> BasicAttachment& {
    BasicAttachment old(std::exchange(bytes_, std::exchange(other.bytes_, std::span<Byte>())));
    return *this;
  }
  BasicAttachment(const BasicAttachment&) = delete;
  auto operator=(const BasicAttachment&) -> BasicAttachment& = delete;
  ~BasicAttachment();

  /// The whole segment: `size_bytes`, at a page's start.
  [[nodiscard]] auto bytes() const noexcept -> std::span<Byte> { return bytes_; }

  /// The same as an array, as many as fit.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] auto as() const noexcept {
    using Item = std::conditional_t<std::is_const_v<Byte>, const T, T>;
    return std::span<Item>(reinterpret_cast<Item*>(bytes_.data()), bytes_.size() / sizeof(T));
  }

  /// Detaches now and says whether that was possible: `invalid` if something else has been mapped
  /// over its start since, or nothing was attached. shmdt(2)
  auto detach() && -> Result<void>;

 private:
  explicit BasicAttachment(std::span<Byte> bytes) noexcept : bytes_(bytes) {}
  friend class SharedMemory;

  std::span<Byte> bytes_;
};

using Attachment = BasicAttachment<std::byte>;
using ReadOnlyAttachment = BasicAttachment<const std::byte>;

/// A System V shared memory segment. The handle is a number that may be copied at will: nothing
/// happens to the segment when it goes, only an attachment has an owner. The segment stays, whoever
/// dies, until `remove` (or ipcrm(1), or a restart); where /proc/sys/kernel/shm_rmid_forced is 1,
/// only until its last attachment. sysvipc(7), shmget(2), shmop(2), shmctl(2)
class SharedMemory {
 public:
  /// A new segment of zeros. `exists` if the key is taken; `invalid` for a size of 0 or over
  /// SHMMAX; `no_space` over SHMMNI or SHMALL; `not_permitted` for huge pages without
  /// CAP_IPC_LOCK or membership of /proc/sys/vm/hugetlb_shm_group.
  static auto create(Key key, std::size_t size_bytes, SharedMemoryOptions options = {})
      -> Result<SharedMemory>;

  /// The segment of that key, or a new one. `invalid` if there is a smaller one.
  static auto open_or_create(Key key, std::size_t size_bytes, SharedMemoryOptions options = {})
      -> Result<SharedMemory>;

  /// `not_found` if there is none; `invalid` for the private key. Needs read permission.
  static auto open(Key key, OpenOptions options = {}) -> Result<SharedMemory>;

  /// The segment of an id that was handed over or inherited. `invalid` if there is none. Needs read
  /// permission.
  static auto adopt(int id) -> Result<SharedMemory>;

  [[nodiscard]] auto id() const noexcept -> int { return id_; }

  /// As asked for at creation; the memory behind it is whole pages.
  [[nodiscard]] auto size_bytes() const noexcept -> std::size_t { return size_bytes_; }

  /// Attaching twice is two attachments at two addresses. `access_denied` without read and write
  /// permission. shmat(2)
  [[nodiscard]] auto attach(AttachOptions options = {}) const -> Result<Attachment>;

  /// SHM_RDONLY: needs read permission only.
  [[nodiscard]] auto attach_read_only(AttachOptions options = {}) const
      -> Result<ReadOnlyAttachment>;

  /// Keeps its pages in memory (those that are touched later, from then on), or no longer. Needs
  /// ownership and RLIMIT_MEMLOCK, or CAP_IPC_LOCK. SHM_LOCK, SHM_UNLOCK
  [[nodiscard]] auto lock() const -> Result<void>;
  [[nodiscard]] auto unlock() const -> Result<void>;

  /// IPC_STAT. Needs read permission.
  [[nodiscard]] auto status() const -> Result<SharedMemoryStatus>;

  /// IPC_SET. `not_permitted` unless owner, creator or privileged.
  [[nodiscard]] auto set_access(Access access) const -> Result<void>;

  /// IPC_RMID: takes the key away and marks the segment, which goes with its last attachment. Linux
  /// still lets it be attached by id until then. `not_permitted` unless owner, creator or
  /// privileged.
  [[nodiscard]] auto remove() const -> Result<void>;

  /// Every segment of this IPC namespace, whoever may use it. SHM_STAT_ANY (Linux 4.17)
  static auto list() -> Result<std::vector<SharedMemoryStatus>>;

  static auto limits() -> Result<SharedMemoryLimits>;
  static auto usage() -> Result<SharedMemoryUsage>;

 private:
  SharedMemory(int id, std::size_t size_bytes) noexcept : id_(id), size_bytes_(size_bytes) {}

  int id_;
  std::size_t size_bytes_;
};

}  // namespace parley::os::sysv
