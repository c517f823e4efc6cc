// Who the process is: calls that change it, so that permissions are looked at anew.
#include <grp.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <atomic>

#include "export.hpp"
#include "next.hpp"
#include "process.hpp"

namespace parley::compat {
namespace {

constinit std::atomic<std::uint32_t> generation{0};

/// Calls the C library's own; after it permissions are to be looked at anew.
template <class Function, class... Arguments>
auto changed(Next<Function>& next, Arguments... arguments) {
  const auto result = next.get()(arguments...);
  generation.fetch_add(1, std::memory_order_relaxed);
  return result;
}

}  // namespace

auto user_generation() noexcept -> std::uint32_t {
  return generation.load(std::memory_order_relaxed);
}

}  // namespace parley::compat

using parley::compat::changed;
using parley::compat::Next;

PARLEY_COMPAT auto setuid(uid_t uid) noexcept -> int {
  static constinit Next<int(uid_t)> next("setuid");
  return changed(next, uid);
}
PARLEY_COMPAT auto seteuid(uid_t uid) noexcept -> int {
  static constinit Next<int(uid_t)> next("seteuid");
  return changed(next, uid);
}
PARLEY_COMPAT auto setreuid(uid_t ruid, uid_t euid) noexcept -> int {
  static constinit Next<int(uid_t, uid_t)> next("setreuid");
  return changed(next, ruid, euid);
}
PARLEY_COMPAT auto setresuid(uid_t ruid, uid_t euid, uid_t suid) noexcept -> int {
  static constinit Next<int(uid_t, uid_t, uid_t)> next("setresuid");
  return changed(next, ruid, euid, suid);
}
PARLEY_COMPAT auto setgid(gid_t gid) noexcept -> int {
  static constinit Next<int(gid_t)> next("setgid");
  return changed(next, gid);
}
PARLEY_COMPAT auto setegid(gid_t gid) noexcept -> int {
  static constinit Next<int(gid_t)> next("setegid");
  return changed(next, gid);
}
PARLEY_COMPAT auto setregid(gid_t rgid, gid_t egid) noexcept -> int {
  static constinit Next<int(gid_t, gid_t)> next("setregid");
  return changed(next, rgid, egid);
}
PARLEY_COMPAT auto setresgid(gid_t rgid, gid_t egid, gid_t sgid) noexcept -> int {
  static constinit Next<int(gid_t, gid_t, gid_t)> next("setresgid");
  return changed(next, rgid, egid, sgid);
}
PARLEY_COMPAT auto setgroups(size_t count, const gid_t* groups) noexcept -> int {
  static constinit Next<int(size_t, const gid_t*)> next("setgroups");
  return changed(next, count, groups);
}
PARLEY_COMPAT auto initgroups(const char* user, gid_t group) -> int {
  static constinit Next<int(const char*, gid_t)> next("initgroups");
  return changed(next, user, group);
}
PARLEY_COMPAT auto setfsuid(uid_t uid) noexcept -> int {
  static constinit Next<int(uid_t)> next("setfsuid");
  return changed(next, uid);
}
PARLEY_COMPAT auto setfsgid(gid_t gid) noexcept -> int {
  static constinit Next<int(gid_t)> next("setfsgid");
  return changed(next, gid);
}
