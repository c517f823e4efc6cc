// POSIX semaphores: a counter that processes wait on, with a name or in memory that they share.
#pragma once

#include <semaphore.h>
#include <sys/types.h>

#include <climits>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/error.hpp>
#include <parley/os/owner.hpp>
#include <parley/os/posix/name.hpp>

namespace parley::os::posix {

/// What every semaphore can do. Not used by itself.
///
/// Nobody owns a semaphore that was taken: a process that is killed between `wait` and `post`
/// leaves it down, and the others wait for ever or until their deadline. (A System V semaphore with
/// undo does not have this trap.)
class SemaphoreHandle {
 public:
  static constexpr unsigned largest_value = INT_MAX;  // SEM_VALUE_MAX, which not every libc defines

  /// Takes one, waiting until the value is not 0. sem_wait(3), sem_clockwait(3)
  auto wait(Deadline deadline) -> Result<void>;

  /// Gives one back and wakes a waiter. Safe in a signal handler. EOVERFLOW at `largest_value`.
  auto post() -> Result<void>;

  /// The value now, which may be another by the time that it is looked at; 0 while somebody waits.
  [[nodiscard]] auto value() const -> Result<unsigned>;

 protected:
  explicit SemaphoreHandle(sem_t* semaphore) noexcept : semaphore_(semaphore) {}

  sem_t* semaphore_;
};

struct SemaphoreOptions {
  unsigned initial_value = 0;  ///< Over `largest_value`: `invalid`.
  mode_t mode = 0600;  ///< Less the umask. To use it at all takes both the read and the write bit.
};

/// A semaphore with a name. It stays until it is unlinked, whoever dies, and then until the last
/// process has closed it. Close-on-exec in effect: it is memory, not a descriptor.
///
/// Names: see name.hpp. A named semaphore is made with its value at once (the C library makes it in
/// a temporary file and then names it): nobody finds it half made.
class Semaphore : public SemaphoreHandle {
 public:
  /// Makes a new one: `exists` if there is one of that name. sem_open(3) with O_CREAT and O_EXCL
  static auto create(std::string_view name, const SemaphoreOptions& options = {})
      -> Result<Semaphore>;

  /// The one of that name, whatever its value and mode; where there is none, a new one.
  static auto open_or_create(std::string_view name, const SemaphoreOptions& options = {})
      -> Result<Semaphore>;

  /// `not_found`, `access_denied`. Opened twice, it is the same semaphore at the same address.
  static auto open(std::string_view name) -> Result<Semaphore>;

  /// Takes the name away; who has it open goes on using it. `not_found`, `access_denied`.
  /// sem_unlink(3)
  static auto unlink(std::string_view name) -> Result<void>;

  /// Whose the semaphore of that name is, and who may open it; whoever has it open keeps it. It has
  /// no descriptor, so these go by its file's name, and mean whatever bears the name now: where
  /// others may unlink it, that can be another than the one that this process has open.
  /// `not_found`, `not_permitted`. `set_mode` needs /proc. fstatat(2), fchmodat(2), fchownat(2)
  static auto permissions(std::string_view name) -> Result<FilePermissions>;
  static auto set_mode(std::string_view name, mode_t mode) -> Result<void>;
  static auto set_owner(std::string_view name, Owner owner) -> Result<void>;

  Semaphore(Semaphore&& other) noexcept
      : SemaphoreHandle(std::exchange(other.semaphore_, nullptr)) {}
  auto operator=(Semaphore&& other) noexcept -> Semaphore& {
    std::swap(semaphore_, other.semaphore_);
    return *this;
  }
  Semaphore(const Semaphore&) = delete;
  auto operator=(const Semaphore&) -> Semaphore& = delete;
  ~Semaphore();

 private:
  using SemaphoreHandle::SemaphoreHandle;
  static auto open_with(std::string_view name, int flags, const SemaphoreOptions& options)
      -> Result<Semaphore>;
};

struct UnnamedSemaphoreOptions {
  unsigned initial_value = 0;  ///< Over `largest_value`: `invalid`.
  bool process_shared = true;  ///< false: only for the threads of this process, and faster.
};

/// A semaphore in memory that the caller has: a view, which owns nothing. It lives until it is
/// destroyed or its memory goes.
///
/// The memory exists before the semaphore does, and before `create` it looks like one with the
/// value 0: a `post` on it would be lost. So whoever makes it does so before anybody else can reach
/// it: before fork, before the descriptor is sent, before `SharedMemory::publish`. Nothing can tell
/// `attach` whether that was done.
class UnnamedSemaphore : public SemaphoreHandle {
 public:
  static constexpr std::size_t size_bytes = sizeof(sem_t);
  static constexpr std::size_t alignment_bytes = alignof(sem_t);

  /// Makes it at the start of `place`: `invalid` where that is smaller than `size_bytes` or not
  /// aligned. To make it where one is in use is undefined, as for every sem_init(3).
  static auto create(std::span<std::byte> place, const UnnamedSemaphoreOptions& options = {})
      -> Result<UnnamedSemaphore>;

  /// The one that another process, or an earlier call, made there.
  static auto attach(std::span<std::byte> place) -> Result<UnnamedSemaphore>;

  /// Ends it, for every process. Nobody may be waiting or use it afterwards. sem_destroy(3)
  auto destroy() && -> Result<void>;

 private:
  using SemaphoreHandle::SemaphoreHandle;
};

}  // namespace parley::os::posix
