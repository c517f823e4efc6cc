#include "os/directory.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <memory>

#include "os/object_file.hpp"
#include "os/sys.hpp"

namespace parley::os {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { sys::release<::closedir>(directory); }
};

auto unlink_all(const std::string& path) -> Result<void> {
  const std::unique_ptr<DIR, CloseDirectory> directory(
      PARLEY_TRY(sys::call<::opendir>(path.c_str())));
  while (const dirent* const entry = readdir(directory.get())) {  // NOLINT(concurrency-mt-unsafe)
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    const auto unlinked = unlink_object(path + '/' + std::string(name));
    if (!unlinked && unlinked.error() != Error::not_found) return unlinked;
  }
  return {};
}

}  // namespace

auto make_directory(const std::string& path, mode_t mode) -> Result<void> {
  const auto made = sys::call<sys::make_directory>(path.c_str(), mode_t{0700});
  if (!made && made.error() != Error::exists) return failure(made.error());
  if (made) PARLEY_TRY(sys::call<sys::change_mode>(path.c_str(), mode));
  PARLEY_TRY(directory_mode(path));
  return {};
}

auto directory_mode(const std::string& path) -> Result<mode_t> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::path_status>(path.c_str(), &status));
  return S_ISDIR(status.st_mode) ? Result<mode_t>(status.st_mode & 07777) : failure(Error::invalid);
}

auto remove_directory(const std::string& path) -> Result<void> {
  PARLEY_TRY(unlink_all(path));
  PARLEY_TRY(sys::call<sys::remove_directory>(path.c_str()));
  return {};
}

auto publish_small_file(const std::string& path, std::string_view text, mode_t mode)
    -> Result<void> {
  const auto file = PARLEY_TRY(create_unnamed(path, mode));
  const auto written = PARLEY_TRY(
      sys::call<::write>(file.number(), static_cast<const void*>(text.data()), text.size()));
  if (written != static_cast<ssize_t>(text.size())) return failure(Error::no_space);
  return publish(file, path);
}

}  // namespace parley::os
