// Probes of how processes sleep, wake, and learn of each other's deaths.
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <sys/mman.h>

#include <csignal>
#include <cstddef>
#include <ctime>

#include "os/features/probe.hpp"

namespace parley::os::probe {
namespace {

template <class T>
auto shared_page() -> Result<T*> {
  void* const where = nullptr;
  return static_cast<T*>(PARLEY_TRY(sys::call<::mmap>(where, sizeof(T), PROT_READ | PROT_WRITE,
                                                      MAP_SHARED | MAP_ANONYMOUS, -1, off_t{0})));
}

auto own_pidfd() -> Result<int> {
  const pid_t self = PARLEY_TRY(sys::call<::getpid>());
  return static_cast<int>(PARLEY_TRY(sys::call<::syscall>(long{SYS_pidfd_open}, self, 0U)));
}

/// A word that this thread holds when it ends, on a robust list of its own.
struct HeldWord {
  robust_list_head head;
  struct ::robust_list node;
  std::uint32_t word;
};

/// Registers the list and ends with its word held.
auto die_holding(HeldWord* held) -> Result<int> {
  held->head.list.next = &held->node;
  held->head.list_op_pending = nullptr;
  held->head.futex_offset = static_cast<long>(offsetof(HeldWord, word) - offsetof(HeldWord, node));
  held->node.next = &held->head.list;
  held->word = static_cast<std::uint32_t>(PARLEY_TRY(sys::call<::syscall>(long{SYS_gettid})));
  PARLEY_TRY(sys::call<::syscall>(long{SYS_set_robust_list}, &held->head, sizeof held->head));
  return 0;
}

}  // namespace

auto futex() -> Result<Fact> {
  std::uint32_t word = 0;
  PARLEY_TRY(sys::call<::syscall>(long{SYS_futex}, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0));
  return Fact{};
}

auto futex_waitv() -> Result<Fact> {
#ifdef SYS_futex_waitv
  std::uint32_t word = 1;
  ::futex_waitv waiter{.val = 0,
                       .uaddr = reinterpret_cast<std::uintptr_t>(&word),
                       .flags = FUTEX_32,
                       .__reserved = 0};
  // The word differs from the value that is waited on: that it says so is its success.
  const auto waited =
      sys::call<::syscall>(long{SYS_futex_waitv}, &waiter, 1U, 0U, nullptr, CLOCK_MONOTONIC);
  if (waited || waited.error() == Error::would_block) return Fact{};
  return failure(waited.error());
#else
  return failure(Error::no_such_call);
#endif
}

auto robust_list() -> Result<Fact> {
  auto* const held = PARLEY_TRY(shared_page<HeldWord>());
  const pid_t child = PARLEY_TRY(fork_quietly());
  if (child == 0) {
    const auto died = die_holding(held);
    sys::release<::_exit>(died ? 0 : static_cast<int>(died.error()));
  }
  const int status = PARLEY_TRY(end_of(child));
  if (WIFSIGNALED(status)) {
    return told(Presence::missing, "setting one is killed by signal %d", WTERMSIG(status));
  }
  if (WEXITSTATUS(status) != 0) return failure(Error{WEXITSTATUS(status)});
  if ((held->word & FUTEX_OWNER_DIED) != 0) return Fact{};
  return told(Presence::missing, "accepted, but the death of the owner is not marked");
}

auto wipe_on_fork() -> Result<Fact> {
  constexpr std::size_t page_bytes = 4096;
  void* const nowhere = nullptr;
  void* const page = PARLEY_TRY(sys::call<::mmap>(nowhere, page_bytes, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, off_t{0}));
  PARLEY_TRY(sys::call<::madvise>(page, page_bytes, MADV_WIPEONFORK));
  auto* const mark = static_cast<volatile int*>(page);
  *mark = 1;
  const pid_t child = PARLEY_TRY(fork_quietly());
  if (child == 0) sys::release<::_exit>(*mark);
  const int status = PARLEY_TRY(end_of(child));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Fact{};
  return told(Presence::missing, "accepted, but not wiped");
}

auto membarrier() -> Result<Fact> {
  for (const int command :
       {MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_GLOBAL_EXPEDITED}) {
    PARLEY_TRY(sys::call<::syscall>(long{SYS_membarrier}, command, 0U, 0));
  }
  return Fact{};
}

auto pidfd_open() -> Result<Fact> {
  PARLEY_TRY(own_pidfd());
  return Fact{};
}

auto pidfd_send_signal() -> Result<Fact> {
  const int pidfd = PARLEY_TRY(own_pidfd());
  PARLEY_TRY(sys::call<::syscall>(long{SYS_pidfd_send_signal}, pidfd, 0, nullptr, 0U));
  return Fact{};
}

auto pidfd_getfd() -> Result<Fact> {
  const int pidfd = PARLEY_TRY(own_pidfd());
  PARLEY_TRY(sys::call<::syscall>(long{SYS_pidfd_getfd}, pidfd, pidfd, 0U));
  return Fact{};
}

auto clone3() -> Result<Fact> {
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  const auto child = static_cast<pid_t>(
      PARLEY_TRY(sys::call<::syscall>(long{SYS_clone3}, &arguments, sizeof arguments)));
  if (child == 0) sys::release<::_exit>(0);
  PARLEY_TRY(end_of(child));
  return Fact{};
}

auto close_range() -> Result<Fact> {
  const auto fd = static_cast<unsigned>(PARLEY_TRY(sys::call<::dup>(0)));
  PARLEY_TRY(sys::call<::syscall>(long{SYS_close_range}, fd, fd, 0U));
  return Fact{};
}

}  // namespace parley::os::probe
