// The file of a named object: whole before it has its name, in a place that is its user's own.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// The path that an object's name stands for: the name itself if there is a slash in it, else a
/// file of that name in `$XDG_RUNTIME_DIR/parley`, or where that variable is not set in
/// `/dev/shm/parley-UID`. Such a directory is made where it is missing, mode 0700; `access_denied`
/// if it is not this user's own alone. `invalid` for an empty name, `.` and `..`.
auto object_path(std::string_view name) -> Result<std::string>;

/// An empty file without a name in the directory of `path`, open for reading and writing. Its mode
/// is `mode`, without the umask. `not_supported` where the filesystem has no O_TMPFILE.
auto create_unnamed(const std::string& path, mode_t mode) -> Result<OwnedFd>;

/// Memory without a name, for `seal_size`. memfd_create(2); the name is for people.
auto create_memory(const char* name) -> Result<OwnedFd>;

/// Gives an empty file its size, with memory behind every byte: `no_space` now, no SIGBUS later.
auto reserve(BorrowedFd file, std::size_t size_bytes) -> Result<void>;

/// Nobody can make the memory shorter or longer any more.
auto seal_size(BorrowedFd memory) -> Result<void>;

/// Gives it its name, in one step. `exists` if the name is taken. linkat(2)
auto publish(BorrowedFd file, const std::string& path) -> Result<void>;

auto unlink_object(const std::string& path) -> Result<void>;

/// Opens an object's file for reading and writing. `invalid` if it is not a regular file.
auto open_object(const std::string& path) -> Result<OwnedFd>;

struct ObjectFileStatus {
  std::size_t size_bytes;
  std::uint64_t inode;
  bool sealed;  ///< A memfd that nobody can shrink or grow.
};

/// `invalid` if it is neither a file nor memory, or not open for reading and writing.
auto object_status(BorrowedFd fd) -> Result<ObjectFileStatus>;

/// Which start of the system this is; zeros where /proc does not tell. Bytes of a UUID.
auto boot_id() -> std::array<std::byte, 16>;

/// 16 bytes that nobody else has. getrandom(2)
auto random_bytes() -> Result<std::array<std::byte, 16>>;

}  // namespace parley::os
