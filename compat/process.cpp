#include "process.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>

#include "export.hpp"

namespace parley::compat {
namespace {

// Never destroyed: programs call these functions until their very end.
alignas(Space) constinit std::array<std::byte, sizeof(Space)> space_memory{};
constinit Space* the_space = nullptr;
constinit pthread_once_t space_once = PTHREAD_ONCE_INIT;

void open_space() {
  const int before = errno;
  // A program with more rights than its caller does not go where that one says.
  const char* const named = secure_getenv("PARLEY_SPACE");  // NOLINT(concurrency-mt-unsafe)
  const auto path = named != nullptr ? Result<std::string>(named) : Space::own_path();
  auto opened = path ? Space::open_or_create(*path) : failure(path.error());
  if (opened) {
    the_space = new (space_memory.data()) Space(std::move(*opened));
  } else {
    static_cast<void>(std::fprintf(stderr, "parley: no space at %s: %s\n",
                                   path ? path->c_str() : "all", message(opened.error()).c_str()));
  }
  errno = before;
}

auto has_capability(unsigned capability) -> bool {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (syscall(SYS_capget, &header, data.data()) != 0) return geteuid() == 0;
  return (data[capability / 32].effective >> (capability % 32) & 1U) != 0;
}

}  // namespace

auto space() noexcept -> Space* {
  pthread_once(&space_once, open_space);
  return the_space;
}

auto may_exceed_limits() noexcept -> bool {
  return has_capability(CAP_SYS_RESOURCE);
}

auto may_lock_any() noexcept -> bool {
  return has_capability(CAP_IPC_LOCK);
}

User::User()
    : uid_(geteuid()),
      gid_(getegid()),
      group_count_(getgroups(groups_at_most, groups_)),
      is_privileged_(has_capability(CAP_IPC_OWNER)) {
  if (group_count_ < 0) group_count_ = 0;
}

}  // namespace parley::compat
