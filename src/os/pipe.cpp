#include <parley/os/pipe.hpp>

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <array>
#include <climits>

#include "os/sigpipe.hpp"
#include "os/small_file.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// The fcntl access mode of a pipe or FIFO; `invalid` for any other kind of descriptor.
auto access_mode(BorrowedFd fd) -> Result<int> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  if (!S_ISFIFO(status.st_mode)) return failure(Error::invalid);
  return PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL)) & O_ACCMODE;
}

auto splice_flags(SpliceOptions options) -> unsigned {
  return SPLICE_F_NONBLOCK | (options.more_will_follow ? SPLICE_F_MORE : 0U) |
         (options.move_pages ? SPLICE_F_MOVE : 0U);
}

/// SPLICE_F_NONBLOCK holds for pipes: a socket or terminal that is not O_NONBLOCK itself would be
/// waited for past the deadline.
auto require_nonblocking(BorrowedFd other, Deadline deadline) -> Result<void> {
  if (deadline.is_never() || PARLEY_TRY(is_nonblocking(other))) return {};
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(other.number(), &status));
  if (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode)) return {};
  return failure(Error::invalid);
}

/// Since Linux 6.18 a write can ask for no SIGPIPE; before, the signal is blocked and taken back.
constexpr int rwf_nosignal = 0x100;

auto write_once(BorrowedFd fd, std::span<const std::byte> bytes) -> Result<std::size_t> {
  static thread_local bool kernel_has_nosignal = true;
  if (kernel_has_nosignal) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): iovec serves both directions.
    const iovec area{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    const auto written = sys::call<::pwritev2>(fd.number(), &area, 1, off_t{-1}, rwf_nosignal);
    if (written) return static_cast<std::size_t>(*written);
    if (written.error() != Error::not_supported && written.error() != Error::no_such_call) {
      return failure(written.error());
    }
    kernel_has_nosignal = false;
  }
  const SigpipeGuard guard;
  return static_cast<std::size_t>(
      PARLEY_TRY(sys::call<::write>(fd.number(), bytes.data(), bytes.size())));
}

/// Waits until neither side of a splice stands in the way: only one of them is known to be ready.
auto wait_both(BorrowedFd from, BorrowedFd to, Deadline deadline) -> Result<void> {
  PARLEY_TRY(wait_ready(from, POLLIN, deadline));
  PARLEY_TRY(wait_ready(to, POLLOUT, deadline));
  return {};
}

/// splice or tee, whichever `move` is, until it has moved something.
template <class Move>
auto move_when_ready(BorrowedFd from, BorrowedFd to, Deadline deadline, Move move)
    -> Result<std::size_t> {
  for (;;) {
    const Result<ssize_t> moved = [&] {
      const SigpipeGuard guard;
      return move();
    }();
    if (moved) return static_cast<std::size_t>(*moved);
    if (moved.error() == Error::would_block) {
      PARLEY_TRY(wait_both(from, to, deadline));
    } else if (moved.error() != Error::interrupted) {
      return failure(moved.error());
    }
  }
}

}  // namespace

auto pipe_limits() -> Result<PipeLimits> {
  PipeLimits limits{};
  limits.capacity_bytes = PARLEY_TRY(read_number("/proc/sys/fs/pipe-max-size"));
  limits.soft_user_pages = PARLEY_TRY(read_number("/proc/sys/fs/pipe-user-pages-soft"));
  limits.hard_user_pages = PARLEY_TRY(read_number("/proc/sys/fs/pipe-user-pages-hard"));
  return limits;
}

auto PipeEnd::capacity_bytes() const -> Result<std::size_t> {
  return static_cast<std::size_t>(PARLEY_TRY(sys::call<::fcntl>(fd_.number(), F_GETPIPE_SZ)));
}

auto PipeEnd::set_capacity_bytes(std::size_t capacity_bytes) -> Result<std::size_t> {
  if (capacity_bytes > INT_MAX) return failure(Error::invalid);
  return static_cast<std::size_t>(
      PARLEY_TRY(sys::call<::fcntl>(fd_.number(), F_SETPIPE_SZ, static_cast<int>(capacity_bytes))));
}

auto PipeEnd::bytes_waiting() const -> Result<std::size_t> {
  int count = 0;
  PARLEY_TRY(sys::call<::ioctl>(fd_.number(), static_cast<unsigned long>(FIONREAD), &count));
  return static_cast<std::size_t>(count);
}

auto PipeReader::adopt(OwnedFd fd) -> Result<PipeReader> {
  if (PARLEY_TRY(access_mode(fd)) == O_WRONLY) return failure(Error::invalid);
  PARLEY_TRY(set_nonblocking(fd, true));
  return PipeReader(std::move(fd));
}

auto PipeReader::read(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t> {
  return when_ready(fd(), POLLIN, deadline, [&]() -> Result<std::size_t> {
    return static_cast<std::size_t>(
        PARLEY_TRY(sys::call<::read>(fd().number(), into.data(), into.size())));
  });
}

auto PipeReader::read_all(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t> {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::size_t count = PARLEY_TRY(read(into.subspan(done), deadline));
    if (count == 0) break;
    done += count;
  }
  return done;
}

auto PipeReader::splice_to(BorrowedFd to, std::size_t count_bytes, Deadline deadline,
                           SpliceOptions options) -> Result<std::size_t> {
  PARLEY_TRY(require_nonblocking(to, deadline));
  auto place = static_cast<loff_t>(options.offset_bytes.value_or(0));
  return move_when_ready(fd(), to, deadline, [&] {
    return sys::call<::splice>(fd().number(), nullptr, to.number(),
                               options.offset_bytes ? &place : nullptr, count_bytes,
                               splice_flags(options));
  });
}

auto PipeReader::vmsplice_to(std::span<const iovec> areas, Deadline deadline)
    -> Result<std::size_t> {
  return when_ready(fd(), POLLIN, deadline, [&]() -> Result<std::size_t> {
    return static_cast<std::size_t>(PARLEY_TRY(sys::call<::vmsplice>(
        fd().number(), areas.data(), areas.size(), unsigned{SPLICE_F_NONBLOCK})));
  });
}

auto PipeWriter::adopt(OwnedFd fd) -> Result<PipeWriter> {
  if (PARLEY_TRY(access_mode(fd)) == O_RDONLY) return failure(Error::invalid);
  PARLEY_TRY(set_nonblocking(fd, true));
  return PipeWriter(std::move(fd));
}

auto PipeWriter::write(std::span<const std::byte> bytes, Deadline deadline) -> Result<void> {
  do {
    bytes = bytes.subspan(PARLEY_TRY(write_some(bytes, deadline)));
  } while (!bytes.empty());
  return {};
}

auto PipeWriter::write_some(std::span<const std::byte> bytes, Deadline deadline)
    -> Result<std::size_t> {
  return when_ready(fd(), POLLOUT, deadline, [&] { return write_once(fd(), bytes); });
}

auto PipeWriter::splice_from(BorrowedFd from, std::size_t count_bytes, Deadline deadline,
                             SpliceOptions options) -> Result<std::size_t> {
  PARLEY_TRY(require_nonblocking(from, deadline));
  auto place = static_cast<loff_t>(options.offset_bytes.value_or(0));
  return move_when_ready(from, fd(), deadline, [&] {
    return sys::call<::splice>(from.number(), options.offset_bytes ? &place : nullptr,
                               fd().number(), nullptr, count_bytes, splice_flags(options));
  });
}

auto PipeWriter::tee_from(const PipeReader& from, std::size_t count_bytes, Deadline deadline)
    -> Result<std::size_t> {
  return move_when_ready(from.fd(), fd(), deadline, [&] {
    return sys::call<::tee>(from.fd().number(), fd().number(), count_bytes,
                            unsigned{SPLICE_F_NONBLOCK});
  });
}

auto PipeWriter::vmsplice_from(std::span<const iovec> areas, Deadline deadline, bool gift)
    -> Result<std::size_t> {
  const unsigned flags = SPLICE_F_NONBLOCK | (gift ? SPLICE_F_GIFT : 0U);
  return when_ready(fd(), POLLOUT, deadline, [&]() -> Result<std::size_t> {
    const SigpipeGuard guard;
    return static_cast<std::size_t>(
        PARLEY_TRY(sys::call<::vmsplice>(fd().number(), areas.data(), areas.size(), flags)));
  });
}

auto Pipe::create(PipeOptions options) -> Result<Pipe> {
  std::array<int, 2> ends{};
  const int flags = O_CLOEXEC | O_NONBLOCK | (options.packets ? O_DIRECT : 0);
  PARLEY_TRY(sys::call<::pipe2>(ends.data(), flags));
  Pipe pipe{.reader = PipeReader(OwnedFd::from_number(ends[0])),
            .writer = PipeWriter(OwnedFd::from_number(ends[1]))};
  if (options.capacity_bytes != 0) {
    PARLEY_TRY(pipe.writer.set_capacity_bytes(options.capacity_bytes));
  }
  return pipe;
}

}  // namespace parley::os
