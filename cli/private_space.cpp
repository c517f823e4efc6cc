#include "private_space.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
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

/// Makes it where it is missing; nobody else can put anything in it.
auto own_directory(const std::string& directory, mode_t mode) -> Result<std::string> {
  if (mkdir(directory.c_str(), S_IRWXU) == 0 && chmod(directory.c_str(), mode) != 0) {
    return failure(last_error());
  }
  struct stat status{};
  if (lstat(directory.c_str(), &status) != 0) return failure(last_error());
  const bool is_own = S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
                      (status.st_mode & (S_IRWXG | S_IRWXO) & ~mode) == 0;
  return is_own ? Result<std::string>(directory) : failure(Error::access_denied);
}

enum class For { this_user, others_too };

/// Where objects with bare names are; where that cannot be had, in /tmp. What others may enter is
/// where they can go, if they know the name.
auto directory_of_spaces(For whom) -> Result<std::string> {
  const auto user = std::to_string(geteuid());
  if (whom == For::others_too) {
    constexpr mode_t unlisted = S_IRWXU | S_IXGRP | S_IXOTH;
    const auto in_memory = own_directory("/dev/shm/parley-run-" + user, unlisted);
    return in_memory ? in_memory : own_directory("/tmp/parley-run-" + user, unlisted);
  }
  // This makes the directory, too.
  if (const auto own = Space::own_path()) {
    return std::filesystem::path(*own).parent_path().string();
  }
  return own_directory("/tmp/parley-" + user, S_IRWXU);
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

auto PrivateSpace::create(const SpaceOptions& options) -> Result<PrivateSpace> {
  const bool shared = (options.mode & (S_IRWXG | S_IRWXO)) != 0;
  const auto directory = PARLEY_TRY(directory_of_spaces(shared ? For::others_too : For::this_user));
  // One that is made and not yet kept is not seen by others.
  const auto alone = PARLEY_TRY(lock(directory, LOCK_EX));
  for (const auto& found : find_in(directory)) {
    if (!found.is_kept) remove_all(found.path);
  }
  std::string path = directory + '/' + std::string(prefix) + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return failure(last_error());
  auto kept = lock(path, LOCK_EX | LOCK_NB);
  if (kept) {
    const bool is_open = chmod(path.c_str(), options.mode) == 0;
    const auto made = is_open ? Space::open_or_create(path, options) : failure(last_error());
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
  std::vector<FoundPrivateSpace> all;
  for (const auto whom : {For::this_user, For::others_too}) {
    const auto directory = PARLEY_TRY(directory_of_spaces(whom));
    // Not while one is being made.
    const auto alone = PARLEY_TRY(lock(directory, LOCK_EX));
    std::ranges::move(find_in(directory), std::back_inserter(all));
  }
  return all;
}

}  // namespace parley::cli
