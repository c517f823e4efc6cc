// Capability mode: the process keeps what it holds and opens nothing new.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// What capability mode is made of. Each part is enforced, or the report says why it is not.
enum class ConfinementPart {
  paths,  ///< No call that takes a path: open, stat, chmod, unlink, rename, exec, chdir, mount.
  new_sockets,   ///< No socket but an unnamed pair (stream, seqpacket); no bind, connect or listen.
  held_sockets,  ///< No socket is held that can send to an address of the sender's choice.
  named_objects,  ///< No System V object, by key or by id; no POSIX object by name; no keyring.
  tracing,        ///< No ptrace, no memory or descriptors of others, no profiling.
  signals,        ///< No signal to a process outside: to this one only, or to its confined copies.
  privileges,  ///< No new privileges, ids, namespaces, modules, programs in the kernel, io_uring.
};
inline constexpr std::size_t confinement_part_count = 7;

/// What of capability mode this kernel enforces for this process as it is.
struct ConfinementReport {
  /// Why each part is not enforced, in the order of ConfinementPart; nothing where it is.
  std::array<std::optional<Error>, confinement_part_count> missing;

  /// The version of Landlock that stands behind the filter as a second wall, or why there is none:
  /// `no_such_call` or `not_supported` by the kernel, `busy` when other threads run, which it would
  /// not bind. The filter alone enforces every part too.
  Result<int> landlock_abi = 0;

  /// Why `held_sockets` is `busy`: the sockets that can still name a stranger (datagram, raw,
  /// netlink), and io_uring rings, which the kernel serves without a call that a filter could see.
  std::vector<int> held_open_doors;

  [[nodiscard]] auto why_not(ConfinementPart part) const -> std::optional<Error> {
    return missing.at(static_cast<std::size_t>(part));
  }
  [[nodiscard]] auto complete() const -> bool {
    for (const auto& error : missing) {
      if (error) return false;
    }
    return true;
  }
};

struct ConfinementOptions {
  /// Enter only if every part is enforced. Otherwise as much as there is, and the report tells.
  bool require_all = true;
};

/// Capability mode, for this process and what it forks. There is no way back. Capsicum's cap_enter
/// on FreeBSD; a system-call filter and Landlock on Linux. seccomp(2), landlock(7), capsicum(4)
class Confinement {
 public:
  /// What `enter` would enforce, without entering.
  static auto probe() -> ConfinementReport;

  /// Enters capability mode. What is forbidden from then on fails with `not_permitted`. What was
  /// open goes on working, and so does what is received over a held socket; memory, pipes, memfds,
  /// socket pairs, threads, forks, futexes, timers and epoll are free.
  ///
  /// Under `require_all` the first missing part's error comes back, and nothing has changed. The
  /// same steps are first tried in a copy of the process; only if the kernel then refuses what it
  /// has just granted may a failed `enter` leave the process confined in part: end it. All threads
  /// are confined. Entering twice is `not_permitted`.
  static auto enter(ConfinementOptions options = {}) -> Result<ConfinementReport>;
};

/// What may still be done with a descriptor. cap_rights_limit(2)
struct DescriptorRights {
  bool read = false;
  bool write = false;
  bool seek = false;  ///< Also pread and pwrite at any place.
  bool map = false;   ///< mmap, for what `read` and `write` allow.
  bool status = false;
  bool resize = false;
  bool poll = false;
};

/// Takes every other right from the descriptor, and from all that is duplicated or sent of it from
/// then on. FreeBSD. `not_supported` on Linux, whose descriptors have no rights: there reopen a
/// memory object read-only (`Memfd::reopen_read_only`) or seal it (`Memfd::add_seals`).
auto limit_rights(BorrowedFd fd, DescriptorRights rights) -> Result<void>;

}  // namespace parley::os
