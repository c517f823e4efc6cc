#include "compat/signals.hpp"

#include <doctest/doctest.h>

#include <csignal>

namespace parley::compat {

TEST_CASE("a call may be made again if handlers ran, all of them with SA_RESTART") {
  const auto handle = [](int signal, int flags) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    action.sa_flags = flags;
    REQUIRE(sigaction(signal, &action, nullptr) == 0);
  };
  handle(SIGUSR1, SA_RESTART);
  handle(SIGUSR2, 0);
  const HandlersSince begin;
  CHECK_FALSE(begin.let_restart());
  REQUIRE(std::raise(SIGUSR1) == 0);
  CHECK(begin.let_restart());
  const HandlersSince later;
  REQUIRE(std::raise(SIGUSR2) == 0);
  CHECK_FALSE(begin.let_restart());
  CHECK_FALSE(later.let_restart());
  handle(SIGUSR2, SA_RESTART);
  const HandlersSince last;
  REQUIRE(std::raise(SIGUSR2) == 0);
  CHECK(last.let_restart());
}

}  // namespace parley::compat
