// Probes of memory that is shared by descriptor, and of the places where its names are.
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <climits>
#include <cstdio>
#include <cstdlib>

#include "os/features/probe.hpp"

// Younger than the headers of Debian 12.
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif

namespace parley::os::probe {
namespace {

constexpr std::size_t page_bytes = 4096;

auto new_memfd(unsigned flags) -> Result<int> {
  return sys::call<::memfd_create>("parley-doctor", MFD_CLOEXEC | flags);
}

auto memfd_flag(unsigned flag) -> Result<Fact> {
  PARLEY_TRY(new_memfd(flag));
  return Fact{};
}

/// Adds the seal to an object of one page and looks whether it holds.
auto seal(int which) -> Result<Fact> {
  const int fd = PARLEY_TRY(new_memfd(MFD_ALLOW_SEALING));
  PARLEY_TRY(sys::call<::ftruncate>(fd, off_t{page_bytes}));
  PARLEY_TRY(sys::call<::fcntl>(fd, F_ADD_SEALS, which));
  const int seals = PARLEY_TRY(sys::call<::fcntl>(fd, F_GET_SEALS));
  if ((seals & which) == which) return Fact{};
  return told(Presence::missing, "accepted, but not kept");
}

/// Makes an unnamed file in the directory and gives it a name, which is removed again.
auto tmpfile_in(const char* directory) -> Result<Fact> {
  const int fd = PARLEY_TRY(
      sys::call<::open>(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode_t{S_IRUSR | S_IWUSR}));
  std::array<char, 64> from{};
  std::array<char, PATH_MAX> to{};
  const long self = PARLEY_TRY(sys::call<::getpid>());
  static_cast<void>(std::snprintf(from.data(), from.size(), "/proc/self/fd/%d", fd));
  static_cast<void>(std::snprintf(to.data(), to.size(), "%s/.parley-doctor.%ld", directory, self));
  PARLEY_TRY(sys::call<::linkat>(AT_FDCWD, from.data(), AT_FDCWD, to.data(), AT_SYMLINK_FOLLOW));
  sys::release<::unlink>(to.data());
  return Fact{};
}

auto dev_shm() -> Result<struct statvfs> {
  struct statvfs status{};
  PARLEY_TRY(sys::call<::statvfs>("/dev/shm", &status));
  return status;
}

/// What Docker gives by default; a tour of a large file wants more.
constexpr std::uint64_t little_shared_memory = std::uint64_t{64} << 20;

}  // namespace

auto memfd_create() -> Result<Fact> {
  return memfd_flag(0);
}
auto memfd_noexec_seal() -> Result<Fact> {
  return memfd_flag(MFD_NOEXEC_SEAL);
}
auto memfd_exec() -> Result<Fact> {
  return memfd_flag(MFD_EXEC);
}
auto seal_shrink() -> Result<Fact> {
  return seal(F_SEAL_SHRINK);
}
auto seal_grow() -> Result<Fact> {
  return seal(F_SEAL_GROW);
}
auto seal_write() -> Result<Fact> {
  return seal(F_SEAL_WRITE);
}
auto seal_future_write() -> Result<Fact> {
  return seal(F_SEAL_FUTURE_WRITE);
}
auto seal_seal() -> Result<Fact> {
  return seal(F_SEAL_SEAL);
}
auto seal_exec() -> Result<Fact> {
  return seal(F_SEAL_EXEC);
}

auto memfd_hugetlb() -> Result<Fact> {
  constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
  const int fd = PARLEY_TRY(new_memfd(MFD_HUGETLB | MFD_HUGE_2MB));
  PARLEY_TRY(sys::call<::ftruncate>(fd, static_cast<off_t>(huge_page_bytes)));
  const auto mapped = sys::call<::mmap>(static_cast<void*>(nullptr), huge_page_bytes, PROT_READ,
                                        MAP_SHARED, fd, off_t{0});
  if (mapped) return Fact{};
  if (mapped.error() != Error::out_of_memory) return failure(mapped.error());
  return told(Presence::limited, "no huge page is free (/proc/sys/vm/nr_hugepages)");
}

auto memfd_secret() -> Result<Fact> {
#ifdef SYS_memfd_secret
  PARLEY_TRY(sys::call<::syscall>(long{SYS_memfd_secret}, unsigned{O_CLOEXEC}));
  return Fact{};
#else
  return failure(Error::no_such_call);
#endif
}

auto memfd_lock() -> Result<Fact> {
  const int fd = PARLEY_TRY(new_memfd(0));
  struct flock first_byte{};
  first_byte.l_type = F_WRLCK;
  first_byte.l_whence = SEEK_SET;
  first_byte.l_len = 1;
  PARLEY_TRY(sys::call<::fcntl>(fd, F_SETLK, &first_byte));
  const pid_t child = PARLEY_TRY(fork_quietly());
  if (child == 0) sys::release<::_exit>(sys::call<::fcntl>(fd, F_SETLK, &first_byte) ? 1 : 0);
  const int status = PARLEY_TRY(end_of(child));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Fact{};
  return told(Presence::missing, "accepted, but it excludes nobody");
}

/// The one that `os::object_path` chooses; where it is not there yet, what it is to be made in.
auto object_directory() -> Result<Fact> {
  std::array<char, PATH_MAX> path{};
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') {
    static_cast<void>(std::snprintf(path.data(), path.size(), "%s/parley", runtime));
  } else {
    static_cast<void>(std::snprintf(path.data(), path.size(), "/dev/shm/parley-%u", geteuid()));
  }
  struct stat status{};
  const auto there = sys::call<::lstat>(path.data(), &status);
  if (!there && there.error() != Error::not_found) return failure(there.error());
  Fact fact = told(Presence::present, "%s", path.data());
  if (!there) {
    path.at(std::string_view(path.data()).rfind('/')) = '\0';
  } else if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() ||
             (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return told(Presence::missing, "%s is not this user's own directory, mode 0700", path.data());
  }
  PARLEY_TRY(tmpfile_in(path.data()));
  return fact;
}

auto runtime_dir_tmpfile() -> Result<Fact> {
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  if (directory == nullptr) return told(Presence::missing, "XDG_RUNTIME_DIR is not set");
  return tmpfile_in(directory);
}
auto dev_shm_tmpfile() -> Result<Fact> {
  return tmpfile_in("/dev/shm");
}
auto tmp_tmpfile() -> Result<Fact> {
  return tmpfile_in("/tmp");
}

auto dev_shm_size() -> Result<Fact> {
  const auto status = PARLEY_TRY(dev_shm());
  return measured_at_least(std::uint64_t{status.f_blocks} * status.f_frsize, little_shared_memory);
}
auto dev_shm_free() -> Result<Fact> {
  const auto status = PARLEY_TRY(dev_shm());
  return measured_at_least(std::uint64_t{status.f_bavail} * status.f_frsize, little_shared_memory);
}

}  // namespace parley::os::probe
