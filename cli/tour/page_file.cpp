#include "tour/page_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "terminal.hpp"

namespace parley::cli {

auto PageFile::open(const std::string& path, const Original& original)
    -> std::expected<PageFile, std::string> {
  // Non-blocking while it is opened: a FIFO that nobody reads is an error and not a wait.
  constexpr int flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  constexpr mode_t mode = 0666;
  bool is_new = true;
  auto fd = os::OwnedFd::from_number(::open(path.c_str(), flags | O_CREAT | O_EXCL, mode));
  if (!fd.is_open() && last_error() == Error::exists) {
    is_new = false;
    fd = os::OwnedFd::from_number(::open(path.c_str(), flags | O_CREAT, mode));
  }
  if (!fd.is_open()) return std::unexpected(message(last_error()));
  PageFile file(std::move(fd), path, is_new);
  struct stat status{};
  if (fstat(file.fd_.number(), &status) != 0) return std::unexpected(message(last_error()));
  if (original.is_same_file(status)) return std::unexpected("is the file that is toured");
  const auto set = os::set_nonblocking(file.fd_, false);
  if (!set) return std::unexpected(message(set.error()));
  return file;
}

PageFile::~PageFile() {
  if (is_new_) unlink(path_.c_str());
}

auto PageFile::write(std::string_view page) -> Result<void> {
  struct stat status{};
  if (fstat(fd_.number(), &status) != 0) return failure(last_error());
  if (S_ISREG(status.st_mode) && ftruncate(fd_.number(), 0) != 0) return failure(last_error());
  PARLEY_TRY(write_all(fd_, page));
  // Some filesystems tell only now that they are full.
  if (S_ISREG(status.st_mode) && fsync(fd_.number()) != 0) return failure(last_error());
  is_new_ = false;
  return {};
}

}  // namespace parley::cli
