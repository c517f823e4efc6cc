// Probes of the system as a whole and of its limits.
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstring>
#include <optional>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "os/features/probe.hpp"
#include "os/object_file.hpp"

namespace parley::os::probe {
namespace {

/// The first Linux that has all of the calls, futex_waitv(2) being the youngest.
constexpr int major_needed = 5;
constexpr int minor_needed = 16;

auto limit(int resource, std::uint64_t enough) -> Result<Fact> {
  rlimit limits{};
  PARLEY_TRY(sys::call<::getrlimit>(static_cast<decltype(RLIMIT_NOFILE)>(resource), &limits));
  if (limits.rlim_cur == RLIM_INFINITY) return unlimited();
  return measured_at_least(limits.rlim_cur, enough);
}

/// The path of this process in the hierarchy of a version 1 controller, or of version 2 where
/// `controller` is empty: what stands after "N:CONTROLLERS:" in /proc/self/cgroup.
auto cgroup_path(std::string_view file, std::string_view controller)
    -> std::optional<std::string_view> {
  while (!file.empty()) {
    std::string_view line = file.substr(0, file.find('\n'));
    file.remove_prefix(std::min(line.size() + 1, file.size()));
    line.remove_prefix(std::min(line.find(':') + 1, line.size()));
    const std::string_view controllers = line.substr(0, line.find(':'));
    line.remove_prefix(std::min(controllers.size() + 1, line.size()));
    if (controllers == controller) return line;
  }
  return std::nullopt;
}

/// The smallest of the limits in `file` of a control group and those above it. "max", or a number
/// near the largest of 64 bits in version 1, is none; so is no such file, as in the root's group.
auto smallest_limit(std::string_view mount, std::string_view path, const char* file)
    -> Result<Fact> {
  constexpr std::uint64_t none = std::uint64_t{1} << 62;
  std::uint64_t smallest = none;
  std::array<char, PATH_MAX> name{};
  for (;;) {
    if (path == "/") path = "";
    static_cast<void>(std::snprintf(name.data(), name.size(), "%.*s%.*s/%s",
                                    static_cast<int>(mount.size()), mount.data(),
                                    static_cast<int>(path.size()), path.data(), file));
    const auto value = read_number(name.data());
    if (value) smallest = std::min(smallest, *value);
    if (path.empty()) break;
    path = path.substr(0, path.rfind('/'));
  }
  // `name` is the file of the topmost group now; its folder tells whether groups can be seen at
  // all.
  const std::string_view top = std::string_view(name.data());
  name.at(top.rfind('/')) = '\0';
  PARLEY_TRY(sys::call<::access>(name.data(), X_OK));
  return smallest == none ? unlimited() : measured(smallest);
}

auto cgroup_limit(std::string_view controller, const char* file_v1, const char* file_v2)
    -> Result<Fact> {
  std::array<char, 4096> buffer{};
  const std::string_view groups = PARLEY_TRY(read_file("/proc/self/cgroup", buffer));
  Result<Fact> fact = failure(Error::not_found);
  if (const auto path = cgroup_path(groups, controller)) {
    std::array<char, 64> mount{};
    const int size = std::snprintf(mount.data(), mount.size(), "/sys/fs/cgroup/%.*s",
                                   static_cast<int>(controller.size()), controller.data());
    fact = smallest_limit({mount.data(), static_cast<std::size_t>(size)}, *path, file_v1);
  } else if (const auto unified = cgroup_path(groups, "")) {
    fact = smallest_limit("/sys/fs/cgroup", *unified, file_v2);
  }
  if (!fact && fact.error() == Error::not_found) {
    return told(Presence::unknown, "no control group can be seen");
  }
  return fact;
}

}  // namespace

auto linux_version() -> Result<Fact> {
  utsname name{};
  PARLEY_TRY(sys::call<::uname>(&name));
  int major = 0;
  int minor = 0;
  const char* end = std::begin(name.release) + std::strlen(std::begin(name.release));
  const auto dot = std::from_chars(std::begin(name.release), end, major).ptr;
  if (dot == end || std::from_chars(dot + 1, end, minor).ec != std::errc()) {
    return told(Presence::unknown, "%s", std::begin(name.release));
  }
  const bool is_new = major > major_needed || (major == major_needed && minor >= minor_needed);
  if (is_new) return told(Presence::present, "%s", std::begin(name.release));
  return told(Presence::missing, "%s is older than %d.%d", std::begin(name.release), major_needed,
              minor_needed);
}

auto c_library() -> Result<Fact> {
#ifdef __GLIBC__
  return told(Presence::present, "glibc %s", gnu_get_libc_version());
#else
  return told(Presence::present, "not glibc (musl, most likely)");
#endif
}

auto cores() -> Result<Fact> {
  cpu_set_t set{};
  PARLEY_TRY(sys::call<::sched_getaffinity>(pid_t{0}, sizeof set, &set));
  return measured_at_least(static_cast<std::uint64_t>(CPU_COUNT(&set)), 2);
}

auto proc_filesystem() -> Result<Fact> {
  PARLEY_TRY(sys::call<::access>("/proc/self/fd", R_OK | X_OK));
  return Fact{};
}

auto boot_id() -> Result<Fact> {
  if (os::boot_id() != std::array<std::byte, 16>{}) return Fact{};
  return told(Presence::missing, "/proc/sys/kernel/random/boot_id does not tell");
}

auto pid_namespace() -> Result<Fact> {
  constexpr ino_t initial = 0xEFFFFFFCU;  // fixed in Linux: PROC_PID_INIT_INO
  struct stat status{};
  PARLEY_TRY(sys::call<::stat>("/proc/self/ns/pid", &status));
  return told(Presence::present, status.st_ino == initial ? "the initial one" : "one of its own");
}

auto rlimit_nofile() -> Result<Fact> {
  return limit(RLIMIT_NOFILE, 1024);
}

auto rlimit_memlock() -> Result<Fact> {
  return limit(RLIMIT_MEMLOCK, 8 << 20);
}

auto rlimit_msgqueue() -> Result<Fact> {
  return limit(RLIMIT_MSGQUEUE, 819'200);
}

auto max_map_count() -> Result<Fact> {
  return measured_at_least(PARLEY_TRY(read_number("/proc/sys/vm/max_map_count")), 65'530);
}

auto cgroup_pids() -> Result<Fact> {
  return cgroup_limit("pids", "pids.max", "pids.max");
}

auto cgroup_memory() -> Result<Fact> {
  return cgroup_limit("memory", "memory.limit_in_bytes", "memory.max");
}

}  // namespace parley::os::probe
