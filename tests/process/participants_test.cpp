#include <doctest/doctest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/os/descriptor.hpp>
#include <parley/os/pipe.hpp>
#include <parley/semaphore_set.hpp>

#include "support/bare.hpp"
#include "support/peer.hpp"
#include "support/skip.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Mutex;
using parley::Semaphore;
using parley::SemaphoreSet;
using parley::test::Peer;
using Values = std::vector<std::uint16_t>;

constexpr auto in_time = 20s;

auto make(const Values& values, std::uint32_t participants = 64) -> SemaphoreSet {
  return SemaphoreSet::create(values, {.participants = participants}).value();
}

template <class Object>
auto another(const Object& object) -> parley::Result<Object> {
  return Object::adopt(parley::os::duplicate(object.descriptor()).value());
}

/// Looks again and again until it is so.
void wait_until(const std::function<bool()>& condition) {
  const auto deadline = Deadline::after(in_time);
  while (!condition()) {
    REQUIRE_FALSE(deadline.has_passed());
    std::this_thread::sleep_for(1ms);
  }
}

/// Waits until a peer has taken what there was.
void wait_until_taken(SemaphoreSet& set, std::uint16_t index) {
  wait_until([&] { return set.value(index).value() == 0; });
}

auto runs_program(pid_t pid) -> bool {
  const auto image = "/proc/" + std::to_string(pid) + "/exe";
  return std::filesystem::read_symlink(image) == PARLEY_PARTICIPANT_PROGRAM;
}

}  // namespace

TEST_CASE("what a killed process did with undo is taken back, and who waits for it proceeds") {
  auto set = make({1, 1});
  Peer holder([&] {
    REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
    REQUIRE(set.operate({.index = 1, .delta = -1}, Deadline::now()));
    pause();
  });
  wait_until_taken(set, 1);
  Peer waiter([&] {
    REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::after(in_time)));
  });
  wait_until([&] { return set.waiting_for_increase(0).value() == 1; });
  const pid_t pid = holder.pid();
  holder.kill();
  CHECK(waiter.wait() == 0);
  CHECK(set.values().value() == Values{1, 0});
  CHECK(set.last_process(0).value() == waiter.pid());
  CHECK(set.last_process(1).value() == pid);
  CHECK(set.status().value().participants == 1);
}

TEST_CASE("a process that ends by exit is undone too, before its parent has waited for it") {
  auto set = make({1});
  Peer holder(
      [&] { REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now())); });
  CHECK(holder.wait() == 0);
  CHECK(set.value(0).value() == 1);
}

TEST_CASE("a killed waiter leaves nothing behind") {
  auto set = make({0});
  Peer waiter([&] { REQUIRE(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time))); });
  wait_until([&] { return set.waiting_for_increase(0).value() == 1; });
  waiter.kill();
  CHECK(set.waiting_for_increase(0).value() == 0);
  CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()));
  CHECK(set.value(0).value() == 1);
}

TEST_CASE("a child of fork is a participant of its own, without its parent's adjustments") {
  auto set = make({4});
  CHECK(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
  Peer child([&] {
    REQUIRE(set.operate({.index = 0, .delta = -2, .undo = true}, Deadline::now()));
    REQUIRE(set.status().value().participants == 2);
  });
  CHECK(child.wait() == 0);
  CHECK(set.value(0).value() == 3);
  Peer idle([&] { set.set_wait_strategy(parley::WaitStrategy::block); });
  CHECK(idle.wait() == 0);
  CHECK(set.value(0).value() == 3);
  CHECK(set.status().value().participants == 1);
}

TEST_CASE("a child of a process with threads is a participant too") {
  auto set = make({2});
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) {
      CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time)));
      CHECK(set.operate({.index = 0, .delta = 1}, Deadline::now()));
    }
  });
  for (int i = 0; i < 10; ++i) {
    Peer child([&] {
      REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::after(in_time)));
    });
  }
  other.join();
  CHECK(set.value(0).value() == 2);
}

TEST_CASE("exec ends a participant, and the program adopts what it inherits") {
  auto set = make({2});
  Peer peer([&] {
    REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
    REQUIRE(dup2(set.descriptor().number(), 3) == 3);
    REQUIRE(parley::os::set_close_on_exec(parley::os::BorrowedFd::from_number(3), false));
    const char* const program = PARLEY_PARTICIPANT_PROGRAM;
    execl(program, program, nullptr);
    FAIL("the program does not start");
  });
  // One is taken before the exec, given back by it, and one is taken by the program.
  wait_until([&] {
    return set.last_process(0).value() == peer.pid() && set.value(0).value() == 1 &&
           set.status().value().participants == 2 && runs_program(peer.pid());
  });
  peer.kill();
  CHECK(set.value(0).value() == 2);
}

TEST_CASE("the next who takes the lock of a killed process is told") {
  auto mutex = Mutex::create().value();
  auto pipe = parley::os::Pipe::create().value();
  Peer holder([&] {
    REQUIRE(mutex.acquire(Deadline::now()));
    REQUIRE(pipe.writer.write(std::as_bytes(std::span("x", 1)), Deadline::never()));
    pause();
  });
  std::byte byte{};
  CHECK(pipe.reader.read({&byte, 1}, Deadline::after(in_time)));
  std::thread killer([&] {
    std::this_thread::sleep_for(20ms);
    ::kill(holder.pid(), SIGKILL);
  });
  CHECK(mutex.acquire(Deadline::after(in_time)));
  CHECK(mutex.peer_died());
  CHECK(mutex.release());
  killer.join();
  CHECK(holder.wait() == -SIGKILL);
}

TEST_CASE("two processes that are both process 1 of their namespaces are two participants") {
  if (geteuid() != 0) return parley::test::skip("needs root for PID namespaces");
  auto set = make({0, 0});
  const auto in_own_namespace = [&](std::uint16_t index) {
    REQUIRE(unshare(CLONE_NEWPID) == 0);
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      auto mine = another(set);
      const bool posted =
          getpid() == 1 && mine &&
          mine->operate({.index = index, .delta = 1, .undo = true}, Deadline::after(in_time));
      if (posted) pause();
      _exit(1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
  };
  const auto up = [&](std::uint16_t index) { return set.value(index).value() == 1; };
  Peer first([&] { in_own_namespace(0); });
  Peer second([&] { in_own_namespace(1); });
  wait_until([&] { return up(0) && up(1); });
  first.kill();
  wait_until([&] { return !up(0); });
  std::this_thread::sleep_for(20ms);
  CHECK(up(1));
  second.kill();
  wait_until([&] { return !up(1); });
  CHECK(set.status().value().participants == 1);
}

TEST_CASE("one process takes part in more objects than one robust list can name") {
  constexpr std::size_t count = 2'300;
  std::vector<Semaphore> semaphores;
  semaphores.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    semaphores.push_back(
        Semaphore::create(1, {.participants = 2, .waiters = 1, .undo = true}).value());
  }
  auto ready = Semaphore::create(0).value();
  Peer holder([&] {
    for (auto& semaphore : semaphores) REQUIRE(semaphore.wait(Deadline::after(in_time)));
    REQUIRE(ready.post());
    pause();
  });
  CHECK(ready.wait(Deadline::after(in_time)));
  CHECK(semaphores.front().wait(Deadline::now()).error() == Error::would_block);
  CHECK(semaphores.back().wait(Deadline::now()).error() == Error::would_block);
  holder.kill();
  for (auto& semaphore : semaphores) CHECK(semaphore.wait(Deadline::now()));
}

TEST_CASE("more participants than one sleep can watch") {
  constexpr std::size_t handles = 150;
  auto set = make({1}, 200);
  std::vector<SemaphoreSet> others;
  others.reserve(handles);
  for (std::size_t i = 0; i < handles; ++i) others.push_back(another(set).value());
  Peer holder([&] {
    REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
    pause();
  });
  wait_until_taken(set, 0);
  Peer waiter([&] { REQUIRE(set.operate({.index = 0, .delta = -1}, Deadline::after(in_time))); });
  wait_until([&] { return set.waiting_for_increase(0).value() == 1; });
  ::kill(holder.pid(), SIGKILL);  // nobody else looks: the waiter itself must see it
  CHECK(holder.wait() == -SIGKILL);
  CHECK(waiter.wait() == 0);
}

TEST_CASE("processes that attach and die by turns leave the table as it was") {
  const bool full = std::getenv("PARLEY_FULL") != nullptr;
  const int rounds = full ? 100'000 : 1'000;
  auto set = make({0}, 4);
  for (int i = 0; i < rounds; ++i) {
    Peer peer([&] {
      auto mine = another(set);
      REQUIRE(mine);
      REQUIRE(mine->operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()));
      ::kill(getpid(), SIGKILL);
    });
    REQUIRE(peer.wait() == -SIGKILL);
  }
  CHECK(set.value(0).value() == 0);
  CHECK(set.status().value().participants == 1);
  for (int i = 0; i < 3; ++i) CHECK(another(set));
}

TEST_CASE("an uncontended operation makes no system call and allocates nothing") {
  auto set = make({1, 0});
  auto semaphore = Semaphore::create(1).value();
  auto mutex = Mutex::create().value();
  Peer peer([&] {
    // The first use by this process claims its places.
    REQUIRE(set.operate({.index = 0, .delta = 1}, Deadline::now()));
    REQUIRE(semaphore.post());
    REQUIRE(mutex.acquire(Deadline::now()));
    REQUIRE(mutex.release());
    parley::test::become_bare();
    const std::array<parley::SemaphoreOperation, 2> both{
        {{.index = 0, .delta = -1, .undo = true}, {.index = 1, .delta = 1, .undo = true}}};
    bool good = true;
    for (int i = 0; i < 100; ++i) {
      good &= set.operate({.index = 0, .delta = -1}, Deadline::never()).has_value();
      good &= set.operate({.index = 0, .delta = 1, .undo = true}, Deadline::never()).has_value();
      good &= set.operate(both, Deadline::never()).has_value();
      good &= set.operate({.index = 0, .delta = 1}, Deadline::never()).has_value();
      good &= set.value(1).has_value();
      good &= semaphore.wait(Deadline::never()).has_value();
      good &= semaphore.wait(Deadline::now()).has_value() && semaphore.post().has_value();
      good &= semaphore.post().has_value();
      good &= mutex.acquire(Deadline::never()).has_value() && mutex.release().has_value();
    }
    parley::test::end_bare(good);
  });
  CHECK(peer.wait() == 0);
}
