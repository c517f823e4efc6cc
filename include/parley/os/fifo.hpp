// FIFOs: pipes that have a path, so that processes which share only a directory find each other.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <string>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>
#include <parley/os/owner.hpp>
#include <parley/os/pipe.hpp>

namespace parley::os {

/// How a path of a FIFO is read.
struct FifoPathOptions {
  /// Where a relative path starts: a directory's descriptor; by default the working directory.
  BorrowedFd directory = BorrowedFd::from_number(AT_FDCWD);
  /// Whether the last part of the path may be a symbolic link. Where not, a link is ELOOP.
  bool follow_link = true;
};

struct FifoCreateOptions {
  /// The permission bits. The process's umask is taken away from them: umask(2).
  mode_t mode = 0600;
  BorrowedFd directory = BorrowedFd::from_number(AT_FDCWD);
};

/// A reader and a writer, of one FIFO or of the two that make a `FifoDuplex`.
struct FifoEnds {
  PipeReader reader;
  PipeWriter writer;
};

/// A FIFO that is known to be one, not yet opened for reading or writing. The handle stays with
/// this very FIFO, also when its path is given to another file meanwhile. fifo(7)
///
/// Opening an end is a rendezvous: a reader waits for a writer and a writer for a reader. Both then
/// are the ends of one pipe, with everything that os/pipe.hpp says of them. Both roles may be
/// opened any number of times, by any number of processes. Opening goes through /proc, which must
/// be mounted (`not_found` where it is not). Where it waits it uses a real-time signal of its own:
/// `busy` when the program uses all of them.
class Fifo {
 public:
  /// Makes a FIFO. `exists` if the path exists, whatever it is, a dangling link included.
  /// mkfifo(3), mkfifoat(3)
  static auto create(const std::string& path, FifoCreateOptions options = {}) -> Result<Fifo>;

  /// Finds a FIFO. `invalid` if the path is anything else, which is not touched then. open(2)
  /// O_PATH
  static auto open(const std::string& path, FifoPathOptions options = {}) -> Result<Fifo>;

  /// Takes a received or inherited descriptor of a FIFO, of any access mode. `invalid` if it is
  /// anything else. fstat(2)
  static auto adopt(OwnedFd fd) -> Result<Fifo>;

  /// Removes the name; who has the FIFO open keeps it. `invalid`, and nothing removed, if it is not
  /// a FIFO; ELOOP if it is a symbolic link to one. unlinkat(2)
  static auto unlink(const std::string& path,
                     BorrowedFd directory = BorrowedFd::from_number(AT_FDCWD)) -> Result<void>;

  /// Opens the end that reads, once there is a writer: one that has the FIFO open, or waits in
  /// opening it, or comes before the deadline. A writer that found this reader is found by it, and
  /// a reader that gives up was never seen by a writer. The kernel tells that only to one who
  /// waits: without a writer, `Deadline::now()` takes a tenth of a millisecond, a full one at
  /// times. `access_denied` without read permission.
  [[nodiscard]] auto reader(Deadline deadline) const -> Result<PipeReader>;

  /// Opens the end that writes, once there is a reader that has the FIFO open, or waits in opening
  /// it, or comes before the deadline. `access_denied` without write permission.
  [[nodiscard]] auto writer(Deadline deadline) const -> Result<PipeWriter>;

  /// Opens the end that reads whether or not there is a writer. Until the first one comes, `read`
  /// gives 0, the end, and poll(2) reports nothing.
  [[nodiscard]] auto lone_reader() const -> Result<PipeReader>;

  /// Opens both ends, without waiting for anybody. For a server: as long as it keeps `writer`, its
  /// reader never comes to the end when clients leave; and clients can write before it reads. What
  /// O_RDWR does in Linux, with an end for each direction.
  [[nodiscard]] auto both_ends() const -> Result<FifoEnds>;

  /// Whose it is, and who may open it; who has an end open keeps it. fstat(2), chmod(2),
  /// fchownat(2)
  [[nodiscard]] auto permissions() const -> Result<FilePermissions>;
  auto set_mode(mode_t mode) -> Result<void>;
  auto set_owner(Owner owner) -> Result<void>;

  /// The handle's descriptor, which neither reads nor writes: to hand it on to a process that
  /// cannot reach the path. The receiver still needs the FIFO's permissions.
  [[nodiscard]] auto fd() const noexcept -> BorrowedFd { return fd_; }

 private:
  explicit Fifo(OwnedFd fd) noexcept : fd_(std::move(fd)) {}

  OwnedFd fd_;
};

/// Two FIFOs, `PATH.forth` and `PATH.back`, so that each of two sides has a reader and a writer.
/// The sides agree on who is the first; each opens the same FIFO first, so neither order of their
/// coming is a deadlock.
class FifoDuplex {
 public:
  /// Makes both, or none: `exists` if either path exists.
  static auto create(const std::string& path, FifoCreateOptions options = {}) -> Result<FifoDuplex>;

  /// Finds both. `not_found` while the other side is still making them.
  static auto open(const std::string& path, FifoPathOptions options = {}) -> Result<FifoDuplex>;

  /// Removes both names. Of one that is missing the error is told after the other is removed.
  static auto unlink(const std::string& path,
                     BorrowedFd directory = BorrowedFd::from_number(AT_FDCWD)) -> Result<void>;

  /// Opens the reader and the writer of the side that writes into `PATH.forth`, once the second
  /// side does its part. When the deadline ends it half-way, the other side finds its reader at the
  /// end and its writer broken.
  [[nodiscard]] auto first_side(Deadline deadline) const -> Result<FifoEnds>;

  /// The side that reads from `PATH.forth`; see `first_side`.
  [[nodiscard]] auto second_side(Deadline deadline) const -> Result<FifoEnds>;

 private:
  FifoDuplex(Fifo forth, Fifo back) noexcept : forth_(std::move(forth)), back_(std::move(back)) {}

  Fifo forth_;
  Fifo back_;
};

}  // namespace parley::os
