// The probes: each tries one feature, in a process of its own that ends right after it.
//
// What a probe opens, maps, or does to its process goes with that process. What would outlive it (a
// System V object, a name) it removes itself. The process may be the copy of one thread of many, so
// nothing here allocates memory.
#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include <parley/os/features.hpp>

#include "os/small_file.hpp"
#include "os/sys.hpp"

namespace parley::os::probe {

/// What a probe found. It travels through a pipe, so it is plain bytes.
struct Fact {
  Presence presence = Presence::present;
  bool has_value = false;
  std::uint64_t value = 0;
  std::array<char, 160> detail{};  ///< Ends with a null character.
};

/// `missing` is also said by an error, which is what most probes do.
[[gnu::format(printf, 2, 3)]] auto told(Presence presence, const char* format, ...) -> Fact;

auto measured(std::uint64_t value) -> Fact;

/// `limited` where there is less than `enough`.
auto measured_at_least(std::uint64_t value, std::uint64_t enough) -> Fact;

/// There is no limit.
auto unlimited() -> Fact;

/// A copy of this thread as a process that ends without SIGCHLD: 0 in it, its id in the parent.
inline auto fork_quietly() -> Result<pid_t> {
  const void* none = nullptr;
  return static_cast<pid_t>(
      PARLEY_TRY(sys::call<::syscall>(long{SYS_clone}, 0UL, none, none, none, none)));
}

/// Waits for the end of such a process: its status as waitpid(2) tells it.
inline auto end_of(pid_t child) -> Result<int> {
  int status = 0;
  for (;;) {
    const auto ended = sys::call<::waitpid>(child, &status, __WALL);
    if (ended) return status;
    if (ended.error() != Error::interrupted) return failure(ended.error());
  }
}

using Probe = auto() -> Result<Fact>;

// The system
Probe linux_version, c_library, cores, proc_filesystem, boot_id, pid_namespace;
// Sleeping and deaths
Probe futex, futex_waitv, robust_list, wipe_on_fork, membarrier, pidfd_open, pidfd_send_signal,
    pidfd_getfd, clone3, close_range;
// Memory
Probe memfd_create, seal_shrink, seal_grow, seal_write, seal_future_write, seal_seal, seal_exec,
    memfd_noexec_seal, memfd_exec, memfd_hugetlb, memfd_secret, memfd_lock, object_directory,
    runtime_dir_tmpfile, dev_shm_tmpfile, tmp_tmpfile, dev_shm_size, dev_shm_free;
// Sockets and pipes
Probe descriptor_passing, peer_pidfd, message_pidfd, loopback_ipv4, loopback_ipv6, splice,
    write_nosignal, pipe_max_size, io_uring;
// System V
Probe sysv_semaphores, semmni, semmsl, semopm, sysv_queues, msgmni, msgmax, msgmnb, msg_copy,
    sysv_shared_memory, shmmni, shmmax;
// POSIX
Probe posix_semaphores, posix_queues, mqueue_msg_max, mqueue_msgsize_max, mqueue_queues_max,
    rlimit_msgqueue, posix_shared_memory;
// Confinement
Probe landlock, seccomp_filter;
// Limits
Probe rlimit_nofile, rlimit_memlock, max_map_count, cgroup_pids, cgroup_memory;

/// A feature and how it is tried.
struct Entry {
  std::string_view group;
  std::string_view name;
  bool is_needed;
  Unit unit;
  Probe* probe;
  std::string_view used_for;
  std::string_view without;
};

auto entries() -> std::span<const Entry>;

}  // namespace parley::os::probe
