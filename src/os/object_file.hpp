// The file of a named object: whole before it has its name, in a place that is its user's own.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// Where objects with a bare name are: `$XDG_RUNTIME_DIR/parley`, or where that variable is not set
/// `/dev/shm/parley-UID`.
auto object_directory() -> std::string;

/// The path that an object's name stands for: the name itself if there is a slash in it, else a
/// file of that name in `$XDG_RUNTIME_DIR/parley`, or where that variable is not set in
/// `/dev/shm/parley-UID`. Such a directory is made where it is missing, mode 0700; `access_denied`
/// if it is not this user's own alone. `invalid` for an empty name, `.` and `..`, and for a zero in
/// it.
auto object_path(std::string_view name) -> Result<std::string>;

/// An empty file without a name in the directory of `path`, open for reading and writing. Its mode
/// is `mode`, without the umask. `not_supported` where the filesystem has no O_TMPFILE.
auto create_unnamed(const std::string& path, mode_t mode) -> Result<OwnedFd>;

/// Memory without a name, to be sealed. memfd_create(2); the name is for people.
auto create_memory(const char* name) -> Result<OwnedFd>;

/// Gives an empty file its size, with memory behind every byte: `no_space` now, no SIGBUS later.
auto reserve(BorrowedFd file, std::size_t size_bytes) -> Result<void>;

/// Gives an empty file its size, as one hole.
auto set_size(BorrowedFd file, std::size_t size_bytes) -> Result<void>;

/// Has memory behind a part of a file, within its size. `no_space` where there is none.
auto back(BorrowedFd file, std::size_t from_bytes, std::size_t to_bytes) -> Result<void>;

/// Makes a part of a file a hole, where the filesystem can: it reads as zeros then.
void give_back(BorrowedFd file, std::size_t from_bytes, std::size_t to_bytes) noexcept;

/// Makes a file longer, with memory behind every byte. `no_space` before its size has changed.
auto extend(BorrowedFd file, std::size_t from_bytes, std::size_t to_bytes) -> Result<void>;

/// `no_space` for more memory than this machine has at all: to reserve it would not fail, but end
/// in the kernel killing processes. (A filesystem has its own limit.) sysinfo(2)
auto require_machine_has(std::size_t size_bytes) -> Result<void>;

/// Gives it its name, in one step. `exists` if the name is taken. linkat(2)
auto publish(BorrowedFd file, const std::string& path) -> Result<void>;

auto unlink_object(const std::string& path) -> Result<void>;

enum class Access { read_only, read_write };

/// Opens an object's file. `invalid` for a directory, a socket, and a link that leads nowhere.
auto open_object(const std::string& path, Access access) -> Result<OwnedFd>;

/// A descriptor of the same object that cannot write. Needs /proc.
auto reopen_read_only(BorrowedFd fd) -> Result<OwnedFd>;

struct ObjectFileStatus {
  std::size_t size_bytes;
  std::size_t page_bytes;    ///< Of memory made of huge pages; else what the filesystem says.
  std::size_t memory_bytes;  ///< That it has taken from the system.
  mode_t mode;               ///< The permissions alone.
  uid_t owner;
  gid_t group;
  std::uint64_t inode;
  Access access;
  bool may_shrink;  ///< Anything but memory that is sealed against it.
};

/// `invalid` if it is neither a file nor memory, or cannot be read.
auto object_status(BorrowedFd fd) -> Result<ObjectFileStatus>;

/// What tells a file from all others that exist at the same time.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;

  auto operator==(const FileIdentity&) const noexcept -> bool = default;
};

auto object_identity(BorrowedFd fd) -> Result<FileIdentity>;

/// As many bytes as there are from an offset on, and as fit. pread(2)
auto read_object(BorrowedFd fd, std::size_t offset, std::span<std::byte> into)
    -> Result<std::size_t>;

/// Which start of the system this is; zeros where /proc does not tell. Bytes of a UUID.
auto boot_id() -> std::array<std::byte, 16>;

/// 16 bytes that nobody else has. getrandom(2)
auto random_bytes() -> Result<std::array<std::byte, 16>>;

}  // namespace parley::os
