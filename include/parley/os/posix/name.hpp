// The names of POSIX semaphores, message queues and shared memory objects.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <parley/error.hpp>

namespace parley::os::posix {

enum class NameKind { message_queue, semaphore, shared_memory };

/// How many bytes may follow the slash: 255, and 251 for a semaphore, whose file is named "sem.…".
constexpr auto longest_name_bytes(NameKind kind) noexcept -> std::size_t {
  constexpr std::size_t name_max = 255;
  return kind == NameKind::semaphore ? name_max - 4 : name_max;
}

/// A POSIX name looks like a path and is not one: "/jobs" is no file of the root directory, has no
/// directories, and each kind of object has its own names. It is one slash and then anything but
/// slashes. (On Linux the objects can be seen in /dev/shm, and queues where a mqueue filesystem is
/// mounted; their permissions are those of files.) Every process of the same mount namespace (for
/// queues: of the same IPC namespace) sees the same names, and may take the one that you meant
/// before you do.
///
/// Returns the name as the C calls take it. `invalid` without the slash at the start, with a second
/// one, with nothing after it, with "." or "..", or with a NUL within; `name_too_long`. The C
/// library and the kernel have a different set of errors for each kind; here it is one.
auto checked_name(NameKind kind, std::string_view name) -> Result<std::string>;

}  // namespace parley::os::posix
