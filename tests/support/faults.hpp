// Makes each system call of an operation fail in turn, or kills the process there, and looks at
// what it leaves behind.
#pragma once

#include <doctest/doctest.h>

#include <csignal>
#include <functional>
#include <string>

#include <parley/error.hpp>

#include "os/sys.hpp"
#include "support/descriptors.hpp"
#include "support/peer.hpp"

namespace parley::test {

/// What an operation under test ended with: nothing, or its error.
using Outcome = Result<void>;

inline void check_succeeded(const Outcome& outcome) {
  const std::string why = outcome ? "" : message(outcome.error());
  CAPTURE(why);
  CHECK(outcome.has_value());
}

/// Runs `operation` again and again, failing its 1st, 2nd, 3rd … system call with EIO until one run
/// makes no further call. Each failed run must end in that very error and leave as many descriptors
/// open as before. `operation` gives up all that it made before it returns; what it needs
/// beforehand is made outside of it. Returns how many calls were made to fail, for the test to
/// check that there were any. A process that the operation starts goes on counting by itself; its
/// failure counts where it comes back as EIO.
///
/// Where the operation has another way for some of its calls (`Failures::may_be_survived`), a run
/// whose call failed may also succeed.
enum class Failures { are_told, may_be_survived };
inline auto fail_each_call(const std::function<Outcome()>& operation,
                           Failures failures = Failures::are_told) -> int {
  constexpr int calls_at_most = 1000;
  for (int call = 1; call <= calls_at_most; ++call) {
    const auto before = open_descriptors();
    os::sys::injection = {.calls_until_failure = call, .error = Error::io};
    const Outcome outcome = operation();
    const bool fired = os::sys::injection.fired;
    os::sys::injection = {};
    CAPTURE(call);
    CHECK(open_descriptors() == before);
    if (!fired && (outcome || outcome.error() != Error::io)) {
      check_succeeded(outcome);
      return call - 1;
    }
    if (outcome && failures == Failures::may_be_survived) continue;
    CHECK_FALSE(outcome.has_value());
    if (!outcome) CHECK(outcome.error() == Error::io);
  }
  FAIL("the operation never ends");
  return 0;
}

/// Interrupts each system call of `operation` in turn with EINTR; it must succeed all the same.
inline auto interrupt_each_call(const std::function<Outcome()>& operation) -> int {
  constexpr int calls_at_most = 1000;
  for (int call = 1; call <= calls_at_most; ++call) {
    os::sys::injection = {.calls_until_failure = call, .error = Error::interrupted};
    const Outcome outcome = operation();
    const bool fired = os::sys::injection.fired;
    os::sys::injection = {};
    CAPTURE(call);
    check_succeeded(outcome);
    if (!fired) return call - 1;
  }
  FAIL("the operation never ends");
  return 0;
}

/// Runs `operation` in a peer that is killed before its 1st, 2nd, 3rd … system call, until one
/// lives to the end; after each, `look` sees what is left. Returns how many were killed.
inline auto kill_at_each_call(const std::function<Outcome()>& operation,
                              const std::function<void()>& look) -> int {
  constexpr int calls_at_most = 1000;
  for (int call = 1; call <= calls_at_most; ++call) {
    Peer peer([&] {
      os::sys::injection = {.calls_until_failure = call, .kills = true};
      REQUIRE(operation());
    });
    const int status = peer.wait();
    CAPTURE(call);
    look();
    if (status == 0) return call - 1;
    REQUIRE(status == -SIGKILL);
  }
  FAIL("the operation never ends");
  return 0;
}

}  // namespace parley::test
