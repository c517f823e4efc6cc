#include "os/launch.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "os/numbered.hpp"
#include "os/sys.hpp"

namespace parley::os {
namespace {

auto has_nul(const std::string& text) -> bool {
  return text.find('\0') != std::string::npos;
}

/// The paths at which execvp(3) would look for the program, in its order.
auto candidates_of(const std::string& program) -> std::vector<std::string> {
  if (program.empty() || program.find('/') != std::string::npos) return {program};
  // NOLINTNEXTLINE(concurrency-mt-unsafe): as unsafe as the environment itself.
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/bin:/usr/bin";
  std::vector<std::string> found;
  for (;;) {
    const auto end = rest.find(':');
    const std::string_view folder = rest.substr(0, end);
    found.push_back(folder.empty() ? program : std::string(folder) + "/" + program);
    if (end == std::string_view::npos) return found;
    rest.remove_prefix(end + 1);
  }
}

/// What execve takes; it does not write to the strings.
auto pointer_to(const std::string& text) -> char* {
  return const_cast<char*>(text.c_str());  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

/// Handlers become defaults, so that none runs once the mask is restored. What is ignored stays so.
void forget_handlers() {
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    struct sigaction action{};
    sys::release<::sigaction>(signal, nullptr, &action);
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) continue;
    sys::release<::sigaction>(signal, &standard, nullptr);
  }
}

auto close_range(unsigned first, unsigned last) -> Result<void> {
  PARLEY_TRY(sys::call<::syscall>(long{SYS_close_range}, static_cast<long>(first),
                                  static_cast<long>(last), 0L));
  return {};
}

}  // namespace

auto settle(ProcessGroup group, bool die_with_parent, pid_t parent) -> Result<void> {
  if (group == ProcessGroup::own) PARLEY_TRY(sys::call<::setpgid>(pid_t{0}, pid_t{0}));
  if (group == ProcessGroup::own_session) PARLEY_TRY(sys::call<::setsid>());
  if (!die_with_parent) return {};
  PARLEY_TRY(sys::call<::prctl>(PR_SET_PDEATHSIG, static_cast<unsigned long>(SIGKILL)));
  // A parent that died before that sends no signal any more; but it is not the parent any more.
  if (PARLEY_TRY(sys::call<::getppid>()) != parent) _exit(127);
  return {};
}

auto Launch::prepare(const ChildOptions& options) -> Result<Launch> {
  const bool lost = has_nul(options.program) || has_nul(options.working_directory) ||
                    std::ranges::any_of(options.arguments, has_nul) ||
                    (options.environment && std::ranges::any_of(*options.environment, has_nul));
  if (lost) return failure(Error::invalid);

  Launch launch(options);
  launch.parent_ = PARLEY_TRY(sys::call<::getpid>());
  launch.descriptors_ = options.descriptors;
  PARLEY_TRY(launch.add_standard_io());
  std::ranges::sort(launch.descriptors_, {}, &ChildFd::number);
  if (!launch.descriptors_.empty() && launch.descriptors_.front().number < 0) {
    return failure(Error::invalid);
  }
  if (std::ranges::adjacent_find(launch.descriptors_, {}, &ChildFd::number) !=
      launch.descriptors_.end()) {
    return failure(Error::invalid);
  }

  std::ranges::transform(launch.descriptors_, std::back_inserter(launch.kept_), &ChildFd::number);
  launch.kept_.push_back(-1);

  launch.candidates_ = candidates_of(options.program);
  launch.arguments_.push_back(pointer_to(options.program));
  std::ranges::transform(options.arguments, std::back_inserter(launch.arguments_), pointer_to);
  launch.arguments_.push_back(nullptr);
  if (options.environment) {
    std::ranges::transform(*options.environment, std::back_inserter(launch.environment_),
                           pointer_to);
    launch.environment_.push_back(nullptr);
  }
  return launch;
}

auto Launch::add_standard_io() -> Result<void> {
  const StandardIo choice = options_.standard_io;
  if (choice == StandardIo::closed) return {};
  if (choice == StandardIo::null) {
    null_ = OwnedFd::from_number(PARLEY_TRY(sys::call<::open>("/dev/null", O_RDWR | O_CLOEXEC)));
  }
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const auto same = [&](const ChildFd& entry) { return entry.number == number; };
    if (std::ranges::any_of(options_.descriptors, same)) continue;
    const auto own = BorrowedFd::from_number(number);
    if (choice == StandardIo::null) {
      descriptors_.push_back({.fd = null_, .number = number});
    } else if (const auto open = closes_on_exec(own)) {
      descriptors_.push_back({.fd = own, .number = number});
    } else if (open.error() != Error::bad_descriptor) {
      return failure(open.error());
    }
  }
  return {};
}

void Launch::run(const sigset_t& mask, BorrowedFd report) {
  int number = report.number();
  const Error error = become_program(mask, number).error();
  sys::release<::write>(number, &error, sizeof error);
  _exit(127);
}

auto Launch::become_program(const sigset_t& mask, int& report) -> Result<void> {
  forget_handlers();
  PARLEY_TRY(settle(options_.process_group, options_.die_with_parent, parent_));
  if (!options_.working_directory.empty()) {
    PARLEY_TRY(sys::call<::chdir>(options_.working_directory.c_str()));
  }
  PARLEY_TRY(arrange_descriptors(report));
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  return failure(execute());
}

/// Every source first moves to a number that no one else is to get; so whatever the permutation,
/// putting one in its place never overwrites another that is still needed.
auto Launch::arrange_descriptors(int& report) -> Result<void> {
  int lowest = 0;
  report = PARLEY_TRY(move_away(report, lowest));
  for (ChildFd& entry : descriptors_) {
    entry.fd = BorrowedFd::from_number(PARLEY_TRY(move_away(entry.fd.number(), lowest)));
  }
  for (const ChildFd& entry : descriptors_) {
    PARLEY_TRY(sys::call<::dup2>(entry.fd.number(), entry.number));  // clears close-on-exec
  }
  kept_.back() = report;
  std::ranges::sort(kept_);
  return close_all_but_kept();
}

/// A duplicate at a number that is not stated. Those below `lowest` are taken or stated.
auto Launch::move_away(int fd, int& lowest) const -> Result<int> {
  for (;;) {
    const auto moved = sys::call<::fcntl>(fd, F_DUPFD_CLOEXEC, lowest);
    // `lowest` has come to the limit of descriptors.
    if (!moved && moved.error() == Error::invalid) return failure(static_cast<Error>(EMFILE));
    if (!moved) return moved;
    lowest = *moved + 1;
    if (!std::ranges::binary_search(descriptors_, *moved, {}, &ChildFd::number)) return moved;
    sys::release<::close>(*moved);
  }
}

/// close_range(2) between those that are kept.
auto Launch::close_gaps() const -> Result<void> {
  unsigned first = 0;
  for (const int number : kept_) {
    const auto kept = static_cast<unsigned>(number);
    if (first < kept) PARLEY_TRY(close_range(first, kept - 1));
    first = kept + 1;
  }
  return close_range(first, UINT_MAX);
}

auto Launch::close_all_but_kept() const -> Result<void> {
  const auto closed = close_gaps();
  // EPERM is what the filters of containers answer that are older than the call.
  if (closed || (closed.error() != Error::no_such_call && closed.error() != Error::not_permitted)) {
    return closed;
  }
  return for_each_number("/proc/self/fd", [&](int number) {
    if (!std::ranges::binary_search(kept_, number)) sys::release<::close>(number);
  });
}

auto Launch::execute() -> Error {
  char* const* environment = options_.environment ? environment_.data() : environ;
  Error error = Error::not_found;
  for (const std::string& path : candidates_) {
    const auto failed = sys::call<::execve>(path.c_str(), arguments_.data(), environment).error();
    if (error != Error::access_denied) error = failed;
    const bool may_be_elsewhere = failed == Error::not_found || failed == Error::access_denied ||
                                  failed == static_cast<Error>(ENOTDIR);
    if (!may_be_elsewhere) return failed;
  }
  return error;
}

}  // namespace parley::os
