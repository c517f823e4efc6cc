// Descriptors with an owner: OwnedFd closes, BorrowedFd only looks.
#pragma once

#include <sys/types.h>

#include <utility>

#include <parley/error.hpp>

namespace parley::os {

/// A descriptor that somebody else keeps open for as long as this view is used.
class BorrowedFd {
 public:
  /// For a number that came from elsewhere: the C library, an event loop, `STDIN_FILENO`.
  static constexpr auto from_number(int number) noexcept -> BorrowedFd {
    return BorrowedFd(number);
  }

  [[nodiscard]] constexpr auto number() const noexcept -> int { return number_; }

  /// Two descriptors are equal when they are the same number, not the same open description.
  auto operator==(const BorrowedFd&) const noexcept -> bool = default;

 private:
  constexpr explicit BorrowedFd(int number) noexcept : number_(number) {}

  int number_;
};

/// A descriptor that is closed when this object goes. Empty after it was moved from.
class OwnedFd {
 public:
  constexpr OwnedFd() noexcept = default;
  OwnedFd(OwnedFd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  auto operator=(OwnedFd&& other) noexcept -> OwnedFd& {
    OwnedFd old(std::exchange(number_, std::exchange(other.number_, -1)));
    return *this;
  }
  OwnedFd(const OwnedFd&) = delete;
  auto operator=(const OwnedFd&) -> OwnedFd& = delete;
  ~OwnedFd();

  /// Takes over an open descriptor; whoever had it may not close it any more.
  static auto from_number(int number) noexcept -> OwnedFd { return OwnedFd(number); }

  /// Gives the number away, to be closed by the caller.
  [[nodiscard]] auto release() && noexcept -> int { return std::exchange(number_, -1); }

  [[nodiscard]] auto number() const noexcept -> int { return number_; }
  [[nodiscard]] auto is_open() const noexcept -> bool { return number_ >= 0; }

  // An owned descriptor can be used wherever a borrowed one is asked for.
  // NOLINTNEXTLINE(google-explicit-constructor,hicpp-explicit-conversions)
  operator BorrowedFd() const noexcept { return BorrowedFd::from_number(number_); }

 private:
  explicit OwnedFd(int number) noexcept : number_(number) {}

  int number_ = -1;
};

/// A second descriptor of the same open description: offset and status flags are shared, the
/// close-on-exec flag (which is set) is not. fcntl(2) F_DUPFD_CLOEXEC.
auto duplicate(BorrowedFd fd) -> Result<OwnedFd>;

/// O_NONBLOCK of the open *description*: whoever shares it, in whichever process, sees the change.
/// Parley's own reads and writes need it set; a program that is handed the descriptor as its
/// standard input or output mostly expects it clear.
auto set_nonblocking(BorrowedFd fd, bool nonblocking) -> Result<void>;
auto is_nonblocking(BorrowedFd fd) -> Result<bool>;

/// Whether exec(2) closes it. Set on every descriptor that Parley opens or receives.
auto set_close_on_exec(BorrowedFd fd, bool close_on_exec) -> Result<void>;
auto closes_on_exec(BorrowedFd fd) -> Result<bool>;

}  // namespace parley::os
