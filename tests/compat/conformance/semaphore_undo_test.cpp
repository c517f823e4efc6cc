#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::becomes_true;
using conformance::Child;
using conformance::execute_role;
using conformance::Link;
using conformance::op;
using conformance::Set;
using Values = std::vector<std::uint16_t>;

// Says that it is there, and ends when it is told to.
const conformance::Role lingers("lingers", [](const std::vector<long>& numbers) {
  const Link link(static_cast<int>(numbers.at(0)));
  link.tell(1);
  return static_cast<int>(link.hear());
});

// Operates, says how, and goes on when it is told to.
auto operating(const Set& set, const std::vector<sembuf>& operations) -> Child::Body {
  return [&set, operations](Link link) -> long {
    link.tell(set.operate(operations));
    return link.hear();
  };
}

}  // namespace

TEST_CASE("2.9 an undo is done at exit and at kill -9") {
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    const Set set({5, 5, 5});
    Child child(operating(set, {op(0, -2, SEM_UNDO), op(1, 3, SEM_UNDO), op(2, -1)}));
    CHECK(child.hear() == 0);
    CHECK(set.values() == Values{3, 8, 4});
    if (killed) {
      child.kill();
    } else {
      child.tell(0);
      child.wait();
    }
    CHECK(becomes_true([&] { return set.values() == Values{5, 5, 4}; }));
  }
}

TEST_CASE("2.9 adjustments add up, and those that cancel do nothing") {
  const Set set({10, 10});
  Child child([&](Link link) -> long {
    long errors = 0;
    for (const int by : {-3, -2, 1}) errors += set.add(by, SEM_UNDO);
    errors += set.operate({op(1, -4, SEM_UNDO), op(1, 4, SEM_UNDO)});
    link.tell(errors);
    return link.hear();
  });
  CHECK(child.hear() == 0);
  CHECK(set.values() == Values{6, 10});
  CHECK(set.add(1, 0, 1) == 0);
  child.kill();
  CHECK(becomes_true([&] { return set.values() == Values{10, 11}; }));
}

TEST_CASE("2.9 an undo that would go below zero stops there") {
  const Set set({0});
  Child child(operating(set, {op(0, 5, SEM_UNDO)}));
  CHECK(child.hear() == 0);
  CHECK(set.add(-3) == 0);
  child.kill();
  CHECK(becomes_true([&] { return set.value() == 0; }));
}

TEST_CASE("2.9 an undo that would go over SEMVMX stops there") {
  const auto most = conformance::semaphore_limits().semvmx;
  const Set set({5});
  Child child(operating(set, {op(0, -5, SEM_UNDO)}));
  CHECK(child.hear() == 0);
  CHECK(set.add(most - 2) == 0);
  child.kill();
  CHECK(becomes_true([&] { return set.value() == most; }));
}

TEST_CASE("2.9 an adjustment over SEMAEM is ERANGE, and nothing changes") {
  const auto most = conformance::semaphore_limits().semaem;
  const Set set({static_cast<std::uint16_t>(most)});
  Child child([&](Link) -> long {
    if (set.add(-most, SEM_UNDO) != 0) return 1;
    if (set.add(most) != 0) return 2;
    if (set.add(-1, SEM_UNDO) != ERANGE) return 3;
    return set.value() == most ? 0 : 4;
  });
  CHECK(child.result() == 0);
}

TEST_CASE("2.9 an adjustment below -SEMAEM - 1 is ERANGE, and nothing changes") {
  const auto most = conformance::semaphore_limits().semaem;
  const Set set({0});
  Child child([&](Link) -> long {
    if (set.add(most, SEM_UNDO) != 0) return 1;
    if (set.add(-most) != 0) return 2;
    if (set.add(1, SEM_UNDO) != 0) return 3;
    if (set.add(1, SEM_UNDO) != ERANGE) return 4;
    return set.value() == 1 ? 0 : 5;
  });
  CHECK(child.result() == 0);
}

TEST_CASE("2.9 waiters proceed after an undo") {
  const Set set({1});
  Child holder(operating(set, {op(0, -1, SEM_UNDO)}));
  CHECK(holder.hear() == 0);
  Child waits([&] { return set.add(-1); });
  REQUIRE(becomes_true([&] { return set.waiting_for_increase() == 1; }));
  holder.kill();
  CHECK(waits.result() == 0);
}

TEST_CASE("2.9 a sleeper's undo counts from when he is served, and not before") {
  const Set set({0});
  Child killed_asleep([&] { return set.add(-1, SEM_UNDO); });
  REQUIRE(becomes_true([&] { return set.waiting_for_increase() == 1; }));
  killed_asleep.kill();
  CHECK(becomes_true([&] { return set.waiting_for_increase() == 0; }));
  CHECK(set.value() == 0);
  Child served(operating(set, {op(0, -1, SEM_UNDO)}));
  REQUIRE(becomes_true([&] { return set.waiting_for_increase() == 1; }));
  CHECK(set.add(1) == 0);
  CHECK(served.hear() == 0);
  CHECK(set.value() == 0);
  served.kill();
  CHECK(becomes_true([&] { return set.value() == 1; }));
}

TEST_CASE("2.9 what fails leaves no undo") {
  const Set set({1, 0});
  Child child(operating(set, {op(0, -1, SEM_UNDO), op(1, -1, IPC_NOWAIT)}));
  CHECK(child.hear() == EAGAIN);
  child.kill();
  CHECK(set.values() == Values{1, 0});
}

TEST_CASE("2.9 a child of fork starts with no adjustments") {
  const Set set({1});
  Child child([&](Link link) -> long {
    long error = set.add(-1, SEM_UNDO);
    const auto grandchild = fork();
    if (grandchild == 0) _exit(0);
    waitpid(grandchild, nullptr, 0);
    link.tell(error);
    return link.hear();
  });
  CHECK(child.hear() == 0);
  CHECK(set.value() == 0);
  child.kill();
  CHECK(becomes_true([&] { return set.value() == 1; }));
}

TEST_CASE("2.10 a child of fork undoes its own and not its parent's adjustments") {
  const Set set({5});
  Child child([&](Link link) -> long {
    long error = set.add(-1, SEM_UNDO);
    const auto grandchild = fork();
    if (grandchild == 0) {
      (void)set.add(-2, SEM_UNDO);
      link.tell(set.value());
      kill(getpid(), SIGKILL);
    }
    waitpid(grandchild, nullptr, 0);
    link.tell(error);
    return link.hear();
  });
  CHECK(child.hear() == 2);
  CHECK(child.hear() == 0);
  CHECK(becomes_true([&] { return set.value() == 4; }));
  child.kill();
  CHECK(becomes_true([&] { return set.value() == 5; }));
}

TEST_CASE("2.9 exec keeps adjustments, which are applied when the program ends") {
  if (conformance::differs_in_drop_in()) return;
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    const Set set({1});
    Child child([&](Link link) -> long {
      if (set.add(-1, SEM_UNDO) != 0) return 2;
      return execute_role("lingers", {link.descriptor()});
    });
    CHECK(child.hear() == 1);
    CHECK(set.value() == 0);
    if (killed) {
      child.kill();
    } else {
      child.tell(0);
      child.wait();
    }
    CHECK(becomes_true([&] { return set.value() == 1; }));
  }
}

TEST_CASE("2.9 threads of a process share its adjustments, which outlive a thread") {
  const Set set({3});
  Child child([&](Link link) -> long {
    int error = 0;
    std::thread([&] { error = set.add(-2, SEM_UNDO); }).join();
    error += set.add(1, SEM_UNDO);
    link.tell(error);
    return link.hear();
  });
  CHECK(child.hear() == 0);
  CHECK(set.value() == 2);
  child.kill();
  CHECK(becomes_true([&] { return set.value() == 3; }));
}

TEST_CASE("2.9 adjustments of a removed set are forgotten") {
  const auto key = conformance::fresh_key();
  Set set({5}, 0600, key);
  Child child(operating(set, {op(0, -2, SEM_UNDO)}));
  CHECK(child.hear() == 0);
  set.remove();
  const Set next({5}, 0600, key);
  child.kill();
  CHECK(next.value() == 5);
  CHECK(next.add(0, IPC_NOWAIT) == EAGAIN);
}

TEST_CASE("2.7 SETVAL clears the adjustments of that semaphore in all processes") {
  const Set set({5, 5});
  Child child(operating(set, {op(0, -1, SEM_UNDO), op(1, -1, SEM_UNDO)}));
  CHECK(child.hear() == 0);
  CHECK(set.set_value(0, 2) == 0);
  child.kill();
  CHECK(becomes_true([&] { return set.values() == Values{2, 5}; }));
}

TEST_CASE("2.7 SETALL clears the adjustments of all semaphores in all processes") {
  const Set set({5, 5});
  Child child(operating(set, {op(0, -1, SEM_UNDO), op(1, -1, SEM_UNDO)}));
  CHECK(child.hear() == 0);
  CHECK(set.set_values({2, 3}) == 0);
  child.kill();
  CHECK(set.values() == Values{2, 3});
}
