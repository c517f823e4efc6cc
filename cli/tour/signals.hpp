// The signals that end a tour, taken where it can clean up, and not in the middle of anything.
#pragma once

#include <csignal>

#include <optional>

#include <parley/error.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::cli {

/// While it lives, SIGINT, SIGTERM, SIGHUP and SIGQUIT (those that were not ignored before) wait in
/// a descriptor. Processes that are forked meanwhile inherit that: a Ctrl-C,
/// which goes to all of them, ends none of them behind the supervisor's back.
class Signals {
 public:
  static auto block() -> Result<Signals>;

  Signals(Signals&& other) noexcept = default;
  Signals(const Signals&) = delete;
  auto operator=(const Signals&) -> Signals& = delete;
  auto operator=(Signals&&) -> Signals& = delete;
  ~Signals();

  /// Readable when one of them came.
  [[nodiscard]] auto fd() const -> os::BorrowedFd { return fd_; }

  /// The signal that is to end the tour, if one came.
  auto taken() -> std::optional<int>;

 private:
  Signals(os::OwnedFd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}

  os::OwnedFd fd_;
  sigset_t before_;
};

/// The tour ended early.
struct Interrupted {
  int signal;
};

}  // namespace parley::cli
