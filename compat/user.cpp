// Who the process is: calls that change it, so that permissions are looked at anew.
#include <dlfcn.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <atomic>

#include "export.hpp"
#include "process.hpp"

namespace parley::compat {
namespace {

constinit std::atomic<std::uint32_t> generation{0};

/// The C library's own function of that name, after which permissions are to be looked at anew.
template <class Function, class... Arguments>
auto changed(const char* name, Arguments... arguments) {
  const auto function = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
  const auto result = function(arguments...);
  generation.fetch_add(1, std::memory_order_relaxed);
  return result;
}

}  // namespace

auto user_generation() noexcept -> std::uint32_t {
  return generation.load(std::memory_order_relaxed);
}

}  // namespace parley::compat

using parley::compat::changed;

PARLEY_COMPAT auto setuid(uid_t uid) noexcept -> int {
  return changed<int(uid_t)>("setuid", uid);
}
PARLEY_COMPAT auto seteuid(uid_t uid) noexcept -> int {
  return changed<int(uid_t)>("seteuid", uid);
}
PARLEY_COMPAT auto setreuid(uid_t ruid, uid_t euid) noexcept -> int {
  return changed<int(uid_t, uid_t)>("setreuid", ruid, euid);
}
PARLEY_COMPAT auto setresuid(uid_t ruid, uid_t euid, uid_t suid) noexcept -> int {
  return changed<int(uid_t, uid_t, uid_t)>("setresuid", ruid, euid, suid);
}
PARLEY_COMPAT auto setgid(gid_t gid) noexcept -> int {
  return changed<int(gid_t)>("setgid", gid);
}
PARLEY_COMPAT auto setegid(gid_t gid) noexcept -> int {
  return changed<int(gid_t)>("setegid", gid);
}
PARLEY_COMPAT auto setregid(gid_t rgid, gid_t egid) noexcept -> int {
  return changed<int(gid_t, gid_t)>("setregid", rgid, egid);
}
PARLEY_COMPAT auto setresgid(gid_t rgid, gid_t egid, gid_t sgid) noexcept -> int {
  return changed<int(gid_t, gid_t, gid_t)>("setresgid", rgid, egid, sgid);
}
PARLEY_COMPAT auto setgroups(size_t count, const gid_t* groups) noexcept -> int {
  return changed<int(size_t, const gid_t*)>("setgroups", count, groups);
}
PARLEY_COMPAT auto initgroups(const char* user, gid_t group) -> int {
  return changed<int(const char*, gid_t)>("initgroups", user, group);
}
PARLEY_COMPAT auto setfsuid(uid_t uid) noexcept -> int {
  return changed<int(uid_t)>("setfsuid", uid);
}
PARLEY_COMPAT auto setfsgid(gid_t gid) noexcept -> int {
  return changed<int(gid_t)>("setfsgid", gid);
}
