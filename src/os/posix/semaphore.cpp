#include <parley/os/posix/semaphore.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "os/file_permissions.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os::posix {
namespace {

/// Waits for longer than a try, until the deadline, which is neither now nor past.
auto wait_until(sem_t* semaphore, Deadline deadline) -> Result<int> {
  // musl has no sem_clockwait, and ThreadSanitizer does not know that it synchronises.
#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
  if (!deadline.is_never()) {
    const timespec point = to_timespec(deadline.point().time_since_epoch());
    return sys::call<::sem_clockwait>(semaphore, CLOCK_MONOTONIC, &point);
  }
#endif
  return until(deadline, [&] { return sys::call<::sem_wait>(semaphore); });
}

/// Where the C library keeps the semaphore.
auto path_of(std::string_view name) -> Result<std::string> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::semaphore, name));
#ifdef __GLIBC__
  return "/dev/shm/sem." + c_name.substr(1);
#else
  return "/dev/shm" + c_name;
#endif
}

/// The semaphore that can be at the start of `place`.
auto semaphore_at(std::span<std::byte> place) -> Result<sem_t*> {
  const auto address = reinterpret_cast<std::uintptr_t>(place.data());
  if (place.size() < sizeof(sem_t) || address % alignof(sem_t) != 0) {
    return failure(Error::invalid);
  }
  return reinterpret_cast<sem_t*>(place.data());
}

}  // namespace

auto SemaphoreHandle::wait(Deadline deadline) -> Result<void> {
  auto taken = sys::call<::sem_trywait>(semaphore_);
  while (!taken) {
    const bool would_wait = taken.error() == Error::would_block;
    if (!would_wait && taken.error() != Error::interrupted) return failure(taken.error());
    if (would_wait && deadline.has_passed()) return failure(deadline.error());
    taken = deadline.has_passed() ? sys::call<::sem_trywait>(semaphore_)
                                  : wait_until(semaphore_, deadline);
  }
  return {};
}

auto SemaphoreHandle::post() -> Result<void> {
  PARLEY_TRY(sys::call<::sem_post>(semaphore_));
  return {};
}

auto SemaphoreHandle::value() const -> Result<unsigned> {
  int value = 0;
  PARLEY_TRY(sys::call<::sem_getvalue>(semaphore_, &value));
  return static_cast<unsigned>(value);
}

Semaphore::~Semaphore() {
  if (semaphore_ != nullptr) sys::release<::sem_close>(semaphore_);
}

auto Semaphore::open_with(std::string_view name, int flags, const SemaphoreOptions& options)
    -> Result<Semaphore> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::semaphore, name));
  return Semaphore(PARLEY_TRY(
      sys::call<::sem_open>(c_name.c_str(), flags, options.mode, options.initial_value)));
}

auto Semaphore::create(std::string_view name, const SemaphoreOptions& options)
    -> Result<Semaphore> {
  return open_with(name, O_CREAT | O_EXCL, options);
}

auto Semaphore::open_or_create(std::string_view name, const SemaphoreOptions& options)
    -> Result<Semaphore> {
  return open_with(name, O_CREAT, options);
}

auto Semaphore::open(std::string_view name) -> Result<Semaphore> {
  return open_with(name, 0, {});
}

auto Semaphore::unlink(std::string_view name) -> Result<void> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::semaphore, name));
  PARLEY_TRY(sys::call<::sem_unlink>(c_name.c_str()));
  return {};
}

// Never through a link: a stranger may have put it into /dev/shm, which everybody may write.

auto Semaphore::permissions(std::string_view name) -> Result<FilePermissions> {
  const auto path = PARLEY_TRY(path_of(name));
  struct stat status{};
  PARLEY_TRY(sys::call<::fstatat>(AT_FDCWD, path.c_str(), &status, AT_SYMLINK_NOFOLLOW));
  return permissions_of(status);
}

auto Semaphore::set_mode(std::string_view name, mode_t mode) -> Result<void> {
  const auto path = PARLEY_TRY(path_of(name));
  PARLEY_TRY(sys::call<::fchmodat>(AT_FDCWD, path.c_str(), mode, AT_SYMLINK_NOFOLLOW));
  return {};
}

auto Semaphore::set_owner(std::string_view name, Owner owner) -> Result<void> {
  const auto path = PARLEY_TRY(path_of(name));
  PARLEY_TRY(
      sys::call<::fchownat>(AT_FDCWD, path.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW));
  return {};
}

auto UnnamedSemaphore::create(std::span<std::byte> place, const UnnamedSemaphoreOptions& options)
    -> Result<UnnamedSemaphore> {
  sem_t* const semaphore = PARLEY_TRY(semaphore_at(place));
  PARLEY_TRY(
      sys::call<::sem_init>(semaphore, options.process_shared ? 1 : 0, options.initial_value));
  return UnnamedSemaphore(semaphore);
}

auto UnnamedSemaphore::attach(std::span<std::byte> place) -> Result<UnnamedSemaphore> {
  return UnnamedSemaphore(PARLEY_TRY(semaphore_at(place)));
}

auto UnnamedSemaphore::destroy() && -> Result<void> {
  PARLEY_TRY(sys::call<::sem_destroy>(semaphore_));
  semaphore_ = nullptr;
  return {};
}

}  // namespace parley::os::posix
