// Trying something as another user, for tests of permissions.
#pragma once

#include <doctest/doctest.h>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "support/skip.hpp"

namespace parley::test {

/// Whether this process can become another user; where not, says that the test is skipped.
inline auto can_become_another_user() -> bool {
  if (geteuid() == 0) return true;
  skip("only root can become another user");
  return false;
}

/// For a Peer: this process becomes a user who owns nothing, without a way back.
inline void become_nobody() {
  constexpr unsigned nobody = 65534;
  REQUIRE(setgroups(0, nullptr) == 0);
  REQUIRE(setresgid(nobody, nobody, nobody) == 0);
  REQUIRE(setresuid(nobody, nobody, nobody) == 0);
  // Changing ids has cleared what lets a peer die with its test.
  REQUIRE(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
}

}  // namespace parley::test
