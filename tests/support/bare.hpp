// A process that may do nothing any more but compute: each allocation is counted, and each system
// call is its end.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>

#include <doctest/doctest.h>

// Of the sanitizers' allocator; absent in a build without.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" __attribute__((weak)) auto __sanitizer_install_malloc_and_free_hooks(
    void (*allocated)(const volatile void*, std::size_t), void (*freed)(const volatile void*))
    -> int;

namespace parley::test {

inline int allocations = 0;

/// From here on any system call but `end_bare` is the end, by SIGSYS.
inline void become_bare() {
  if (__sanitizer_install_malloc_and_free_hooks != nullptr) {
    __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void* /*block*/, std::size_t /*size*/) { ++allocations; },
        [](const volatile void* /*block*/) {});
  }
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

/// Ends with 0 where all was good and nothing was allocated.
inline void end_bare(bool good) {
  syscall(SYS_exit_group, good && allocations == 0 ? 0 : 2);
}

}  // namespace parley::test
