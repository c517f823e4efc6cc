// Pipes: one direction, bytes or packets, between processes that inherit or are handed an end.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::os {

/// Flags of splice(2), tee(2) and vmsplice(2) that a program may choose. SPLICE_F_NONBLOCK is the
/// deadline's business.
struct SpliceOptions {
  bool more_will_follow = false;  ///< SPLICE_F_MORE: let a socket gather what comes next.
  bool move_pages = false;        ///< SPLICE_F_MOVE: a hint; Linux has ignored it since 2.6.21.
  /// Where in the other descriptor, whose own position then stays; ESPIPE if it has none.
  std::optional<std::uint64_t> offset_bytes = std::nullopt;
};

/// pipe(7), for the unprivileged.
struct PipeLimits {
  std::size_t capacity_bytes;  ///< pipe-max-size, of one pipe; over it `not_permitted`.
  /// pipe-user-pages-soft and -hard, of all of a user's pipes; 0: none. Over the soft one new pipes
  /// get two pages or one; over the hard one they are ENFILE.
  std::size_t soft_user_pages;
  std::size_t hard_user_pages;
};

auto pipe_limits() -> Result<PipeLimits>;

/// What both ends of a pipe or FIFO can tell and set. Not used by itself.
class PipeEnd {
 public:
  [[nodiscard]] auto fd() const noexcept -> BorrowedFd { return fd_; }

  /// The descriptor itself, to hand it on or to keep it elsewhere.
  [[nodiscard]] auto into_fd() && noexcept -> OwnedFd { return std::move(fd_); }

  /// How many bytes the pipe holds before a writer waits. F_GETPIPE_SZ.
  [[nodiscard]] auto capacity_bytes() const -> Result<std::size_t>;

  /// The kernel rounds up to a power of two of pages; the capacity that it gave is returned.
  /// `busy` if more than that is in the pipe now, `not_permitted` over /proc/sys/fs/pipe-max-size.
  /// F_SETPIPE_SZ.
  auto set_capacity_bytes(std::size_t capacity_bytes) -> Result<std::size_t>;

  /// Written and not yet read. FIONREAD. In packet mode: of all packets together.
  [[nodiscard]] auto bytes_waiting() const -> Result<std::size_t>;

 protected:
  explicit PipeEnd(OwnedFd fd) noexcept : fd_(std::move(fd)) {}

 private:
  OwnedFd fd_;
};

/// The end that reads.
class PipeReader : public PipeEnd {
 public:
  /// Takes a received or inherited descriptor. `invalid` unless it is a pipe or FIFO open for
  /// reading. Sets O_NONBLOCK, which everybody who shares the open description sees.
  static auto adopt(OwnedFd fd) -> Result<PipeReader>;

  /// Reads what is there, up to `into.size()` bytes, waiting for at least one. 0 is the end: no
  /// writer is left and the pipe is empty. In packet mode: one packet, and what of it does not fit
  /// is dropped by the kernel (read with PIPE_BUF bytes or more to lose nothing). read(2), pipe(7)
  auto read(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t>;

  /// Reads until `into` is full or the end is reached; fewer bytes mean the end. On an error, among
  /// them `timed_out`, what was read until then is in `into` and its count is lost: use `read` to
  /// keep it.
  auto read_all(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t>;

  /// Moves up to `count_bytes` into another descriptor (a file, a socket, a pipe) without copying
  /// them through this process, at its own position unless the options tell one. 0 is the end. If
  /// `to` is a pipe that is full or a socket, the wait is for it too. `invalid` for what is neither
  /// file nor pipe and not O_NONBLOCK, unless the deadline is `never()`: it could not be kept.
  /// splice(2)
  auto splice_to(BorrowedFd to, std::size_t count_bytes, Deadline deadline,
                 SpliceOptions options = {}) -> Result<std::size_t>;

  /// Scatters the bytes into the areas in turn. vmsplice(2)'s direction out of a pipe is a copy;
  /// this is it.
  auto vmsplice_to(std::span<const iovec> areas, Deadline deadline) -> Result<std::size_t>;

 private:
  using PipeEnd::PipeEnd;
  friend struct Pipe;
  friend class Fifo;
};

/// The end that writes. No call raises SIGPIPE: a pipe that nobody reads is `broken_pipe`.
class PipeWriter : public PipeEnd {
 public:
  /// Takes a received or inherited descriptor. `invalid` unless it is a pipe or FIFO open for
  /// writing. Sets O_NONBLOCK, which everybody who shares the open description sees.
  static auto adopt(OwnedFd fd) -> Result<PipeWriter>;

  /// Writes everything. Up to PIPE_BUF (4096) bytes go in one piece or not at all and never
  /// interleave with other writers' (pipe(7)); of more, on an error the count written is lost: use
  /// `write_some` to keep it. In packet mode each PIPE_BUF bytes are a packet.
  auto write(std::span<const std::byte> bytes, Deadline deadline) -> Result<void>;

  /// Writes as much as there is room for, waiting until that is something.
  auto write_some(std::span<const std::byte> bytes, Deadline deadline) -> Result<std::size_t>;

  /// Moves up to `count_bytes` from another descriptor into the pipe without copying them through
  /// this process, from its own position unless the options tell one. 0 is the end of `from`, which
  /// is O_NONBLOCK as `splice_to` says. splice(2)
  auto splice_from(BorrowedFd from, std::size_t count_bytes, Deadline deadline,
                   SpliceOptions options = {}) -> Result<std::size_t>;

  /// Copies up to `count_bytes` of what waits in `from` into this pipe and leaves it there. 0: no
  /// writer is left in `from` and it is empty. tee(2)
  auto tee_from(const PipeReader& from, std::size_t count_bytes, Deadline deadline)
      -> Result<std::size_t>;

  /// Puts the pages themselves into the pipe. They may not change until they are read at the other
  /// end: the pipe shows the changes. With `gift` (SPLICE_F_GIFT; whole aligned pages) they may
  /// never change again. vmsplice(2)
  auto vmsplice_from(std::span<const iovec> areas, Deadline deadline, bool gift = false)
      -> Result<std::size_t>;

 private:
  using PipeEnd::PipeEnd;
  friend struct Pipe;
  friend class Fifo;
};

struct PipeOptions {
  bool packets = false;            ///< O_DIRECT: every write of up to PIPE_BUF bytes is one packet.
  std::size_t capacity_bytes = 0;  ///< 0: the system's default, 64 KiB.
};

/// Both ends of a new pipe, close-on-exec. pipe2(2)
struct Pipe {
  PipeReader reader;
  PipeWriter writer;

  static auto create(PipeOptions options = {}) -> Result<Pipe>;
};

}  // namespace parley::os
