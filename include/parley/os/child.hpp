// Children: programs started with a stated set of descriptors, and forked copies that run a
// function; awaited and signalled through a pidfd.
#pragma once

#include <sys/types.h>
#include <csignal>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::os {

/// How a process ended.
struct ExitStatus {
  enum class Kind {
    exited,       ///< by exit; `value` is the status, 0 to 255.
    killed,       ///< by a signal; `value` is its number.
    dumped_core,  ///< by a signal, and a core was dumped; `value` is the signal's number.
  };
  Kind kind;
  int value;

  /// Whether it exited with 0.
  [[nodiscard]] constexpr auto succeeded() const noexcept -> bool {
    return kind == Kind::exited && value == 0;
  }
  auto operator==(const ExitStatus&) const noexcept -> bool = default;
};

/// A descriptor for a child, and the number at which the child finds it.
struct ChildFd {
  BorrowedFd fd;
  int number;
};

/// What the child has as 0, 1 and 2 where `descriptors` says nothing of them.
enum class StandardIo {
  closed,     ///< Nothing. The first files that the program opens then take these numbers.
  null,       ///< /dev/null.
  inherited,  ///< What this process has there; nothing where it has nothing.
};

/// Which terminal signals and kill(-group) reach the child.
enum class ProcessGroup {
  inherited,    ///< Those of the parent: Ctrl-C ends both.
  own,          ///< A new group of its own. setpgid(2)
  own_session,  ///< A new session, without a controlling terminal. setsid(2)
};

struct ChildOptions {
  /// A path; where it has no slash, it is looked up in this process's PATH as execvp(3) does.
  std::string program;
  /// Those after the program's own name.
  std::vector<std::string> arguments = {};
  /// Entries "NAME=value"; without a value the child inherits the environment of this process.
  std::optional<std::vector<std::string>> environment = std::nullopt;
  /// All that the child has open, besides `standard_io`. The numbers may be any permutation of the
  /// descriptors' own, and one descriptor may have several numbers.
  std::vector<ChildFd> descriptors = {};
  StandardIo standard_io = StandardIo::closed;
  /// Where the child runs; a relative `program` is looked up from there. Empty: here.
  std::string working_directory = {};
  ProcessGroup process_group = ProcessGroup::inherited;
  /// The signals that are blocked in the child; without it those of this thread.
  std::optional<sigset_t> signal_mask = std::nullopt;
  /// SIGKILL for the child when the *thread* that started it ends (PR_SET_PDEATHSIG), however early
  /// that is. A set-user-id program is not reached by it.
  bool die_with_parent = false;
};

struct ForkOptions {
  ProcessGroup process_group = ProcessGroup::inherited;
  bool die_with_parent = false;  ///< As in ChildOptions.
};

/// A process that this one has started.
///
/// Dropping a Child neither kills the process nor waits for it; once it has ended it stays a zombie
/// until the next Child is started or dropped, or this process ends. Usable by one thread at a time
/// and, after fork(2), only in the process that started it.
class Child {
 public:
  /// Starts a program. Its descriptors are exactly the stated ones; what this process ignores stays
  /// ignored, as execve(2) has it.
  ///
  /// Fails with what kept the program from running, and then no process is left: `not_found`,
  /// `access_denied` (not executable), ENOEXEC (no program of this machine; a script needs its
  /// `#!`), `too_big`, `bad_descriptor` (not open, or a number above RLIMIT_NOFILE). `invalid`: a
  /// number that is negative or stated twice, a string that holds a NUL. clone(2), execve(2)
  ///
  /// No handler of this process runs in the child. When the *program* ends the kernel sends this
  /// process SIGCHLD, as execve(2) says, and a waitpid(-1) of the program's own sees the child; a
  /// start that fails sends nothing. Waits until the program runs, at most as long as execve does.
  static auto start(const ChildOptions& options) -> Result<Child>;

  /// Runs `function` in a forked copy of this process, which then ends at once, by _exit(2), with
  /// what it returned (the low 8 bits) as its status: no destructor outside of it, no atexit(3)
  /// function, no stdio buffer is written. An exception that leaves it ends the copy by SIGABRT.
  ///
  /// The copy is fork(2)'s: it has every descriptor of this process, its signal handlers, and of
  /// its threads only this one. Its end sends SIGCHLD.
  template <class Function>
    requires std::is_invocable_r_v<int, Function&>
  static auto fork(Function function, ForkOptions options = {}) -> Result<Child> {
    return fork_and_call(
        options, [](void* object) noexcept -> int { return (*static_cast<Function*>(object))(); },
        &function);
  }

  Child(Child&& other) noexcept = default;
  auto operator=(Child&& other) noexcept -> Child&;
  Child(const Child&) = delete;
  auto operator=(const Child&) -> Child& = delete;
  ~Child();

  /// Waits for the end and says how it was; asked again, it says the same. A child whose status
  /// something else in this process took (waitpid(-1), SIGCHLD ignored) is ECHILD before Linux
  /// 6.15, which can still tell it. waitid(2)
  auto wait(Deadline deadline) -> Result<ExitStatus>;

  /// Sends a signal to this very process, never to another that got its number. ESRCH when it has
  /// been waited for; a child that has ended and not been waited for takes any signal and ignores
  /// it. pidfd_send_signal(2)
  auto kill(int signal) -> Result<void>;

  /// Readable once the process has ended: for an event loop. pidfd_open(2)
  [[nodiscard]] auto pidfd() const noexcept -> BorrowedFd { return pidfd_; }

  /// The process id, for people to read and for kill(2) of a process group.
  [[nodiscard]] auto pid() const noexcept -> pid_t { return pid_; }

  /// In the started program: takes over the descriptor that it was given at `number`, and from here
  /// on closes it on exec. `bad_descriptor` where nothing is open at that number. Call it once for
  /// each number: the descriptor is the caller's then.
  static auto inherited(int number) -> Result<OwnedFd>;

 private:
  Child(OwnedFd pidfd, pid_t pid) noexcept : pidfd_(std::move(pidfd)), pid_(pid) {}

  static auto fork_and_call(ForkOptions options, int (*call)(void*), void* object) -> Result<Child>;

  OwnedFd pidfd_;
  pid_t pid_;
  std::optional<ExitStatus> status_;
};

}  // namespace parley::os
