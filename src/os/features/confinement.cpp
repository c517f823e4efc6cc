// Probes of what confines a process; they confine the probe's own.
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "os/features/probe.hpp"

namespace parley::os::probe {
namespace {

/// What both ask of a process without privileges.
auto forbid_new_privileges() -> Result<void> {
  PARLEY_TRY(sys::call<::prctl>(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL));
  return {};
}

}  // namespace

auto landlock() -> Result<Fact> {
  // ABI 6 was the first that confines signals and abstract sockets.
  constexpr std::uint64_t scopes_too = 6;
  const long version =
      PARLEY_TRY(sys::call<::syscall>(long{SYS_landlock_create_ruleset}, nullptr, std::size_t{0},
                                      unsigned{LANDLOCK_CREATE_RULESET_VERSION}));
  const landlock_ruleset_attr rules{.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE};
  const long ruleset =
      PARLEY_TRY(sys::call<::syscall>(long{SYS_landlock_create_ruleset}, &rules, sizeof rules, 0U));
  PARLEY_TRY(forbid_new_privileges());
  PARLEY_TRY(sys::call<::syscall>(long{SYS_landlock_restrict_self}, static_cast<int>(ruleset), 0U));
  return measured_at_least(static_cast<std::uint64_t>(version), scopes_too);
}

auto seccomp_filter() -> Result<Fact> {
  std::array<sock_filter, 1> allow_all{
      sock_filter{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ALLOW}};
  const sock_fprog program{.len = allow_all.size(), .filter = allow_all.data()};
  PARLEY_TRY(forbid_new_privileges());
  PARLEY_TRY(
      sys::call<::syscall>(long{SYS_seccomp}, unsigned{SECCOMP_SET_MODE_FILTER}, 0U, &program));
  return Fact{};
}

}  // namespace parley::os::probe
