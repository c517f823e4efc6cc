#include <doctest/doctest.h>

#include <csignal>
#include <ctime>

#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::bad_address;
using conformance::becomes_true;
using conformance::Child;
using conformance::count_signals;
using conformance::error_of;
using conformance::op;
using conformance::Set;
using Values = std::vector<std::uint16_t>;

auto waiting(const Set& set, int count, int index = 0) -> bool {
  return becomes_true([&] { return set.waiting_for_increase(index) == count; });
}

auto waiting_for_zero(const Set& set, int count, int index = 0) -> bool {
  return becomes_true([&] { return set.waiting_for_zero(index) == count; });
}

auto timed(const Set& set, timespec timeout) -> int {
  auto one = op(0, 1);
  return error_of(semtimedop(set.id(), &one, 1, &timeout));
}

}  // namespace

TEST_CASE("2.3 who subtracts too much waits, counted, until the value is large enough") {
  const Set set({1});
  Child child([&] { return set.add(-3); });
  REQUIRE(waiting(set, 1));
  CHECK(set.waiting_for_zero() == 0);
  CHECK(set.add(1) == 0);
  CHECK(set.waiting_for_increase() == 1);
  CHECK(set.value() == 2);
  CHECK(set.add(1) == 0);
  CHECK(child.result() == 0);
  CHECK(set.value() == 0);
  CHECK(set.waiting_for_increase() == 0);
}

TEST_CASE("2.3 who waits for zero is counted as such") {
  const Set set({2});
  Child child([&] { return set.add(0); });
  REQUIRE(waiting_for_zero(set, 1));
  CHECK(set.waiting_for_increase() == 0);
  CHECK(set.add(-1) == 0);
  CHECK(set.waiting_for_zero() == 1);
  CHECK(set.add(-1) == 0);
  CHECK(child.result() == 0);
  CHECK(set.waiting_for_zero() == 0);
}

TEST_CASE("2.4 a sleeper is woken with EIDRM when the set is removed") {
  const Set set({1, 0});
  Child first([&] { return set.add(-1, 0, 1); });
  Child second([&] { return set.add(0); });
  REQUIRE(waiting(set, 1, 1));
  REQUIRE(waiting_for_zero(set, 1));
  set.remove();
  CHECK(first.result() == EIDRM);
  CHECK(second.result() == EIDRM);
}

TEST_CASE("2.4 a sleeper is woken with EINTR, also under SA_RESTART") {
  for (const int flags : {0, SA_RESTART}) {
    CAPTURE(flags);
    const Set set({0});
    Child child([&] {
      count_signals(flags);
      const auto error = set.add(-1);
      return error == EINTR && conformance::signals_counted() == 1 ? EINTR : -error;
    });
    REQUIRE(waiting(set, 1));
    child.signal(SIGUSR1);
    CHECK(child.result() == EINTR);
    CHECK(set.waiting_for_increase() == 0);
    CHECK(set.value() == 0);
  }
}

TEST_CASE("2.4 a signal that is ignored, or stops and goes on, does not wake a sleeper") {
  const Set set({0});
  Child child([&] {
    signal(SIGUSR1, SIG_IGN);
    return set.add(-1);
  });
  REQUIRE(waiting(set, 1));
  child.signal(SIGUSR1);
  CHECK(child.blocks());
  CHECK(set.waiting_for_increase() == 1);
  CHECK(set.add(1) == 0);
  CHECK(child.result() == 0);
}

TEST_CASE("2.4 a sleeper who is killed is gone, and takes nothing") {
  const Set set({0});
  Child child([&] { return set.add(-1); });
  REQUIRE(waiting(set, 1));
  child.kill();
  CHECK(becomes_true([&] { return set.waiting_for_increase() == 0; }));
  CHECK(set.add(1) == 0);
  CHECK(set.value() == 1);
}

TEST_CASE("2.4 semtimedop ends with EAGAIN when its relative time is over") {
  const Set set({0});
  CHECK(set.operate_within({op(0, -1)}, 0) == EAGAIN);
  timespec before{};
  timespec after{};
  clock_gettime(CLOCK_MONOTONIC, &before);
  CHECK(set.operate_within({op(0, -1)}, 60) == EAGAIN);
  clock_gettime(CLOCK_MONOTONIC, &after);
  const auto passed_ns =
      (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec;
  CHECK(passed_ns >= 60000000L);
  CHECK(set.waiting_for_increase() == 0);
}

TEST_CASE("2.4 semtimedop is done in time when it can proceed") {
  const Set set({0});
  Child child([&] { return set.operate_within({op(0, -1)}, 30000); });
  REQUIRE(waiting(set, 1));
  CHECK(set.add(1) == 0);
  CHECK(child.result() == 0);
  CHECK(set.add(1) == 0);
  CHECK(set.operate_within({op(0, -1)}, 0) == 0);
}

TEST_CASE("2.4 a timeout that is none is EINVAL before anything is done") {
  const Set set({0});
  CHECK(timed(set, {-1, 0}) == EINVAL);
  CHECK(timed(set, {0, -1}) == EINVAL);
  CHECK(timed(set, {0, 1000000000}) == EINVAL);
  CHECK(set.value() == 0);
  CHECK(timed(set, {0, 999999999}) == 0);
  CHECK(set.value() == 1);
}

TEST_CASE("2.4 a timeout that cannot be read is EFAULT, and none is semop") {
  const Set set({0});
  auto one = op(0, 1);
  CHECK(error_of(semtimedop(set.id(), &one, 1, static_cast<timespec*>(bad_address()))) == EFAULT);
  CHECK(set.value() == 0);
  CHECK(semtimedop(set.id(), &one, 1, nullptr) == 0);
  CHECK(set.value() == 1);
}

TEST_CASE("2.4 semtimedop is woken with EIDRM and EINTR too") {
  const Set set({0});
  Child interrupted([&] {
    count_signals(SA_RESTART);
    return set.operate_within({op(0, -1)}, 30000);
  });
  REQUIRE(waiting(set, 1));
  interrupted.signal(SIGUSR1);
  CHECK(interrupted.result() == EINTR);
  Child removed([&] { return set.operate_within({op(0, -1)}, 30000); });
  REQUIRE(waiting(set, 1));
  set.remove();
  CHECK(removed.result() == EIDRM);
}

TEST_CASE("2.5 equals are served in the order in which they came") {
  const Set set({0, 0});
  const auto body = [&](int number) {
    return [&set, number](conformance::Link) -> long {
      const auto error = set.add(-1);
      return error != 0 ? -error : number;
    };
  };
  Child first(Child::Body(body(1)));
  REQUIRE(waiting(set, 1));
  Child second(Child::Body(body(2)));
  REQUIRE(waiting(set, 2));
  CHECK(set.add(1) == 0);
  CHECK(first.result() == 1);
  CHECK(set.waiting_for_increase() == 1);
  CHECK(set.add(1) == 0);
  CHECK(second.result() == 2);
}

TEST_CASE("2.5 one that cannot proceed does not hold up a later one that can") {
  const Set set({0});
  Child large([&] { return set.add(-2); });
  REQUIRE(waiting(set, 1));
  Child small([&] { return set.add(-1); });
  REQUIRE(waiting(set, 2));
  CHECK(set.add(1) == 0);
  CHECK(small.result() == 0);
  CHECK(set.waiting_for_increase() == 1);
  CHECK(set.add(2) == 0);
  CHECK(large.result() == 0);
}

TEST_CASE("2.5 one operation serves all who can proceed, also one after the other") {
  const Set set({0, 0});
  Child hands_on([&] { return set.operate({op(0, -1), op(1, 1)}); });
  REQUIRE(waiting(set, 1));
  Child receives([&] { return set.add(-1, 0, 1); });
  REQUIRE(waiting(set, 1, 1));
  CHECK(set.add(1) == 0);
  CHECK(hands_on.result() == 0);
  CHECK(receives.result() == 0);
  CHECK(set.values() == Values{0, 0});
}

TEST_CASE("2.5 who waits for zero is served when a sleeper takes the last") {
  const Set set({0});
  Child takes([&] { return set.add(-2); });
  REQUIRE(waiting(set, 1));
  CHECK(set.add(1) == 0);
  Child zero([&] { return set.add(0); });
  REQUIRE(waiting_for_zero(set, 1));
  CHECK(set.add(1) == 0);
  CHECK(takes.result() == 0);
  CHECK(zero.result() == 0);
}

TEST_CASE("2.8 a sleeper is counted where the first operation stops that cannot proceed") {
  const Set set({1, 0, 0});
  Child child([&] { return set.operate({op(0, -1), op(1, -1), op(2, -1)}); });
  REQUIRE(waiting(set, 1, 1));
  CHECK(set.waiting_for_increase(0) == 0);
  CHECK(set.waiting_for_increase(2) == 0);
  CHECK(set.add(1, 0, 1) == 0);
  REQUIRE(waiting(set, 1, 2));
  CHECK(set.waiting_for_increase(1) == 0);
  CHECK(set.add(1, 0, 2) == 0);
  CHECK(child.result() == 0);
  CHECK(set.values() == Values{0, 0, 0});
}

TEST_CASE("2.8 every blocked operation is counted by what it waits for") {
  const Set set({1});
  Child one([&] { return set.add(-2); });
  Child two([&] { return set.add(-3); });
  Child zero([&] { return set.add(0); });
  CHECK(waiting(set, 2));
  CHECK(waiting_for_zero(set, 1));
}
