// The threads whose death tells the other processes that this one has ended.
//
// A process that attaches to shared objects has a keeper: a thread that sleeps for as long as the
// process lives. Its robust list (set_robust_list(2)) names the life words of this process. When
// the process ends, by exit, exec or kill -9, the kernel walks the list, sets FUTEX_OWNER_DIED in
// each word that still holds the keeper's thread id, and wakes one of those who sleep on it.
//
// The list's nodes lie in private memory, each at one constant distance before its word, so that no
// peer can reach them. The kernel tells words that are ours by the thread id in them alone, and in
// another PID namespace that number may be a stranger's. So a word may be watched only while nobody
// else can claim it: between `watch` and the claim the caller holds the object's claim lock.
//
// The other threads of this process may lose their own robust mutexes only if their list were
// replaced; the keeper's is the only one that is ours.
#pragma once

#include <linux/futex.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::os {

/// How far before a life word its list node lies, in private memory.
inline constexpr std::size_t node_distance_bytes = 64 * std::size_t{1024};

/// Where the number of this process is kept: memory that a fork(2) wipes.
extern const std::uint32_t* process_number_word;

/// This process among its own copies: another number after each fork(2), 0 before the first
/// `watch_life`. Two loads: every operation on an object asks.
inline auto process_number() noexcept -> std::uint32_t {
  return __atomic_load_n(__atomic_load_n(&process_number_word, __ATOMIC_ACQUIRE), __ATOMIC_RELAXED);
}

/// Whether `fence_all` in other processes reaches this one. Known after the first `watch_life`.
auto is_fenced() noexcept -> bool;

/// A full memory barrier in every running thread of every process that `is_fenced`, before this
/// returns: so the others need none where they store one word and then load another. False where
/// the system cannot. membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED
auto fence_all() noexcept -> bool;

/// getpid(2): a system call.
auto process_id() noexcept -> std::uint32_t;

/// getuid(2): likewise.
auto user_id() noexcept -> std::uint32_t;

/// Puts a life word under the care of a keeper and returns what the caller then stores in it: the
/// keeper's thread id with FUTEX_WAITERS. Starts a keeper where there is none or all are full.
///
/// The kernel stops its walk at a word that it cannot read. So one that `may_vanish`, because its
/// file can be truncated, is put behind all that cannot; its loss hides no death in their objects,
/// but may in those of other files.
auto watch_life(const std::uint32_t* life, bool may_vanish) -> Result<std::uint32_t>;

/// Takes the word out of care. It must not hold the keeper's thread id any more.
void unwatch_life(const std::uint32_t* life) noexcept;

/// Excludes everybody else, in this process and in others, from claiming a place in an object. The
/// kernel gives it up when this process ends. fcntl(2), F_SETLKW
///
/// Closing any descriptor of the same file in this process gives it up as well. `close_object` does
/// not do that; where a program closes a copy of its own in those nanoseconds, two processes may
/// claim at once, which hurts only if they come from different PID namespaces, their keepers have
/// the same thread id there, they went for the same place and one of them dies in that moment.
class ClaimLock {
 public:
  /// `busy` where somebody else has it for longer than the deadline.
  static auto acquire(BorrowedFd fd, Deadline deadline) -> Result<ClaimLock>;

  ClaimLock(ClaimLock&& other) noexcept;
  ClaimLock(const ClaimLock&) = delete;
  auto operator=(const ClaimLock&) -> ClaimLock& = delete;
  auto operator=(ClaimLock&&) -> ClaimLock& = delete;
  ~ClaimLock();

 private:
  explicit ClaimLock(int fd) noexcept : fd_(fd) {}

  int fd_;
};

/// Closes an object's descriptor while no thread of this process holds a ClaimLock.
void close_object(OwnedFd fd) noexcept;

/// Returns once no thread of a process that was seen to have died is running any more.
///
/// The kernel marks a death from the keeper's own exit. By then every other thread of the process
/// has its SIGKILL, but one that runs on another processor goes on until that processor takes the
/// interrupt. membarrier(2) interrupts them all and waits for it, in some microseconds. Without it
/// a survivor could repair an object while the dead still write to it.
void await_stillness() noexcept;

}  // namespace parley::os
