#include <parley/os/posix/shared_memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include <string>

#include "os/sys.hpp"

namespace parley::os::posix {
namespace {

/// Where both glibc and musl keep the objects.
constexpr const char* directory = "/dev/shm";

auto open_descriptor(std::string_view name, int flags) -> Result<OwnedFd> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::shared_memory, name));
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::shm_open>(c_name.c_str(), flags | O_CLOEXEC, mode_t{0})));
}

}  // namespace

auto SharedMemory::create(std::string_view name, const SharedMemoryOptions& options)
    -> Result<SharedMemory> {
  PARLEY_TRY(checked_name(NameKind::shared_memory, name));
  auto memory = PARLEY_TRY(create_unnamed(options));
  PARLEY_TRY(memory.publish(name));
  return memory;
}

auto SharedMemory::open_or_create(std::string_view name, const SharedMemoryOptions& options)
    -> Result<SharedMemory> {
  // Each round that fails saw somebody else make it or unlink it.
  for (;;) {
    auto memory = open(name);
    if (memory || memory.error() != Error::not_found) return memory;
    memory = create(name, options);
    if (memory || memory.error() != Error::exists) return memory;
  }
}

auto SharedMemory::create_unnamed(const SharedMemoryOptions& options) -> Result<SharedMemory> {
  constexpr int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
  SharedMemory memory(
      OwnedFd::from_number(PARLEY_TRY(sys::call<::open>(directory, flags, options.mode))));
  if (options.size_bytes == 0) return memory;
  PARLEY_TRY(memory.resize(options.size_bytes));
  if (options.reserve) PARLEY_TRY(memory.reserve({.size_bytes = options.size_bytes}));
  return memory;
}

auto SharedMemory::publish(std::string_view name) -> Result<void> {
  const auto path = directory + PARLEY_TRY(checked_name(NameKind::shared_memory, name));
  const auto unnamed = "/proc/self/fd/" + std::to_string(fd().number());
  PARLEY_TRY(sys::call<::linkat>(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(),
                                 int{AT_SYMLINK_FOLLOW}));
  return {};
}

auto SharedMemory::open(std::string_view name) -> Result<SharedMemory> {
  return SharedMemory(PARLEY_TRY(open_descriptor(name, O_RDWR)));
}

auto SharedMemory::open_truncated(std::string_view name) -> Result<SharedMemory> {
  return SharedMemory(PARLEY_TRY(open_descriptor(name, O_RDWR | O_TRUNC)));
}

auto SharedMemory::open_read_only(std::string_view name) -> Result<ReadOnlyMemory> {
  return ReadOnlyMemory::adopt(PARLEY_TRY(open_descriptor(name, O_RDONLY)));
}

auto SharedMemory::adopt(OwnedFd fd) -> Result<SharedMemory> {
  return SharedMemory(PARLEY_TRY(check(std::move(fd))));
}

auto SharedMemory::unlink(std::string_view name) -> Result<void> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::shared_memory, name));
  PARLEY_TRY(sys::call<::shm_unlink>(c_name.c_str()));
  return {};
}

auto SharedMemory::limits() -> Result<SharedMemoryLimits> {
  struct statvfs status{};
  PARLEY_TRY(sys::call<::statvfs>(directory, &status));
  return SharedMemoryLimits{
      .size_bytes = std::uint64_t{status.f_blocks} * status.f_frsize,
      .available_bytes = std::uint64_t{status.f_bavail} * status.f_frsize,
  };
}

}  // namespace parley::os::posix
