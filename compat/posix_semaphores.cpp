// sem_open(3), sem_close(3), sem_unlink(3): the C library's own semaphores, in files of the space.
//
// Its sem_wait(3), sem_post(3) and the rest work on what sem_open returns, since that is what
// sem_init(3) makes of memory that processes share.
#include <semaphore.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <optional>
#include <vector>

#include "export.hpp"
#include "handles.hpp"
#include "posix_names.hpp"

namespace parley::compat {
namespace {

/// One that this process has open, however often.
struct OpenSemaphore {
  FileNumbers file;
  sem_t* address;
  std::size_t times;
};

/// Changed under `Opening` alone.
auto open_semaphores() -> std::vector<OpenSemaphore>& {
  // Never destroyed: programs call these functions until their very end.
  static auto* const all = new std::vector<OpenSemaphore>;
  return *all;
}

/// The semaphore in that file: at the address that it has already, if it has one.
auto map(os::BorrowedFd file) -> Result<sem_t*> {
  struct stat status{};
  if (fstat(file.number(), &status) != 0) return failure(last_error());
  if (static_cast<std::size_t>(status.st_size) < sizeof(sem_t)) return failure(Error::invalid);
  const FileNumbers numbers{.device = status.st_dev, .inode = status.st_ino};
  auto& all = open_semaphores();
  for (auto& each : all) {
    if (each.file != numbers) continue;
    ++each.times;
    return each.address;
  }
  all.reserve(all.size() + 1);
  void* const address =
      mmap(nullptr, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, file.number(), 0);
  if (address == MAP_FAILED) return failure(last_error());
  all.push_back({.file = numbers, .address = static_cast<sem_t*>(address), .times = 1});
  return static_cast<sem_t*>(address);
}

auto open_existing(const std::string& path) -> Result<os::OwnedFd> {
  const int fd = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failure(last_error());
  return os::OwnedFd::from_number(fd);
}

/// Whole before it has its name.
auto create(const std::string& path, mode_t mode, unsigned value) -> Result<os::OwnedFd> {
  sem_t semaphore{};
  if (sem_init(&semaphore, 1, value) != 0) return failure(last_error());
  auto file = PARLEY_TRY(create_file(path, mode));
  const auto written = write(file.number(), &semaphore, sizeof semaphore);
  if (written < 0) return failure(last_error());
  if (static_cast<std::size_t>(written) != sizeof semaphore) return failure(Error::no_space);
  PARLEY_TRY(link_file(file, path));
  return file;
}

/// What O_CREAT brings with it.
struct NewSemaphore {
  mode_t mode;
  unsigned value;
};

auto open_file(const std::string& path, int flags, const std::optional<NewSemaphore>& wanted)
    -> Result<os::OwnedFd> {
  if (!wanted) return open_existing(path);
  const bool exclusive = (flags & O_EXCL) != 0;
  for (;;) {
    if (!exclusive) {
      auto existing = open_existing(path);
      if (existing || existing.error() != Error::not_found) return existing;
    }
    auto made = create(path, wanted->mode, wanted->value);
    // Where somebody was faster, it is to be opened, unless it is gone again.
    if (made || exclusive || made.error() != Error::exists) return made;
  }
}

auto open_semaphore(const char* name, int flags, const std::optional<NewSemaphore>& wanted)
    -> Result<sem_t*> {
  const auto path = PARLEY_TRY(semaphore_path(name));
  const Opening opening;
  const auto file = PARLEY_TRY(open_file(path, flags, wanted));
  return map(file);
}

auto close_semaphore(const sem_t* semaphore) -> int {
  const Opening opening;
  auto& all = open_semaphores();
  for (auto& each : all) {
    if (each.address != semaphore) continue;
    if (--each.times != 0) return 0;
    munmap(each.address, sizeof(sem_t));
    each = all.back();
    all.pop_back();
    return 0;
  }
  return fail(EINVAL);
}

auto unlink_semaphore(const char* name) -> int {
  const auto path = semaphore_path(name);
  // The C library's word for a name that cannot be one.
  if (!path) return fail(path.error() == Error::invalid ? Error::not_found : path.error());
  const auto done = unlink_file(*path);
  return done ? 0 : fail(done.error());
}

}  // namespace
}  // namespace parley::compat

PARLEY_COMPAT auto sem_open(const char* name, int flags, ...) noexcept -> sem_t* {
  std::optional<parley::compat::NewSemaphore> wanted;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    const auto mode = va_arg(more, mode_t);
    const auto value = va_arg(more, unsigned);
    va_end(more);
    wanted = {.mode = mode, .value = value};
  }
  const auto semaphore = parley::compat::open_semaphore(name, flags, wanted);
  if (semaphore) return *semaphore;
  parley::compat::fail(semaphore.error());
  return SEM_FAILED;
}

PARLEY_COMPAT auto sem_close(sem_t* semaphore) noexcept -> int {
  return parley::compat::close_semaphore(semaphore);
}

PARLEY_COMPAT auto sem_unlink(const char* name) noexcept -> int {
  return parley::compat::unlink_semaphore(name);
}
