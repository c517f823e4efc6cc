#include <parley/os/child.hpp>

#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include <parley/os/pipe.hpp>

#include "os/clone.hpp"
#include "os/launch.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

constexpr auto no_child = static_cast<Error>(ECHILD);

/// struct pidfd_info of Linux 6.15, as far as the exit code; the headers may be older.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup_id;
  std::array<std::uint32_t, 11> ids;
  std::int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr std::uint64_t pidfd_info_exit = 1U << 3;

/// How a process ended whose status somebody else has taken; ECHILD where the kernel cannot tell.
auto status_taken_by_others(BorrowedFd pidfd) -> Result<ExitStatus> {
  PidfdInfo info{};
  info.mask = pidfd_info_exit;
  const auto told = sys::call<::ioctl>(
      pidfd.number(), static_cast<unsigned long>(_IOWR(0xFF, 11, PidfdInfo)), &info);
  if (!told || (info.mask & pidfd_info_exit) == 0) return failure(no_child);
  const int code = info.exit_code;
  if (WIFEXITED(code)) return ExitStatus{ExitStatus::Kind::exited, WEXITSTATUS(code)};
  return ExitStatus{WCOREDUMP(code) ? ExitStatus::Kind::dumped_core : ExitStatus::Kind::killed,
                    WTERMSIG(code)};
}

auto status_of(const siginfo_t& info) -> ExitStatus {
  switch (info.si_code) {
    case CLD_EXITED:
      return {ExitStatus::Kind::exited, info.si_status};
    case CLD_DUMPED:
      return {ExitStatus::Kind::dumped_core, info.si_status};
    default:
      return {ExitStatus::Kind::killed, info.si_status};
  }
}

/// Takes the status of a child that has ended; `would_block` while it has not.
auto reap(BorrowedFd pidfd) -> Result<ExitStatus> {
  siginfo_t info{};
  const auto waited = sys::call<::waitid>(by_pidfd, static_cast<id_t>(pidfd.number()), &info,
                                          WEXITED | WNOHANG | __WALL);
  if (!waited && waited.error() == no_child) return status_taken_by_others(pidfd);
  if (!waited) return failure(waited.error());
  if (info.si_pid == 0) return failure(Error::would_block);
  return status_of(info);
}

/// The children that were dropped while they ran: each is reaped once it has ended.
class Dropped {
 public:
  /// Never destroyed: a Child may be dropped when static objects are.
  static auto all() -> Dropped& {
    static auto* const dropped = new Dropped;
    return *dropped;
  }

  void add(OwnedFd pidfd) {
    const std::lock_guard lock(mutex_);
    running_.push_back(std::move(pidfd));
  }

  void reap_ended() {
    const std::lock_guard lock(mutex_);
    std::erase_if(running_, [](const OwnedFd& pidfd) {
      const auto status = reap(pidfd);
      return status || status.error() == no_child;
    });
  }

 private:
  Dropped() { pthread_atfork(lock, unlock, unlock); }

  static void lock() { all().mutex_.lock(); }
  static void unlock() { all().mutex_.unlock(); }

  std::mutex mutex_;
  std::vector<OwnedFd> running_;
};

}  // namespace

auto Child::start(const ChildOptions& options) -> Result<Child> {
  Dropped::all().reap_ended();
  Launch launch = PARLEY_TRY(Launch::prepare(options));
  Pipe report = PARLEY_TRY(Pipe::create());
  const SignalsBlocked blocked;
  Copy copy = PARLEY_TRY(clone_until_exec());
  if (copy.pid == 0) launch.run(options.signal_mask.value_or(blocked.before()), report.writer.fd());

  // The program runs or the copy is dead. So the report is there or never comes, whoever else may
  // hold a copy of the writing end.
  Error error{};
  const auto length =
      report.reader.read(std::as_writable_bytes(std::span(&error, 1)), Deadline::now());
  static_cast<void>(std::move(report.writer).into_fd());
  const bool runs = length ? *length == 0 : length.error() == Error::would_block;
  if (runs) return Child(std::move(copy.pidfd), copy.pid);
  discard(copy.pidfd);
  return failure(length ? error : length.error());
}

auto Child::fork_and_call(ForkOptions options, int (*call)(void*), void* object) -> Result<Child> {
  Dropped::all().reap_ended();
  const pid_t parent = PARLEY_TRY(sys::call<::getpid>());
  Pipe go = PARLEY_TRY(Pipe::create());
  const pid_t pid = PARLEY_TRY(sys::call<::fork>());
  std::byte may_run{};
  if (pid == 0) {
    static_cast<void>(std::move(go.writer).into_fd());
    const auto told = go.reader.read(std::span(&may_run, 1), Deadline::never());
    static_cast<void>(std::move(go.reader).into_fd());
    const bool runs = told && *told == 1 && may_run != std::byte{0} &&
                      settle(options.process_group, options.die_with_parent, parent);
    _exit(runs ? call(object) : 127);
  }
  // The copy waits until it is held by its descriptor; so it cannot end, and its number go to
  // another process, before.
  const auto pidfd = sys::call<::syscall>(long{SYS_pidfd_open}, long{pid}, 0L);
  if (!pidfd) {
    const SignalsBlocked blocked;
    sys::release<::write>(go.writer.fd().number(), &may_run, sizeof may_run);
    sys::release<::waitpid>(pid, nullptr, 0);
    return failure(pidfd.error());
  }
  auto held = OwnedFd::from_number(static_cast<int>(*pidfd));
  may_run = std::byte{1};
  if (const auto gone = go.writer.write(std::span(&may_run, 1), Deadline::now()); !gone) {
    const SignalsBlocked blocked;
    discard(held);
    return failure(gone.error());
  }
  return Child(std::move(held), pid);
}

auto Child::operator=(Child&& other) noexcept -> Child& {
  Child old(std::move(*this));
  pidfd_ = std::move(other.pidfd_);
  pid_ = other.pid_;
  status_ = other.status_;
  return *this;
}

Child::~Child() {
  if (!pidfd_.is_open()) return;
  if (!status_) Dropped::all().add(std::move(pidfd_));
  Dropped::all().reap_ended();
}

auto Child::wait(Deadline deadline) -> Result<ExitStatus> {
  if (!status_) {
    status_ = PARLEY_TRY(when_ready(pidfd_, POLLIN, deadline, [&] { return reap(pidfd_); }));
  }
  return *status_;
}

auto Child::kill(int signal) -> Result<void> {
  PARLEY_TRY(sys::call<::syscall>(long{SYS_pidfd_send_signal}, long{pidfd_.number()}, long{signal},
                                  nullptr, 0L));
  return {};
}

auto Child::inherited(int number) -> Result<OwnedFd> {
  PARLEY_TRY(set_close_on_exec(BorrowedFd::from_number(number), true));
  return OwnedFd::from_number(number);
}

}  // namespace parley::os
