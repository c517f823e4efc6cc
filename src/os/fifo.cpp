#include <parley/os/fifo.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <utility>

#include "os/file_permissions.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// How long a reader that may not wait looks whether there is a writer. Too short a time is no
/// harm: where there is one the call does not wait, so nothing interrupts it.
constexpr std::chrono::microseconds glance{100};

auto require_fifo(const struct stat& status) -> Result<void> {
  if (S_ISLNK(status.st_mode)) return failure(Error{ELOOP});
  if (!S_ISFIFO(status.st_mode)) return failure(Error::invalid);
  return {};
}

auto require_fifo(BorrowedFd fd) -> Result<void> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  return require_fifo(status);
}

/// The path by which what is behind an O_PATH descriptor is opened, and nothing else ever.
auto path_of(BorrowedFd fd) -> std::string {
  return "/proc/self/fd/" + std::to_string(fd.number());
}

auto open_once(BorrowedFd directory, const std::string& path, int flags) -> Result<OwnedFd> {
  return OwnedFd::from_number(
      PARLEY_TRY(sys::call<::openat>(directory.number(), path.c_str(), flags | O_CLOEXEC)));
}

/// An open that does not wait for a peer, made again where a signal of the program interrupts it.
auto open_without_peer(BorrowedFd directory, const std::string& path, int flags)
    -> Result<OwnedFd> {
  for (;;) {
    auto fd = open_once(directory, path, flags);
    if (fd || fd.error() != Error::interrupted) return fd;
  }
}

auto open_nonblocking(BorrowedFd fifo, int access_mode) -> Result<OwnedFd> {
  return open_without_peer(fifo, path_of(fifo), access_mode | O_NONBLOCK);
}

/// The blocking open, which is the rendezvous.
auto open_waiting(BorrowedFd fifo, int access_mode, Deadline deadline) -> Result<OwnedFd> {
  const std::string path = path_of(fifo);
  OwnedFd end = PARLEY_TRY(until(deadline, [&] { return open_once(fifo, path, access_mode); }));
  PARLEY_TRY(set_nonblocking(end, true));
  return end;
}

/// The blocking open of a reader that may not wait: interrupted at once where it would.
auto open_reader_if_writer(BorrowedFd fifo, Deadline deadline) -> Result<OwnedFd> {
  auto end = [&]() -> Result<OwnedFd> {
    const Alarm alarm = PARLEY_TRY(Alarm::set(Deadline::after(glance)));
    return open_once(fifo, path_of(fifo), O_RDONLY);
  }();
  if (!end && end.error() == Error::interrupted) return failure(deadline.error());
  if (end) PARLEY_TRY(set_nonblocking(*end, true));
  return end;
}

}  // namespace

auto Fifo::create(const std::string& path, FifoCreateOptions options) -> Result<Fifo> {
  PARLEY_TRY(sys::call<::mkfifoat>(options.directory.number(), path.c_str(), options.mode));
  auto fifo = open(path, {.directory = options.directory, .follow_link = false});
  if (!fifo) sys::release<::unlinkat>(options.directory.number(), path.c_str(), 0);
  return fifo;
}

auto Fifo::open(const std::string& path, FifoPathOptions options) -> Result<Fifo> {
  return adopt(PARLEY_TRY(
      open_without_peer(options.directory, path, O_PATH | (options.follow_link ? 0 : O_NOFOLLOW))));
}

auto Fifo::adopt(OwnedFd fd) -> Result<Fifo> {
  PARLEY_TRY(require_fifo(fd));
  return Fifo(std::move(fd));
}

auto Fifo::unlink(const std::string& path, BorrowedFd directory) -> Result<void> {
  struct stat status{};
  PARLEY_TRY(sys::call<::fstatat>(directory.number(), path.c_str(), &status, AT_SYMLINK_NOFOLLOW));
  PARLEY_TRY(require_fifo(status));
  PARLEY_TRY(sys::call<::unlinkat>(directory.number(), path.c_str(), 0));
  return {};
}

auto Fifo::reader(Deadline deadline) const -> Result<PipeReader> {
  // A non-blocking open always succeeds; were it closed again because nobody is there, a writer
  // that came in between would be left with a broken pipe. So it is always the blocking one.
  return PipeReader(PARLEY_TRY(deadline.has_passed() ? open_reader_if_writer(fd_, deadline)
                                                     : open_waiting(fd_, O_RDONLY, deadline)));
}

auto Fifo::lone_reader() const -> Result<PipeReader> {
  return PipeReader(PARLEY_TRY(open_nonblocking(fd_, O_RDONLY)));
}

auto Fifo::writer(Deadline deadline) const -> Result<PipeWriter> {
  constexpr Error no_reader{ENXIO};
  auto end = open_nonblocking(fd_, O_WRONLY);
  if (!end && end.error() == no_reader) end = open_waiting(fd_, O_WRONLY, deadline);
  return PipeWriter(PARLEY_TRY(std::move(end)));
}

auto Fifo::both_ends() const -> Result<FifoEnds> {
  PipeReader reader = PARLEY_TRY(lone_reader());
  PipeWriter writer(PARLEY_TRY(open_nonblocking(fd_, O_WRONLY)));
  return FifoEnds{.reader = std::move(reader), .writer = std::move(writer)};
}

auto Fifo::permissions() const -> Result<FilePermissions> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd_.number(), &status));
  return permissions_of(status);
}

auto Fifo::set_mode(mode_t mode) -> Result<void> {
  // Not fchmod, which takes no descriptor of O_PATH.
  PARLEY_TRY(sys::call<::chmod>(path_of(fd_).c_str(), mode));
  return {};
}

auto Fifo::set_owner(Owner owner) -> Result<void> {
  PARLEY_TRY(sys::call<::fchownat>(fd_.number(), "", owner.uid, owner.gid, AT_EMPTY_PATH));
  return {};
}

auto FifoDuplex::create(const std::string& path, FifoCreateOptions options) -> Result<FifoDuplex> {
  Fifo forth = PARLEY_TRY(Fifo::create(path + ".forth", options));
  auto back = Fifo::create(path + ".back", options);
  if (!back) {
    sys::release<::unlinkat>(options.directory.number(), (path + ".forth").c_str(), 0);
    return failure(back.error());
  }
  return FifoDuplex(std::move(forth), *std::move(back));
}

auto FifoDuplex::open(const std::string& path, FifoPathOptions options) -> Result<FifoDuplex> {
  Fifo forth = PARLEY_TRY(Fifo::open(path + ".forth", options));
  Fifo back = PARLEY_TRY(Fifo::open(path + ".back", options));
  return FifoDuplex(std::move(forth), std::move(back));
}

auto FifoDuplex::unlink(const std::string& path, BorrowedFd directory) -> Result<void> {
  const auto forth = Fifo::unlink(path + ".forth", directory);
  const auto back = Fifo::unlink(path + ".back", directory);
  return forth ? back : forth;
}

auto FifoDuplex::first_side(Deadline deadline) const -> Result<FifoEnds> {
  PipeWriter writer = PARLEY_TRY(forth_.writer(deadline));
  PipeReader reader = PARLEY_TRY(back_.reader(deadline));
  return FifoEnds{.reader = std::move(reader), .writer = std::move(writer)};
}

auto FifoDuplex::second_side(Deadline deadline) const -> Result<FifoEnds> {
  PipeReader reader = PARLEY_TRY(forth_.reader(deadline));
  PipeWriter writer = PARLEY_TRY(back_.writer(deadline));
  return FifoEnds{.reader = std::move(reader), .writer = std::move(writer)};
}

}  // namespace parley::os
