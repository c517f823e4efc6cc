#include <parley/os/confinement.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include <map>

#include "os/sys.hpp"
#include "support/confined.hpp"
#include "support/descriptors.hpp"
#include "support/peer.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::can_be_confined;
using parley::test::open_descriptors;
using parley::test::Peer;

namespace {

constexpr int abi_with_scopes = 6;

auto opens_paths() -> bool {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

auto is_unchanged() -> bool {
  return opens_paths() && prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) == 0 &&
         prctl(PR_GET_SECCOMP) == 0;
}

/// What an enter ended with whose n-th call failed.
enum Ending : int {
  refused_unchanged = 100,
  refused_half_way,
  entered_and_said_so,
  entered_without_failure,
  wrong,
};

auto enter_with_failure(int call) -> Ending {
  const auto before = open_descriptors();
  sys::injection = {.calls_until_failure = call, .error = Error::io};
  const auto report = Confinement::enter();
  const bool fired = sys::injection.fired;
  sys::injection = {};
  if (report && opens_paths()) return wrong;
  // A failure that did not happen here has happened in the copy that tries the steps.
  if (report && !fired) return entered_without_failure;
  if (report)
    return report->landlock_abi == parley::failure(Error::io) ? entered_and_said_so : wrong;
  if (report.error() != Error::io) return wrong;
  if (!is_unchanged()) return refused_half_way;
  return open_descriptors() == before ? refused_unchanged : wrong;
}

/// The number of the first call whose failure makes the filter missing.
auto filter_query() -> int {
  for (int call = 1;; ++call) {
    sys::injection = {.calls_until_failure = call, .error = Error::invalid};
    const auto report = Confinement::probe();
    const bool fired = sys::injection.fired;
    sys::injection = {};
    REQUIRE(fired);
    if (report.why_not(ConfinementPart::paths)) return call;
  }
}

}  // namespace

TEST_CASE("every failing call of entering is its error, or is reported, and changes nothing") {
  if (!can_be_confined()) return;
  std::map<Ending, int> count;
  for (int call = 1; !count.contains(entered_without_failure); ++call) {
    Peer peer([&] { _exit(enter_with_failure(call)); });
    const auto ending = static_cast<Ending>(peer.wait());
    CAPTURE(call);
    REQUIRE(ending >= refused_unchanged);
    REQUIRE(ending < wrong);
    ++count[ending];
  }
  CHECK(count[refused_unchanged] > 100);
  // Landlock's version and the count of threads: then the filter stands alone.
  CHECK(count[entered_and_said_so] >= 2);
  // The last steps, after they have all been granted to a copy.
  CHECK(count[refused_half_way] <= 2);
}

TEST_CASE("on a kernel without Landlock the filter stands alone, and the report says so") {
  if (!can_be_confined()) return;
  Peer peer([] {
    sys::injection = {.calls_until_failure = 1, .error = Error::no_such_call};
    const auto report = Confinement::enter();
    REQUIRE(sys::injection.fired);
    REQUIRE(report);
    REQUIRE(report->landlock_abi.error() == Error::no_such_call);
    REQUIRE(report->complete());
    REQUIRE_FALSE(opens_paths());
    // It knows no receiver but this process.
    REQUIRE(kill(getpid(), 0) == 0);
    REQUIRE(raise(0) == 0);
    REQUIRE(kill(getppid(), 0) == -1);
    REQUIRE(errno == EPERM);
    const pid_t copy = fork();
    if (copy == 0) _exit(kill(getpid(), 0) == -1 ? 0 : 1);
    REQUIRE(copy > 0);
    REQUIRE(kill(copy, 0) == -1);
  });
}

TEST_CASE("on a kernel without filters enter fails and has changed nothing") {
  if (!can_be_confined()) return;
  Peer peer([] {
    sys::injection = {.calls_until_failure = filter_query(), .error = Error::invalid};
    REQUIRE(Confinement::enter().error() == Error::invalid);
    REQUIRE(is_unchanged());
  });
}

TEST_CASE("on a kernel without filters as much as there is can be asked for, and is told") {
  if (!can_be_confined()) return;
  Peer peer([] {
    sys::injection = {.calls_until_failure = filter_query(), .error = Error::invalid};
    const auto report = Confinement::enter({.require_all = false});
    REQUIRE(report);
    REQUIRE_FALSE(report->complete());
    for (const auto part : {ConfinementPart::paths, ConfinementPart::new_sockets,
                            ConfinementPart::named_objects, ConfinementPart::tracing}) {
      REQUIRE(report->why_not(part) == Error::invalid);
    }
    struct stat status{};
    REQUIRE(stat("/dev/null", &status) == 0);  // as the report says
    if (!report->landlock_abi) return;
    REQUIRE_FALSE(opens_paths());
    REQUIRE(errno == EACCES);
    const bool scoped = *report->landlock_abi >= abi_with_scopes;
    REQUIRE(report->why_not(ConfinementPart::signals).has_value() != scoped);
    REQUIRE((kill(getppid(), 0) == -1) == scoped);
  });
}

TEST_CASE("where the held descriptors cannot be looked at, their part is missing with the reason") {
  if (!can_be_confined()) return;
  const int calls = filter_query();
  sys::injection = {.calls_until_failure = calls + 1, .error = Error::access_denied};
  const auto report = Confinement::probe();
  sys::injection = {};
  CHECK(report.why_not(ConfinementPart::held_sockets) == Error::access_denied);
  CHECK_FALSE(report.why_not(ConfinementPart::paths));
}
