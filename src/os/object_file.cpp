#include "os/object_file.hpp"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cstdlib>

#include "os/sys.hpp"

namespace parley::os {
namespace {

/// Makes the directory where it is missing, and sees that nobody else can put anything in it.
auto own_directory(const std::string& path) -> Result<void> {
  const auto made = sys::call<::mkdir>(path.c_str(), mode_t{0700});
  if (!made && made.error() != Error::exists) return failure(made.error());
  struct stat status{};
  PARLEY_TRY(sys::call<::lstat>(path.c_str(), &status));
  const bool own = S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
                   (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  return own ? Result<void>() : failure(Error::access_denied);
}

auto directory_of(const std::string& path) -> std::string {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// One hexadecimal digit; 16 for anything else.
auto digit(char c) -> unsigned {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  return 16;
}

}  // namespace

auto object_path(std::string_view name) -> Result<std::string> {
  if (name.empty() || name == "." || name == "..") return failure(Error::invalid);
  if (name.contains('/')) return std::string(name);
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");  // NOLINT(concurrency-mt-unsafe)
  const std::string directory = runtime != nullptr && runtime[0] == '/'
                                    ? std::string(runtime) + "/parley"
                                    : "/dev/shm/parley-" + std::to_string(geteuid());
  PARLEY_TRY(own_directory(directory));
  return directory + "/" + std::string(name);
}

auto create_unnamed(const std::string& path, mode_t mode) -> Result<OwnedFd> {
  constexpr int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
  auto file = OwnedFd::from_number(
      PARLEY_TRY(sys::call<::open>(directory_of(path).c_str(), flags, mode)));
  PARLEY_TRY(sys::call<::fchmod>(file.number(), mode));
  return file;
}

auto create_memory(const char* name) -> Result<OwnedFd> {
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::memfd_create>(name, unsigned{MFD_CLOEXEC | MFD_ALLOW_SEALING})));
}

auto reserve(BorrowedFd file, std::size_t size_bytes) -> Result<void> {
  const auto size = static_cast<off_t>(size_bytes);
  PARLEY_TRY(sys::call<::ftruncate>(file.number(), size));
  PARLEY_TRY(sys::call<::fallocate>(file.number(), 0, off_t{0}, size));
  return {};
}

auto seal_size(BorrowedFd memory) -> Result<void> {
  PARLEY_TRY(sys::call<::fcntl>(memory.number(), F_ADD_SEALS,
                                int{F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL}));
  return {};
}

auto publish(BorrowedFd file, const std::string& path) -> Result<void> {
  const auto unnamed = "/proc/self/fd/" + std::to_string(file.number());
  PARLEY_TRY(sys::call<::linkat>(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(),
                                 int{AT_SYMLINK_FOLLOW}));
  return {};
}

auto unlink_object(const std::string& path) -> Result<void> {
  PARLEY_TRY(sys::call<::unlink>(path.c_str()));
  return {};
}

auto open_object(const std::string& path) -> Result<OwnedFd> {
  // O_NONBLOCK: a FIFO of that name must not hold us up.
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::open>(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)));
}

auto object_status(BorrowedFd fd) -> Result<ObjectFileStatus> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  const int flags = PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL));
  if (!S_ISREG(status.st_mode) || (flags & O_ACCMODE) != O_RDWR) return failure(Error::invalid);
  constexpr int needed = F_SEAL_SHRINK | F_SEAL_GROW;
  const auto seals = sys::call<::fcntl>(fd.number(), F_GET_SEALS);
  return ObjectFileStatus{.size_bytes = static_cast<std::size_t>(status.st_size),
                          .inode = status.st_ino,
                          .sealed = seals && (*seals & needed) == needed};
}

auto boot_id() -> std::array<std::byte, 16> {
  std::array<std::byte, 16> id{};
  const auto opened =
      sys::call<::open>("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (!opened) return id;
  const auto file = OwnedFd::from_number(*opened);
  std::array<char, 36> text{};
  const auto got = sys::call<::read>(file.number(), text.data(), text.size());
  if (!got || *got != static_cast<ssize_t>(text.size())) return id;
  std::size_t nibble = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const unsigned value = digit(c);
    if (value > 15 || nibble / 2 >= id.size()) return {};
    id[nibble / 2] |= static_cast<std::byte>(nibble % 2 == 0 ? value << 4U : value);
    ++nibble;
  }
  return id;
}

auto random_bytes() -> Result<std::array<std::byte, 16>> {
  std::array<std::byte, 16> bytes{};
  const auto got = PARLEY_TRY(sys::call<::getrandom>(bytes.data(), bytes.size(), 0U));
  if (got != static_cast<ssize_t>(bytes.size())) return failure(Error::io);
  return bytes;
}

}  // namespace parley::os
