// shm_open(3), shm_unlink(3): files in the space.
#include <sys/mman.h>

#include "export.hpp"
#include "posix_names.hpp"

namespace parley::compat {
namespace {

auto open_memory(const char* name, int flags, mode_t mode) -> int {
  const auto path = memory_path(name);
  if (!path) return fail(path.error());
  const NoCancel no_cancel;
  const int fd = open(path->c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
  return fd < 0 && errno == EISDIR ? fail(EINVAL) : fd;
}

auto unlink_memory(const char* name) -> int {
  const auto path = memory_path(name);
  // The C library's word for a name that cannot be one.
  if (!path) return fail(path.error() == Error::invalid ? Error::not_found : path.error());
  const auto done = unlink_file(*path);
  return done ? 0 : fail(done.error());
}

}  // namespace
}  // namespace parley::compat

PARLEY_COMPAT auto shm_open(const char* name, int flags, mode_t mode) -> int {
  return parley::compat::open_memory(name, flags, mode);
}

PARLEY_COMPAT auto shm_unlink(const char* name) -> int {
  return parley::compat::unlink_memory(name);
}
