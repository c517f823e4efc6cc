// The signals that end a command, taken where it can clean up, and not in the middle of anything.
#pragma once

#include <csignal>

#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/error.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::cli {

/// While it lives, SIGINT, SIGTERM, SIGHUP and SIGQUIT (those that were not ignored before) wait in
/// a descriptor. Processes that are forked meanwhile inherit that: a Ctrl-C, which goes to all of
/// them, ends none of them behind the command's back.
class Signals {
 public:
  /// `more` are taken in the same way.
  static auto block(std::initializer_list<int> more = {}) -> Result<Signals>;

  Signals(Signals&& other) noexcept = default;
  Signals(const Signals&) = delete;
  auto operator=(const Signals&) -> Signals& = delete;
  auto operator=(Signals&&) -> Signals& = delete;
  ~Signals();

  /// Readable when one of them came.
  [[nodiscard]] auto fd() const -> os::BorrowedFd { return fd_; }

  /// One of them, and whether the kernel sent it, as for a Ctrl-C at the terminal, which goes to
  /// all processes of the group.
  struct Taken {
    int signal;
    bool by_kernel;
  };
  auto take() -> std::optional<Taken>;

  /// The signal that is to end the command, if one came.
  auto taken() -> std::optional<int>;
  /// The same, after a sleep until then.
  auto taken_until(Deadline deadline) -> std::optional<int>;

  /// What was blocked before: for a program that is started.
  [[nodiscard]] auto before() const -> const sigset_t& { return before_; }

  /// While it lives, the signals do again what they did before.
  class Allowed {
   public:
    explicit Allowed(const Signals& signals) {
      sigprocmask(SIG_SETMASK, &signals.before_, &blocked_);
    }
    Allowed(const Allowed&) = delete;
    auto operator=(const Allowed&) -> Allowed& = delete;
    ~Allowed() { sigprocmask(SIG_SETMASK, &blocked_, nullptr); }

   private:
    sigset_t blocked_{};
  };

 private:
  Signals(os::OwnedFd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}

  os::OwnedFd fd_;
  sigset_t before_;
};

/// The command ended early.
struct Interrupted {
  int signal;
};

/// From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT (those that were not ignored before) end this
/// process wherever it is, with one line that begins with `who`, and status 128 plus the number.
/// For a command that may die at any instruction: nothing is cleaned up.
void end_when_interrupted(std::string_view who);

/// Ignores SIGPIPE and SIGXFSZ for as long as this process runs: a reader of our output that is
/// gone, or a file over its limit, is an error of the call, told in one line.
void ignore_write_signals();

/// While it lives, those two do what they did before: for a program that is started meanwhile,
/// which inherits what is ignored.
class WriteSignalsAsBefore {
 public:
  WriteSignalsAsBefore();
  WriteSignalsAsBefore(const WriteSignalsAsBefore&) = delete;
  auto operator=(const WriteSignalsAsBefore&) -> WriteSignalsAsBefore& = delete;
  ~WriteSignalsAsBefore();
};

}  // namespace parley::cli
