#include "support/sysv.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

namespace parley::test {

OwnKey::OwnKey() : key_(os::sysv::Key::private_key()) {
  // ftok looks at 16 bits of the inode only, so the name of the directory, which is random,
  // decides.
  unsigned number = 2166136261U;
  for (const char letter : directory_.path().string()) {
    number = (number ^ static_cast<unsigned char>(letter)) * 16777619U;
  }
  key_ = os::sysv::Key::from_number(static_cast<key_t>(number | 1U));
}

IpcNamespace::IpcNamespace() {
  auto before = os::OwnedFd::from_number(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
  if (before.is_open() && unshare(CLONE_NEWIPC) == 0) before_ = std::move(before);
}

IpcNamespace::~IpcNamespace() {
  if (is_entered()) CHECK(setns(before_.number(), CLONE_NEWIPC) == 0);
}

auto become_nobody() -> bool {
  constexpr id_t nobody = 65534;
  if (geteuid() != 0) return false;
  REQUIRE(setgroups(0, nullptr) == 0);
  REQUIRE(setresgid(nobody, nobody, nobody) == 0);
  REQUIRE(setresuid(nobody, nobody, nobody) == 0);
  // Changing ids has cleared what Peer set up.
  REQUIRE(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
  return true;
}

}  // namespace parley::test
