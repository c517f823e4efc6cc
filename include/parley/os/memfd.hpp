// Memfd: shared memory without a name, shared by its descriptor, with seals.
#pragma once

#include <cstddef>
#include <string_view>

#include <parley/os/memory.hpp>

namespace parley::os {

/// What nobody can do to the memory any more, whichever descriptor they hold. Seals are added and
/// never taken back. fcntl(2), F_ADD_SEALS
struct Seals {
  bool shrink = false;
  bool grow = false;
  bool write = false;         ///< Nobody writes.
  bool future_write = false;  ///< Only the writable mappings that exist now go on writing.
  bool exec = false;  ///< Nobody changes its execute permission. Where it has that, all of the
                      ///< above too. Linux 6.3.
  bool seal = false;  ///< No further seals.

  auto operator==(const Seals&) const noexcept -> bool = default;
};

/// Whether the memory may be executed as a program. Linux 6.3; before it, `invalid`.
enum class MemfdExecution {
  system_default,  ///< What /proc/sys/vm/memfd_noexec says, and on older kernels `allowed`.
  never,           ///< MFD_NOEXEC_SEAL: mode 0666, sealed against `exec`; implies `sealable`.
  allowed,         ///< MFD_EXEC: mode 0777.
};

struct MemfdOptions {
  std::size_t size_bytes = 0;
  bool sealable = true;  ///< MFD_ALLOW_SEALING; without it the seal `seal` is there from the start.
  HugePages huge_pages = HugePages::none;  ///< MFD_HUGETLB; sizes are then multiples of the page's.
  MemfdExecution execution = MemfdExecution::system_default;
};

/// Memory that is gone with its last descriptor and mapping. Handed to another process by fork or
/// over a local socket. Close-on-exec.
class Memfd : public WritableMemory {
 public:
  /// The name is only for people, in /proc/PID/fd and maps: at most 249 bytes, else `invalid`; any
  /// number of objects may have the same. memfd_create(2); where there is none, SHM_ANON of
  /// shm_open(2), whose objects have neither a name nor seals: an option that asks for what
  /// the system does not have is `not_supported`.
  static auto create(std::string_view name, const MemfdOptions& options = {}) -> Result<Memfd>;

  /// Memory that the kernel itself cannot read through its own map: locked, never swapped, and
  /// not to be read(2), written or sealed. Its size, if not 0, cannot be changed. Mapping it is
  /// `would_block` over RLIMIT_MEMLOCK. `no_such_call` where the kernel has it not or has it
  /// disabled (the boot option secretmem.enable). memfd_secret(2)
  static auto create_secret(std::size_t size_bytes) -> Result<Memfd>;

  /// Takes a received or inherited descriptor. `invalid` unless it is memory (a memfd, secret or
  /// not, or POSIX shared memory), open for reading and writing. Before believing what a stranger
  /// sent, look at `seals()`: without `shrink` the sender can take the memory away, which is
  /// SIGBUS.
  static auto adopt(OwnedFd fd) -> Result<Memfd>;

  /// `not_permitted` once sealed against it, `invalid` for memory that has no seals. `busy` for
  /// `write` while there is a shared mapping that is writable or could be made so by `protect`, as
  /// is every one that was made through a descriptor that writes: unmap them first.
  ///
  /// Before Linux 6.7 a descriptor that writes cannot map memory that is sealed against it, shared,
  /// even for reading (`not_permitted`): `reopen_read_only` and map that.
  auto add_seals(const Seals& seals) -> Result<void>;
  [[nodiscard]] auto seals() const -> Result<Seals>;

  /// A second, read-only descriptor of the same memory, to hand to others. A courtesy and not a
  /// guard: a process with the same user, or root, can turn it into a writable one through
  /// /proc/self/fd, as this call did. `seals` hold against those too.
  [[nodiscard]] auto reopen_read_only() const -> Result<ReadOnlyMemory>;

 private:
  using WritableMemory::WritableMemory;
};

}  // namespace parley::os
