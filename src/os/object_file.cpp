#include "os/object_file.hpp"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include <cstdlib>

#include "os/seals.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// Makes the directory where it is missing, and sees that nobody else can put anything in it.
auto own_directory(const std::string& path) -> Result<void> {
  const auto made = sys::call<sys::make_directory>(path.c_str(), mode_t{0700});
  if (!made && made.error() != Error::exists) return failure(made.error());
  struct stat status{};
  PARLEY_TRY(sys::call<sys::link_status>(path.c_str(), &status));
  const bool own = S_ISDIR(status.st_mode) && status.st_uid == sys::user_id() &&
                   (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  return own ? Result<void>() : failure(Error::access_denied);
}

/// fallocate(2) gives back what it got when a signal comes.
auto allocate(BorrowedFd file, int mode, std::size_t from_bytes, std::size_t to_bytes)
    -> Result<void> {
  PARLEY_TRY(until(Deadline::never(), [&] {
    return sys::call<::fallocate>(file.number(), mode, static_cast<off_t>(from_bytes),
                                  static_cast<off_t>(to_bytes - from_bytes));
  }));
  return {};
}

auto directory_of(const std::string& path) -> std::string {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Why there is no object to open. `not_found` means that the name can be given to one, which is
/// not so for a link that leads nowhere.
auto why_not_open(const std::string& path, Error error) -> Error {
  // What open(2) says of directories, of sockets, and of devices that nobody drives.
  const bool not_a_file = error == static_cast<Error>(EISDIR) ||
                          error == static_cast<Error>(ENXIO) || error == static_cast<Error>(ENODEV);
  if (not_a_file) return Error::invalid;
  if (error != Error::not_found) return error;
  struct stat status{};
  const auto found = sys::call<sys::link_status>(path.c_str(), &status);
  if (!found) return found.error();
  return S_ISLNK(status.st_mode) ? Error::invalid : error;
}

/// One hexadecimal digit; 16 for anything else.
auto digit(char c) -> unsigned {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  return 16;
}

}  // namespace

auto object_directory() -> std::string {
  // A program with more rights than its caller does not go where that one says.
  const char* const runtime = secure_getenv("XDG_RUNTIME_DIR");  // NOLINT(concurrency-mt-unsafe)
  return runtime != nullptr && runtime[0] == '/'
             ? std::string(runtime) + "/parley"
             : "/dev/shm/parley-" + std::to_string(sys::user_id());
}

auto object_path(std::string_view name) -> Result<std::string> {
  if (name.empty() || name == "." || name == ".." || name.contains('\0')) {
    return failure(Error::invalid);
  }
  if (name.contains('/')) return std::string(name);
  const std::string directory = object_directory();
  PARLEY_TRY(own_directory(directory));
  return directory + "/" + std::string(name);
}

auto create_unnamed(const std::string& path, mode_t mode) -> Result<OwnedFd> {
  constexpr int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
  auto file =
      OwnedFd::from_number(PARLEY_TRY(sys::call<::open>(directory_of(path).c_str(), flags, mode)));
  PARLEY_TRY(sys::call<sys::change_mode_of>(file.number(), mode));
  return file;
}

auto create_memory(const char* name) -> Result<OwnedFd> {
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::memfd_create>(name, unsigned{MFD_CLOEXEC | MFD_ALLOW_SEALING})));
}

auto set_size(BorrowedFd file, std::size_t size_bytes) -> Result<void> {
  const auto sized = until(Deadline::never(), [&] {
    return sys::call<::ftruncate>(file.number(), static_cast<off_t>(size_bytes));
  });
  if (sized) return {};
  return failure(sized.error() == static_cast<Error>(EFBIG) ? Error::no_space : sized.error());
}

auto reserve(BorrowedFd file, std::size_t size_bytes) -> Result<void> {
  PARLEY_TRY(set_size(file, size_bytes));
  return allocate(file, 0, 0, size_bytes);
}

auto back(BorrowedFd file, std::size_t from_bytes, std::size_t to_bytes) -> Result<void> {
  return allocate(file, 0, from_bytes, to_bytes);
}

void give_back(BorrowedFd file, std::size_t from_bytes, std::size_t to_bytes) noexcept {
  sys::release<::fallocate>(file.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            static_cast<off_t>(from_bytes),
                            static_cast<off_t>(to_bytes - from_bytes));
}

auto extend(BorrowedFd file, std::size_t from_bytes, std::size_t to_bytes) -> Result<void> {
  // The memory first: some filesystems move the end along with every part that they got.
  PARLEY_TRY(allocate(file, FALLOC_FL_KEEP_SIZE, from_bytes, to_bytes));
  return allocate(file, 0, from_bytes, to_bytes);
}

auto require_machine_has(std::size_t size_bytes) -> Result<void> {
  struct sysinfo machine{};
  PARLEY_TRY(sys::call<::sysinfo>(&machine));
  const auto units = std::uint64_t{machine.totalram} + machine.totalswap;
  return size_bytes / machine.mem_unit < units ? Result<void>() : failure(Error::no_space);
}

auto publish(BorrowedFd file, const std::string& path) -> Result<void> {
  const auto unnamed = "/proc/self/fd/" + std::to_string(file.number());
  PARLEY_TRY(sys::call<::linkat>(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(),
                                 int{AT_SYMLINK_FOLLOW}));
  return {};
}

auto unlink_object(const std::string& path) -> Result<void> {
  PARLEY_TRY(sys::call<sys::remove_file>(path.c_str()));
  return {};
}

auto open_object(const std::string& path, Access access) -> Result<OwnedFd> {
  // O_NONBLOCK: a FIFO of that name must not hold us up.
  const int flags =
      (access == Access::read_write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  const auto opened = sys::call<::open>(path.c_str(), flags, mode_t{0});
  if (opened) return OwnedFd::from_number(*opened);
  return failure(why_not_open(path, opened.error()));
}

auto reopen_read_only(BorrowedFd fd) -> Result<OwnedFd> {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.number());
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::open>(path.c_str(), O_RDONLY | O_CLOEXEC, mode_t{0})));
}

auto object_status(BorrowedFd fd) -> Result<ObjectFileStatus> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  const int flags = PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL));
  const int access = flags & O_ACCMODE;
  if (!S_ISREG(status.st_mode) || access == O_WRONLY || (flags & O_PATH) != 0) {
    return failure(Error::invalid);
  }
  const auto seals = seals_of(fd);
  // `invalid`: a file of a filesystem that has no seals.
  if (!seals && seals.error() != Error::invalid) return failure(seals.error());
  return ObjectFileStatus{.size_bytes = static_cast<std::size_t>(status.st_size),
                          .page_bytes = static_cast<std::size_t>(status.st_blksize),
                          .memory_bytes = static_cast<std::size_t>(status.st_blocks) * 512,
                          .mode = status.st_mode & 07777,
                          .owner = status.st_uid,
                          .group = status.st_gid,
                          .inode = status.st_ino,
                          .access = access == O_RDWR ? Access::read_write : Access::read_only,
                          .may_shrink = !seals || !seals->shrink};
}

auto object_identity(BorrowedFd fd) -> Result<FileIdentity> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  return FileIdentity{.device = status.st_dev, .inode = status.st_ino};
}

auto read_object(BorrowedFd fd, std::size_t offset, std::span<std::byte> into)
    -> Result<std::size_t> {
  std::size_t size = 0;
  while (size < into.size()) {
    const auto rest = into.subspan(size);
    const auto count = PARLEY_TRY(until(Deadline::never(), [&] {
      return sys::call<::pread>(fd.number(), rest.data(), rest.size(),
                                static_cast<off_t>(offset + size));
    }));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  return size;
}

auto boot_id() -> std::array<std::byte, 16> {
  std::array<std::byte, 16> id{};
  const auto opened = sys::call<::open>("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
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
