#include <parley/os/memfd.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <string>
#include <utility>

#include "os/object_file.hpp"
#include "os/seals.hpp"
#include "os/sys.hpp"

namespace parley::os {
namespace {

// Younger than some C libraries that this is built with.
constexpr unsigned memfd_noexec_seal = 0x8;
constexpr unsigned memfd_exec = 0x10;
constexpr unsigned long secret_memory_filesystem = 0x5345434d;

auto memfd_flags(const MemfdOptions& options) -> unsigned {
  unsigned flags = MFD_CLOEXEC;
  if (options.sealable) flags |= MFD_ALLOW_SEALING;
  if (options.huge_pages != HugePages::none) {
    constexpr unsigned size_shift = 26;  // MFD_HUGE_SHIFT
    flags |= MFD_HUGETLB | (static_cast<unsigned>(options.huge_pages) << size_shift);
  }
  if (options.execution == MemfdExecution::never) flags |= memfd_noexec_seal;
  if (options.execution == MemfdExecution::allowed) flags |= memfd_exec;
  return flags;
}

#ifdef __FreeBSD__
auto create_descriptor(std::string_view, const MemfdOptions& options) -> Result<OwnedFd> {
  // An object of SHM_ANON has no seals, huge pages or execution: nothing else was asked for.
  if (options.huge_pages != HugePages::none ||
      options.execution != MemfdExecution::system_default) {
    return failure(Error::not_supported);
  }
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::shm_open>(SHM_ANON, O_RDWR | O_CLOEXEC, mode_t{0600})));
}
#else
auto create_descriptor(std::string_view name, const MemfdOptions& options) -> Result<OwnedFd> {
  if (name.contains('\0')) return failure(Error::invalid);
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::memfd_create>(std::string(name).c_str(), memfd_flags(options))));
}
#endif

}  // namespace

auto Memfd::create(std::string_view name, const MemfdOptions& options) -> Result<Memfd> {
  Memfd memfd(PARLEY_TRY(create_descriptor(name, options)));
  if (options.size_bytes != 0) PARLEY_TRY(memfd.resize(options.size_bytes));
  return memfd;
}

auto Memfd::create_secret(std::size_t size_bytes) -> Result<Memfd> {
#ifdef SYS_memfd_secret
  const auto number = PARLEY_TRY(sys::call<::syscall>(long{SYS_memfd_secret}, long{O_CLOEXEC}));
  Memfd memfd(OwnedFd::from_number(static_cast<int>(number)));
  if (size_bytes != 0) PARLEY_TRY(memfd.resize(size_bytes));
  return memfd;
#else
  static_cast<void>(size_bytes);
  return failure(Error::no_such_call);
#endif
}

auto Memfd::adopt(OwnedFd fd) -> Result<Memfd> {
  Memfd memfd(PARLEY_TRY(check(std::move(fd))));
  const auto seals = memfd.seals();
  if (seals) return memfd;
  if (seals.error() != Error::invalid) return failure(seals.error());
  // Only memory has seals, but for secret memory, which has none.
  struct statfs filesystem{};
  PARLEY_TRY(sys::call<::fstatfs>(memfd.fd().number(), &filesystem));
  if (static_cast<unsigned long>(filesystem.f_type) != secret_memory_filesystem) {
    return failure(Error::invalid);
  }
  return memfd;
}

auto Memfd::add_seals(const Seals& seals) -> Result<void> {
  return os::add_seals(fd(), seals);
}

auto Memfd::seals() const -> Result<Seals> {
  return seals_of(fd());
}

auto Memfd::reopen_read_only() const -> Result<ReadOnlyMemory> {
  return ReadOnlyMemory::adopt(PARLEY_TRY(os::reopen_read_only(fd())));
}

}  // namespace parley::os
