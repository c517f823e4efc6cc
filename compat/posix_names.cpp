#include "posix_names.hpp"

#include <unistd.h>

#include <climits>
#include <string_view>

namespace parley::compat {
namespace {

/// As shm_open(3) of the C library sees a name, and sem_open(3), which puts something before it.
auto path_in(const char* name, std::string (Space::*folder)() const, const char* prefix)
    -> Result<std::string> {
  const Space* const space = compat::space();
  if (space == nullptr) return failure(Error::no_such_call);
  std::string_view rest(name);
  while (rest.starts_with('/')) rest.remove_prefix(1);
  // Longer ones than the C library has room for.
  const std::size_t longest =
      NAME_MAX + sizeof "sem." - sizeof "" - std::string_view(prefix).size();
  if (rest.empty() || rest.contains('/') || rest.size() > longest) return failure(Error::invalid);
  return (space->*folder)() + prefix + std::string(rest);
}

}  // namespace

auto queue_path(const char* name) -> Result<std::string> {
  const Space* const space = compat::space();
  if (space == nullptr) return failure(Error::no_such_call);
  std::string_view rest(name);
  if (!rest.starts_with('/')) return failure(Error::invalid);
  rest.remove_prefix(1);
  if (rest.empty()) return failure(Error::not_found);
  if (rest.contains('/') || rest == "." || rest == "..") return failure(Error::access_denied);
  if (rest.size() > NAME_MAX) return failure(Error::name_too_long);
  return space->posix_queues() + std::string(rest);
}

auto semaphore_path(const char* name) -> Result<std::string> {
  return path_in(name, &Space::posix_semaphores, "sem.");
}

auto memory_path(const char* name) -> Result<std::string> {
  return path_in(name, &Space::posix_memory, "");
}

auto unlink_file(const std::string& path) -> Result<void> {
  if (unlink(path.c_str()) == 0) return {};
  return failure(errno == EPERM ? Error::access_denied : last_error());
}

auto create_file(const std::string& path, mode_t mode) -> Result<os::OwnedFd> {
  const auto directory = path.substr(0, path.rfind('/'));
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
  if (fd < 0) return failure(last_error());
  return os::OwnedFd::from_number(fd);
}

auto link_file(os::BorrowedFd file, const std::string& path) -> Result<void> {
  const auto unnamed = "/proc/self/fd/" + std::to_string(file.number());
  if (linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
  return failure(last_error());
}

}  // namespace parley::compat
