#include <doctest/doctest.h>

#include <pthread.h>
#include <csignal>

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>

#include "os/wait.hpp"
#include "support/faults.hpp"
#include "support/signals.hpp"

using namespace std::chrono_literals;
using parley::Deadline;
using parley::os::Alarm;
using parley::test::fail_each_call;
using parley::test::Outcome;
using parley::test::SignalsRestored;

namespace {

auto timers() -> std::string {
  std::ifstream file("/proc/self/timers");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("every failing call of setting an alarm gives its error and leaves no timer") {
  const SignalsRestored restored;
  sigset_t all{};
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  const auto before = timers();
  const auto check_unchanged = [&] {
    CHECK(timers() == before);
    sigset_t mask{};
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    CHECK(sigismember(&mask, SIGRTMAX) == 1);
  };
  CHECK(fail_each_call([&]() -> Outcome {
          check_unchanged();
          PARLEY_TRY(Alarm::set(Deadline::after(10s)));
          return {};
        }) >= 4);
  check_unchanged();
}
