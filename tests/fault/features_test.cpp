#include <parley/os/features.hpp>

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <cerrno>

#include <algorithm>
#include <vector>

#include "os/sys.hpp"
#include "support/descriptors.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::open_descriptors;

TEST_CASE("a call that fails while features are probed makes one unknown and leaves nothing") {
  // The calls of the first feature and of some after it, in this process and in their children.
  constexpr int calls = 12;
  const auto before = open_descriptors();
  for (int call = 1; call <= calls; ++call) {
    CAPTURE(call);
    sys::injection = {.calls_until_failure = call, .error = Error::io};
    const auto features = probe_features();
    const bool fired = sys::injection.fired;
    sys::injection = {};
    CHECK(fired);
    CHECK(open_descriptors() == before);
    CHECK(waitpid(-1, nullptr, __WALL | WNOHANG) == -1);
    CHECK(errno == ECHILD);
    CHECK(std::ranges::count(features, Error::io, [](const Feature& feature) {
            return feature.error.value_or(Error{});
          }) >= 1);
    for (const auto& feature : features) {
      if (feature.error == Error::io) CHECK(feature.presence == Presence::unknown);
    }
  }
}
