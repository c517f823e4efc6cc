#include <doctest/doctest.h>

#include <pthread.h>
#include <unistd.h>
#include <csignal>

#include <chrono>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include <parley/deadline.hpp>

#include "os/sys.hpp"
#include "os/wait.hpp"
#include "support/signals.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::SignalsRestored;

namespace {

volatile std::sig_atomic_t handled_count = 0;

void count_signal(int /*signal*/) {
  handled_count = handled_count + 1;
}

void set_action(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  REQUIRE(sigaction(signal, &action, nullptr) == 0);
}

auto has_action(int signal, void (*handler)(int)) -> bool {
  struct sigaction action{};
  REQUIRE(sigaction(signal, nullptr, &action) == 0);
  return action.sa_handler == handler;
}

void block(int signal) {
  sigset_t only{};
  sigemptyset(&only);
  sigaddset(&only, signal);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &only, nullptr) == 0);
}

auto is_blocked(int signal) -> bool {
  sigset_t mask{};
  REQUIRE(pthread_sigmask(SIG_BLOCK, nullptr, &mask) == 0);
  return sigismember(&mask, signal) == 1;
}

/// A call that never ends by itself, under a deadline: how it ended.
auto wait_for_nothing(Deadline deadline) -> Error {
  return until(deadline, [] { return sys::call<::pause>(); }).error();
}

/// The timers of this process, as the kernel lists them.
auto timers() -> std::string {
  std::ifstream file("/proc/self/timers");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("an alarm ends a call without a timeout at the deadline, not before") {
  const SignalsRestored restored;
  const auto start = Deadline::Clock::now();
  CHECK(wait_for_nothing(Deadline::at(start + 20ms)) == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
}

TEST_CASE("an alarm goes on after its deadline, for the call that had not begun by then") {
  const SignalsRestored restored;
  const auto alarm = Alarm::set(Deadline::after(1us));
  REQUIRE(alarm);
  for (int i = 0; i < 3; ++i) CHECK(sys::call<::pause>().error() == Error::interrupted);
}

TEST_CASE("a deadline that has passed ends a call before it begins") {
  bool ran = false;
  const auto run = [&]() -> parley::Result<int> {
    ran = true;
    return 0;
  };
  CHECK(until(Deadline::now(), run).error() == Error::would_block);
  CHECK(until(Deadline::after(-1s), run).error() == Error::timed_out);
  CHECK_FALSE(ran);
}

TEST_CASE("without a deadline there is no alarm and no signal is taken") {
  const SignalsRestored restored;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) set_action(signal, SIG_DFL);
  CHECK(until(Deadline::never(), []() -> parley::Result<int> { return 7; }).value() == 7);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) CHECK(has_action(signal, SIG_DFL));
}

TEST_CASE("an alarm passes over the signals that the program handles or ignores") {
  const SignalsRestored restored;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) set_action(signal, SIG_DFL);
  set_action(SIGRTMAX, count_signal);
  set_action(SIGRTMAX - 1, SIG_IGN);
  handled_count = 0;
  CHECK(wait_for_nothing(Deadline::after(5ms)) == Error::timed_out);
  CHECK(handled_count == 0);
  CHECK(has_action(SIGRTMAX, count_signal));
  CHECK(has_action(SIGRTMAX - 1, SIG_IGN));
  CHECK_FALSE(has_action(SIGRTMAX - 2, SIG_DFL));
  CHECK(has_action(SIGRTMAX - 3, SIG_DFL));
}

TEST_CASE("an alarm gives its signal up when the program starts to use it") {
  const SignalsRestored restored;
  CHECK(wait_for_nothing(Deadline::after(1ms)) == Error::timed_out);
  set_action(SIGRTMAX, count_signal);
  handled_count = 0;
  CHECK(wait_for_nothing(Deadline::after(5ms)) == Error::timed_out);
  CHECK(handled_count == 0);
}

TEST_CASE("an alarm leaves a signal alone that the program blocks to wait for it") {
  const SignalsRestored restored;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) set_action(signal, SIG_DFL);
  block(SIGRTMAX);
  REQUIRE(pthread_kill(pthread_self(), SIGRTMAX) == 0);
  CHECK(wait_for_nothing(Deadline::after(5ms)) == Error::timed_out);
  sigset_t only{};
  sigemptyset(&only);
  sigaddset(&only, SIGRTMAX);
  const timespec at_once{};
  CHECK(sigtimedwait(&only, nullptr, &at_once) == SIGRTMAX);
}

TEST_CASE("an alarm works where every signal is blocked, and blocks its own again") {
  const SignalsRestored restored;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) set_action(signal, SIG_DFL);
  sigset_t all{};
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &all, nullptr) == 0);
  {
    auto alarm = Alarm::set(Deadline::after(1ms));
    REQUIRE(alarm);
    CHECK_FALSE(is_blocked(SIGRTMAX));
    const Alarm moved = *std::move(alarm);
    CHECK_FALSE(is_blocked(SIGRTMAX));
    CHECK(is_blocked(SIGRTMAX - 1));
  }
  CHECK(is_blocked(SIGRTMAX));
  CHECK(wait_for_nothing(Deadline::after(1ms)) == Error::timed_out);
  CHECK(is_blocked(SIGRTMAX));
}

TEST_CASE("an alarm is busy when the program uses every real-time signal") {
  const SignalsRestored restored;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) set_action(signal, count_signal);
  CHECK(wait_for_nothing(Deadline::after(10s)) == Error::busy);
}

TEST_CASE("an alarm leaves no timer behind") {
  const SignalsRestored restored;
  const auto before = timers();
  CHECK(wait_for_nothing(Deadline::after(1ms)) == Error::timed_out);
  {
    auto alarm = Alarm::set(Deadline::after(10s));
    REQUIRE(alarm);
    CHECK(timers() != before);
    const Alarm moved = *std::move(alarm);
  }
  CHECK(timers() == before);
}
