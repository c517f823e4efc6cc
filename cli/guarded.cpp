#include "guarded.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>

#include "command.hpp"
#include "seconds.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

using os::Child;
using os::ChildFd;
using os::ExitStatus;

auto is_one_that_ends(int signal) -> bool {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

auto is_readable(os::BorrowedFd fd) -> bool {
  pollfd entry{.fd = fd.number(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) == 1;
}

/// What this process was given besides 0, 1 and 2, and is to pass on: `<(…)` of a shell, say.
auto inherited_descriptors() -> std::vector<ChildFd> {
  std::vector<ChildFd> inherited;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const auto name = entry.path().filename().string();
    int number = -1;
    std::from_chars(name.data(), name.data() + name.size(), number);
    const auto fd = os::BorrowedFd::from_number(number);
    if (number <= STDERR_FILENO || os::closes_on_exec(fd).value_or(true)) continue;
    inherited.push_back({.fd = fd, .number = number});
  }
  return inherited;
}

/// Orphans of this process's descendants become its own children from now on.
void adopt_orphans() {
  prctl(PR_SET_CHILD_SUBREAPER, 1UL);
}

void signal_children(int signal) {
  const auto pid = std::to_string(getpid());
  std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
  for (pid_t child = 0; children >> child;) kill(child, signal);
}

/// Kills all descendants and returns when they are gone. What may not be killed is waited for.
void end_descendants() {
  do {
    signal_children(SIGKILL);
  } while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR);
}

/// Takes the status of orphans that have ended, but not that of the command.
void reap_orphans(pid_t command) {
  siginfo_t info{};
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
         info.si_pid != command) {
    waitpid(info.si_pid, nullptr, 0);
    info.si_pid = 0;
  }
}

/// Passes signals on until the holder has ended.
auto wait_for_holder(Child& holder, Signals& signals) -> Result<ExitStatus> {
  for (;;) {
    std::array<pollfd, 2> entries{};
    entries[0].fd = holder.pidfd().number();
    entries[1].fd = signals.fd().number();
    for (auto& entry : entries) entry.events = POLLIN;
    poll(entries.data(), entries.size(), -1);
    while (const auto taken = signals.take()) {
      const bool passed_on = taken->signal != SIGCHLD && !taken->by_kernel;
      if (passed_on) static_cast<void>(holder.kill(taken->signal));
    }
    auto end = holder.wait(Deadline::now());
    if (end || end.error() != Error::would_block) return end;
  }
}

auto fork_holder(std::string_view who, const std::function<int(Holder&)>& work) -> Result<int> {
  // With SIGCHLD ignored nobody could learn how a child ended.
  std::signal(SIGCHLD, SIG_DFL);
  auto signals = PARLEY_TRY(Signals::block({SIGCHLD}));
  adopt_orphans();
  auto lifeline = PARLEY_TRY(os::Pipe::create());
  auto child = PARLEY_TRY(Child::fork(
      [&] {
        static_cast<void>(std::move(lifeline.writer).into_fd());
        Holder holder(who, signals, std::move(lifeline.reader));
        return work(holder);
      },
      {.die_with_parent = true}));
  const auto end = PARLEY_TRY(wait_for_holder(child, signals));
  if (end.kind == ExitStatus::Kind::exited) return end.value;
  end_descendants();
  complain(fmt::format(
      "{}: {} by signal {} ({})", who,
      is_one_that_ends(end.value) ? "interrupted" : "the process that held it was killed",
      end.value, strsignal(end.value)));
  return 128 + end.value;
}

}  // namespace

Holder::Holder(std::string_view who, Signals& signals, os::PipeReader lifeline)
    : who_(who), signals_(signals), lifeline_(std::move(lifeline)) {
  prctl(PR_SET_NAME, "parley holder");  // what is to hit parley by its name misses this one
  adopt_orphans();
}

Holder::Vulnerable::Vulnerable(Holder& holder) {
  prctl(PR_SET_PDEATHSIG, static_cast<unsigned long>(SIGKILL));
  if (is_readable(holder.lifeline_.fd())) _exit(128 + SIGKILL);  // parley was killed before that
  allowed_.emplace(holder.signals_);
}

Holder::Vulnerable::~Vulnerable() {
  prctl(PR_SET_PDEATHSIG, 0UL);
}

auto Holder::run(os::ChildOptions command) -> std::expected<ExitStatus, int> {
  for (const auto& each : inherited_descriptors()) command.descriptors.push_back(each);
  command.standard_io = os::StandardIo::inherited;
  command.signal_mask = signals_.before();
  command.die_with_parent = true;
  const auto start = [&] {
    const WriteSignalsAsBefore as_before;
    return Child::start(command);
  };
  auto started = start();
  if (started) return wait_for(*started);
  complain(fmt::format("{}: {}: {}", who_, printable(command.program), message(started.error())));
  const bool found = started.error() != Error::not_found;
  return std::unexpected(
      static_cast<int>(found ? RunnerStatus::cannot_be_run : RunnerStatus::command_not_found));
}

auto Holder::wait_for(Child& command) -> ExitStatus {
  for (;;) {
    std::array<pollfd, 3> entries{};
    entries[0].fd = command.pidfd().number();
    entries[1].fd = signals_.fd().number();
    entries[2].fd = lifeline_.fd().number();
    for (auto& entry : entries) entry.events = POLLIN;
    poll(entries.data(), entries.size(), -1);
    end_if_parley_has();
    while (const auto taken = signals_.take()) {
      if (taken->signal == SIGCHLD) {
        reap_orphans(command.pid());
      } else if (!taken->by_kernel) {
        static_cast<void>(command.kill(taken->signal));
      }
    }
    if (const auto end = command.wait(Deadline::now())) return *end;
  }
}

void Holder::end_if_parley_has() {
  if (!is_readable(lifeline_.fd())) return;
  end_descendants();
  last_act_();
  _exit(128 + SIGKILL);
}

void Holder::outlast() {
  for (;;) {
    pid_t ended = 0;
    do {
      ended = waitpid(-1, nullptr, WNOHANG | __WALL);
    } while (ended > 0);
    if (ended < 0) return;
    std::array<pollfd, 2> entries{};
    entries[0].fd = signals_.fd().number();
    entries[1].fd = lifeline_.fd().number();
    for (auto& entry : entries) entry.events = POLLIN;
    poll(entries.data(), entries.size(), -1);
    end_if_parley_has();
    while (const auto signal = signals_.taken()) {
      if (*signal != SIGCHLD) signal_children(*signal);
    }
  }
}

auto run_holder(std::string_view who, const std::function<int(Holder&)>& work) -> int {
  const auto status = fork_holder(who, work);
  if (status) return *status;
  complain(fmt::format("{}: {}", who, message(status.error())));
  return static_cast<int>(RunnerStatus::failure);
}

auto status_of(const ExitStatus& end) -> int {
  return end.kind == ExitStatus::Kind::exited ? end.value : 128 + end.value;
}

auto WaitOptions::deadline() const -> Deadline {
  if (no_wait) return Deadline::now();
  if (!timeout_s) return Deadline::never();
  return deadline_after(*timeout_s);
}

void add_wait_options(CLI::App& subcommand, WaitOptions& options) {
  subcommand.add_option("PATH", options.path, "The object: a path, or a name in the default place")
      ->required()
      ->type_name("");
  auto* const timeout =
      subcommand.add_option("--timeout", options.timeout_s, "Wait so long at most, and then end")
          ->check(check_seconds)
          ->type_name("SECONDS");
  subcommand.add_flag("--no-wait", options.no_wait, "Do not wait at all")->excludes(timeout);
  options.not_obtained_status = static_cast<int>(RunnerStatus::not_obtained);
  subcommand
      .add_option("-E,--not-obtained", options.not_obtained_status,
                  "The exit status where the time was not enough; 124 by default")
      ->check(CLI::Range(0, 255))
      ->type_name("STATUS");
}

void require_command(const std::vector<std::string>& command) {
  if (command.empty()) throw CLI::RequiredError("a command behind --");
}

}  // namespace parley::cli
