#include <parley/os/posix/semaphore.hpp>

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <list>
#include <utility>

#include <parley/os/mapping.hpp>

#include "support/peer.hpp"
#include "support/posix_name.hpp"
#include "support/privileges.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::test::Peer;
using parley::test::PosixName;
using parley::test::wait_until_asleep;

TEST_CASE("a post in one process wakes one waiter in another, whatever its deadline") {
  const PosixName name;
  auto semaphore = Semaphore::create(name).value();
  for (const Deadline deadline : {Deadline::never(), Deadline::after(10min)}) {
    Peer waiter([&] { REQUIRE(Semaphore::open(name).value().wait(deadline)); });
    wait_until_asleep(waiter.pid());
    REQUIRE(semaphore.post());
    CHECK(waiter.wait() == 0);
    CHECK(semaphore.value().value() == 0);
  }
}

TEST_CASE("an unnamed semaphore in shared memory serves the processes that share it") {
  const auto memory = Mapping::anonymous(UnnamedSemaphore::size_bytes).value();
  auto semaphore = UnnamedSemaphore::create(memory.bytes()).value();
  std::list<Peer> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back(
        [&] { REQUIRE(UnnamedSemaphore::attach(memory.bytes()).value().wait(Deadline::never())); });
  }
  for (const Peer& waiter : waiters) wait_until_asleep(waiter.pid());
  for (int i = 0; i < 3; ++i) REQUIRE(semaphore.post());
  for (Peer& waiter : waiters) CHECK(waiter.wait() == 0);
  CHECK(std::move(semaphore).destroy());
}

TEST_CASE("a killed holder leaves a POSIX semaphore down, and a waiter only its deadline") {
  const PosixName name;
  auto semaphore = Semaphore::create(name, {.initial_value = 1}).value();
  Peer holder([&] {
    REQUIRE(semaphore.wait(Deadline::now()));
    for (;;) pause();
  });
  wait_until_asleep(holder.pid());
  REQUIRE(semaphore.value().value() == 0);
  holder.kill();
  CHECK(semaphore.wait(Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(semaphore.value().value() == 0);
}

TEST_CASE("a semaphore that was made by a killed process stays until it is unlinked") {
  const PosixName name;
  Peer maker([&] {
    auto semaphore = Semaphore::create(name, {.initial_value = 5}).value();
    for (;;) pause();
  });
  wait_until_asleep(maker.pid());
  maker.kill();
  CHECK(Semaphore::open(name).value().value().value() == 5);
}

TEST_CASE("another user gets a semaphore only with both its read and its write bit") {
  if (!parley::test::can_become_another_user()) return;
  const PosixName closed;
  const PosixName readable;
  const PosixName open;
  REQUIRE(Semaphore::create(closed));
  REQUIRE(Semaphore::create(readable, {.mode = 0644}));
  const mode_t before = umask(0);
  REQUIRE(Semaphore::create(open, {.mode = 0666}));
  umask(before);
  Peer stranger([&] {
    parley::test::become_nobody();
    REQUIRE(Semaphore::open(closed).error() == Error::access_denied);
    REQUIRE(Semaphore::open_or_create(readable).error() == Error::access_denied);
    REQUIRE(Semaphore::open(open).value().post());
    REQUIRE(Semaphore::unlink(open).error() == Error::access_denied);
    REQUIRE(Semaphore::set_mode(closed, 0666).error() == Error::not_permitted);
    REQUIRE(Semaphore::set_owner(closed, {.uid = geteuid(), .gid = getegid()}).error() ==
            Error::not_permitted);
    REQUIRE(Semaphore::permissions(closed).value().mode == 0600);
  });
  CHECK(stranger.wait() == 0);
}
