#include "private_space.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace parley::cli {
namespace {

using os::OwnedFd;

constexpr std::string_view prefix = "run.";

/// Locks a directory until the descriptor is closed by all who have it.
auto lock(const std::string& directory, int operation) -> Result<OwnedFd> {
  auto fd = OwnedFd::from_number(
      open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.is_open()) return failure(last_error());
  while (flock(fd.number(), operation) != 0) {
    if (errno != EINTR) return failure(last_error());
  }
  return fd;
}

/// Where objects with bare names are; where that cannot be had, in /tmp.
auto directory_of_spaces() -> Result<std::string> {
  // This makes the directory, too.
  const auto own = Space::own_path();
  if (own) return std::filesystem::path(*own).parent_path().string();
  auto directory = "/tmp/parley-" + std::to_string(geteuid());
  mkdir(directory.c_str(), S_IRWXU);
  struct stat status{};
  if (lstat(directory.c_str(), &status) != 0) return failure(own.error());
  const bool is_own = S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
                      (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  return is_own ? Result<std::string>(directory) : failure(Error::access_denied);
}

void remove_all(const std::string& path) {
  std::error_code gone_already;
  std::filesystem::remove_all(path, gone_already);
}

auto find_in(const std::string& directory) -> std::vector<FoundPrivateSpace> {
  std::vector<FoundPrivateSpace> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    const auto locked = lock(entry.path().string(), LOCK_EX | LOCK_NB);
    const bool is_kept = !locked && locked.error() == Error::would_block;
    if (locked || is_kept) found.push_back({.path = entry.path().string(), .is_kept = is_kept});
  }
  std::ranges::sort(found, {}, &FoundPrivateSpace::path);
  return found;
}

}  // namespace

auto PrivateSpace::create(const SpaceLimits& limits) -> Result<PrivateSpace> {
  const auto directory = PARLEY_TRY(directory_of_spaces());
  // One that is made and not yet kept is not seen by others.
  const auto alone = PARLEY_TRY(lock(directory, LOCK_EX));
  for (const auto& found : find_in(directory)) {
    if (!found.is_kept) remove_all(found.path);
  }
  std::string path = directory + '/' + std::string(prefix) + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return failure(last_error());
  auto kept = lock(path, LOCK_EX | LOCK_NB);
  if (kept) {
    const auto made = Space::open_or_create(path, {.limits = limits});
    if (made) return PrivateSpace(std::move(path), *std::move(kept));
    kept = failure(made.error());
  }
  remove_all(path);
  return failure(kept.error());
}

void PrivateSpace::remove() const {
  remove_all(path_);
}

auto find_private_spaces() -> Result<std::vector<FoundPrivateSpace>> {
  const auto directory = PARLEY_TRY(directory_of_spaces());
  // Not while one is being made.
  const auto alone = PARLEY_TRY(lock(directory, LOCK_EX));
  return find_in(directory);
}

}  // namespace parley::cli
