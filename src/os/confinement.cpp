#ifdef __linux__
#include <parley/os/confinement.hpp>

#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "os/clone.hpp"
#include "os/confinement_filter.hpp"
#include "os/numbered.hpp"
#include "os/sys.hpp"

namespace parley::os {
namespace {

constexpr unsigned long filter_flags = SECCOMP_FILTER_FLAG_TSYNC;

// landlock(7), of which the headers may know only the first version.
struct LandlockRuleset {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};
constexpr long landlock_version_query = 1;
constexpr int abi_with_scopes = 6;

/// Everything that a version of Landlock can forbid; a bit that it does not know is an error.
auto ruleset_of(int abi) -> std::pair<LandlockRuleset, std::size_t> {
  LandlockRuleset ruleset{};
  ruleset.handled_access_fs = (std::uint64_t{1} << 13) - 1;
  constexpr std::array<std::pair<int, int>, 4> later{{
      {2, 13},  // LANDLOCK_ACCESS_FS_REFER
      {3, 14},  // LANDLOCK_ACCESS_FS_TRUNCATE
      {5, 15},  // LANDLOCK_ACCESS_FS_IOCTL_DEV
      {9, 16},  // LANDLOCK_ACCESS_FS_RESOLVE_UNIX
  }};
  for (const auto& [since, bit] : later) {
    if (abi >= since) ruleset.handled_access_fs |= std::uint64_t{1} << bit;
  }
  if (abi >= 4) ruleset.handled_access_net = 0b11;    // bind and connect of TCP
  if (abi >= abi_with_scopes) ruleset.scoped = 0b11;  // abstract sockets, signals
  const std::size_t fields = abi >= abi_with_scopes ? 3 : abi >= 4 ? 2 : 1;
  return {ruleset, fields * sizeof(std::uint64_t)};
}

auto landlock_abi() -> Result<int> {
  return static_cast<int>(PARLEY_TRY(sys::call<::syscall>(long{SYS_landlock_create_ruleset},
                                                          nullptr, 0L, landlock_version_query)));
}

auto thread_count() -> Result<int> {
  int count = 0;
  PARLEY_TRY(for_each_number("/proc/self/task", [&](int) { ++count; }));
  return count;
}

/// Why there is no filter, if there is none: asked for a filter at no address, a kernel that has
/// them says EFAULT.
auto filter_obstacle() -> std::optional<Error> {
  const auto asked =
      sys::call<::syscall>(long{SYS_seccomp}, long{SECCOMP_SET_MODE_FILTER}, filter_flags, nullptr);
  if (asked || asked.error() == static_cast<Error>(EFAULT)) return std::nullopt;
  return asked.error();
}

auto socket_option(int fd, int option) -> Result<int> {
  int value = 0;
  socklen_t size = sizeof value;
  PARLEY_TRY(sys::call<::getsockopt>(fd, SOL_SOCKET, option, static_cast<void*>(&value), &size));
  return value;
}

/// Whether sendmsg on this socket can name an address: a filter does not see it.
auto can_name_strangers(int fd) -> Result<bool> {
  const auto domain = socket_option(fd, SO_DOMAIN);
  if (!domain && (domain.error() == static_cast<Error>(ENOTSOCK) ||
                  domain.error() == Error::bad_descriptor)) {  // O_PATH
    return false;
  }
  if (!domain) return failure(domain.error());
  const int type = PARLEY_TRY(socket_option(fd, SO_TYPE));
  const bool connected_only = type == SOCK_STREAM || type == SOCK_SEQPACKET;
  if (*domain == AF_UNIX) return !connected_only;
  if (*domain != AF_INET && *domain != AF_INET6) return true;
  const int protocol = PARLEY_TRY(socket_option(fd, SO_PROTOCOL));
  constexpr int mptcp = 262;
  return type != SOCK_STREAM || (protocol != IPPROTO_TCP && protocol != mptcp);
}

auto is_ring(int fd) -> Result<bool> {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  std::array<char, 64> target{};
  const auto length = static_cast<std::size_t>(
      PARLEY_TRY(sys::call<::readlink>(path.data(), target.data(), target.size())));
  return std::string_view(target.data(), length) == "anon_inode:[io_uring]";
}

/// The held descriptors through which the process could still reach out.
auto open_doors() -> Result<std::vector<int>> {
  std::vector<int> held;
  PARLEY_TRY(for_each_number("/proc/self/fd", [&](int number) { held.push_back(number); }));
  std::vector<int> doors;
  for (const int fd : held) {
    if (PARLEY_TRY(can_name_strangers(fd)) || PARLEY_TRY(is_ring(fd))) doors.push_back(fd);
  }
  return doors;
}

auto scopes_signals(const ConfinementReport& report) -> bool {
  return report.landlock_abi.value_or(0) >= abi_with_scopes;
}

struct Walls {
  bool has_filter = false;
  std::vector<sock_filter> program;
  OwnedFd ruleset;  ///< Not open: without Landlock.
};

/// Makes everything that entering needs and changes nothing.
auto prepare(const ConfinementReport& report) -> Result<Walls> {
  Walls walls;
  walls.has_filter = !report.why_not(ConfinementPart::paths);
  if (report.landlock_abi) {
    const auto [ruleset, size_bytes] = ruleset_of(*report.landlock_abi);
    walls.ruleset = OwnedFd::from_number(static_cast<int>(PARLEY_TRY(sys::call<::syscall>(
        long{SYS_landlock_create_ruleset}, &ruleset, static_cast<long>(size_bytes), 0L))));
  }
  if (walls.has_filter) {
    const auto guard = scopes_signals(report) ? SignalGuard::landlock : SignalGuard::filter;
    walls.program = PARLEY_TRY(compile_filter(guard));
  }
  return walls;
}

auto put_up(Walls& walls) -> Result<void> {
  if (!walls.has_filter && !walls.ruleset.is_open()) return {};
  PARLEY_TRY(sys::call<::prctl>(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL));
  if (walls.ruleset.is_open()) {
    PARLEY_TRY(
        sys::call<::syscall>(long{SYS_landlock_restrict_self}, long{walls.ruleset.number()}, 0L));
  }
  if (!walls.has_filter) return {};
  const sock_fprog program{.len = static_cast<unsigned short>(walls.program.size()),
                           .filter = walls.program.data()};
  const long thread = PARLEY_TRY(sys::call<::syscall>(
      long{SYS_seccomp}, long{SECCOMP_SET_MODE_FILTER}, filter_flags, &program));
  if (thread != 0) return failure(Error::busy);  // it has a filter of its own
  return {};
}

/// The same in a copy, so that what the kernel would refuse half-way has changed nothing here.
auto try_in_copy(Walls& walls) -> Result<void> {
  const SignalsBlocked blocked;
  const Copy copy = PARLEY_TRY(clone_until_exec());
  if (copy.pid == 0) {
    const auto done = put_up(walls);
    _exit(done ? 0 : static_cast<int>(done.error()));
  }
  siginfo_t end{};
  const auto waited =
      sys::call<::waitid>(by_pidfd, static_cast<id_t>(copy.pidfd.number()), &end, WEXITED | __WALL);
  if (!waited) {
    discard(copy.pidfd);
    return failure(waited.error());
  }
  if (end.si_code != CLD_EXITED) return failure(Error::io);
  if (end.si_status != 0) return failure(static_cast<Error>(end.si_status));
  return {};
}

}  // namespace

auto Confinement::probe() -> ConfinementReport {
  ConfinementReport report;
  report.landlock_abi = landlock_abi();
  if (report.landlock_abi) {
    const auto threads = thread_count();
    if (!threads) report.landlock_abi = failure(threads.error());
    if (threads && *threads != 1) report.landlock_abi = failure(Error::busy);
  }
  const auto part = [&](ConfinementPart which) -> auto& {
    return report.missing.at(static_cast<std::size_t>(which));
  };
  if (const auto obstacle = filter_obstacle()) {
    report.missing.fill(obstacle);
    if (scopes_signals(report)) part(ConfinementPart::signals).reset();
    return report;
  }
  auto doors = open_doors();
  if (!doors) {
    part(ConfinementPart::held_sockets) = doors.error();
  } else if (!doors->empty()) {
    part(ConfinementPart::held_sockets) = Error::busy;
    report.held_open_doors = *std::move(doors);
  }
  return report;
}

auto Confinement::enter(ConfinementOptions options) -> Result<ConfinementReport> {
  ConfinementReport report = probe();
  const auto missing = std::ranges::find_if(report.missing, &std::optional<Error>::has_value);
  if (options.require_all && missing != report.missing.end()) return failure(**missing);
  Walls walls = PARLEY_TRY(prepare(report));
  PARLEY_TRY(try_in_copy(walls));
  PARLEY_TRY(put_up(walls));
  return report;
}

auto limit_rights(BorrowedFd, DescriptorRights) -> Result<void> {
  return failure(Error::not_supported);
}

}  // namespace parley::os
#endif
