// What tests of capability mode have in common: attempts that must be denied.
#pragma once

#include <doctest/doctest.h>
#include <cerrno>

#include <functional>
#include <string_view>
#include <vector>

#include <parley/os/confinement.hpp>

#include "support/peer.hpp"
#include "support/skip.hpp"

namespace parley::test {

/// False, and says that the test is skipped, where capability mode is not to be had in full: no
/// filters, or the test runner gave us a socket that can name strangers.
inline auto can_be_confined() -> bool {
  if (os::Confinement::probe().complete()) return true;
  skip("this machine does not enforce all of capability mode");
  return false;
}

/// Something that capability mode forbids. `run` returns as a system call does.
struct Attempt {
  std::string_view name;
  std::function<long()> run;
  /// Whether every process may do it, then it must not be EPERM before entering; or only some: it
  /// needs privileges, or containers forbid it.
  bool everywhere = true;
};

inline constexpr bool not_everywhere = false;

/// Makes each attempt before and after entering, in processes of their own.
inline void check_denied(const std::vector<Attempt>& attempts) {
  for (const Attempt& attempt : attempts) {
    CAPTURE(attempt.name);
    Peer free([&] {
      if (!attempt.everywhere) return;
      errno = 0;
      INFO(attempt.name);
      REQUIRE_FALSE((attempt.run() == -1 && errno == EPERM));
    });
    CHECK(free.wait() == 0);
    Peer confined([&] {
      const auto report = os::Confinement::enter();
      REQUIRE(report);
      REQUIRE(report->complete());
      errno = 0;
      INFO(attempt.name);
      REQUIRE(attempt.run() == -1);
      REQUIRE(errno == EPERM);
    });
    CHECK(confined.wait() == 0);
  }
}

}  // namespace parley::test
