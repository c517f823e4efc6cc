#include <parley/os/sysv/semaphore_set.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <parley/os/pipe.hpp>

#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/signalled.hpp"
#include "support/sysv.hpp"

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::os::Pipe;
using parley::os::sysv::Key;
using parley::os::sysv::Operation;
using parley::os::sysv::SemaphoreSet;
using parley::test::become_nobody;
using parley::test::can_become_another_user;
using parley::test::OwnKey;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::Scoped;
using parley::test::wait_until_asleep;

namespace {

using Values = std::vector<std::uint16_t>;

auto private_set(const Values& values) -> SemaphoreSet {
  return SemaphoreSet::create(Key::private_key(), values).value();
}

volatile std::sig_atomic_t usr1_count = 0;

}  // namespace

TEST_CASE("a process that waits goes on when another one posts") {
  const Scoped set(private_set({0}));
  Peer waiter([&] { REQUIRE(set->operate({.index = 0, .delta = -2}, Deadline::never())); });
  wait_until_asleep(waiter.pid());
  CHECK(set->operate({.index = 0, .delta = 3}, Deadline::now()));
  CHECK(waiter.wait() == 0);
  CHECK(set->value(0).value() == 1);
  CHECK(set->last_process(0).value() == waiter.pid());
}

TEST_CASE("a set that is removed under its waiters tells them so") {
  const Scoped set(private_set({0, 1}));
  const auto wait_for = [&](Operation operation, Deadline deadline) {
    REQUIRE(set->operate(operation, deadline).error() == Error::removed);
  };
  Peer decreasing([&] { wait_for({.index = 0, .delta = -1}, Deadline::never()); });
  Peer zero([&] { wait_for({.index = 1, .delta = 0}, Deadline::after(50s)); });
  wait_until_asleep(decreasing.pid());
  wait_until_asleep(zero.pid());
  CHECK(set->remove());
}

TEST_CASE("calls that wait are counted at the semaphore that stops them") {
  const Scoped set(private_set({0, 5}));
  const auto waiting = [&] {
    return std::array{set->waiting_for_increase(0).value(), set->waiting_for_zero(0).value(),
                      set->waiting_for_increase(1).value(), set->waiting_for_zero(1).value()};
  };
  CHECK(waiting() == std::array<std::size_t, 4>{0, 0, 0, 0});
  Peer one([&] { REQUIRE(set->operate({.index = 0, .delta = -1}, Deadline::never())); });
  Peer two([&] {
    REQUIRE(set->operate(
        std::array{Operation{.index = 1, .delta = -1}, Operation{.index = 0, .delta = -1}},
        Deadline::never()));
  });
  Peer three([&] { REQUIRE(set->operate({.index = 1, .delta = 0}, Deadline::never())); });
  for (const auto* peer : {&one, &two, &three}) wait_until_asleep(peer->pid());
  CHECK(waiting() == std::array<std::size_t, 4>{2, 0, 0, 1});
  CHECK(set->set_values(Values{2, 1}));
  for (auto* peer : {&one, &two, &three}) CHECK(peer->wait() == 0);
  CHECK(waiting() == std::array<std::size_t, 4>{0, 0, 0, 0});
}

TEST_CASE("a waiter that can not proceed does not hold up a later one that can") {
  const Scoped set(private_set({0}));
  Peer greedy([&] { REQUIRE(set->operate({.index = 0, .delta = -2}, Deadline::never())); });
  wait_until_asleep(greedy.pid());
  Peer modest([&] { REQUIRE(set->operate({.index = 0, .delta = -1}, Deadline::never())); });
  wait_until_asleep(modest.pid());
  CHECK(set->operate({.index = 0, .delta = 1}, Deadline::now()));
  CHECK(modest.wait() == 0);
  CHECK(set->operate({.index = 0, .delta = 2}, Deadline::now()));
}

TEST_CASE("equal waiters are served in the order in which they came") {
  const Scoped set(private_set({0}));
  auto pipe = Pipe::create().value();
  const auto body = [&](char name) {
    return [&, name] {
      REQUIRE(set->operate({.index = 0, .delta = -1}, Deadline::never()));
      REQUIRE(pipe.writer.write(std::as_bytes(std::span(&name, 1)), Deadline::never()));
    };
  };
  Peer first(body('1'));
  wait_until_asleep(first.pid());
  Peer second(body('2'));
  wait_until_asleep(second.pid());
  std::array<std::byte, 1> name{};
  for (const char expected : {'1', '2'}) {
    CHECK(set->operate({.index = 0, .delta = 1}, Deadline::now()));
    REQUIRE(pipe.reader.read(name, Deadline::never()).value() == 1);
    CHECK(static_cast<char>(name[0]) == expected);
  }
}

TEST_CASE("what was done with undo is taken back when the process ends, and waiters go on") {
  const Scoped set(private_set({3, 0}));
  const auto body = [&](bool stays) {
    return [&, stays] {
      REQUIRE(set->operate(std::array{Operation{.index = 0, .delta = -2, .undo = true},
                                      Operation{.index = 0, .delta = -1},
                                      Operation{.index = 1, .delta = 1, .undo = true}},
                           Deadline::now()));
      if (!stays) return;
      for (;;) pause();
    };
  };
  SUBCASE("by exit") {
    Peer holder(body(false));
    CHECK(holder.wait() == 0);
    CHECK(set->last_process(0).value() == holder.pid());
  }
  SUBCASE("by kill -9") {
    Peer holder(body(true));
    wait_until_asleep(holder.pid());
    CHECK(set->values().value() == Values{0, 1});
    Peer waiter([&] { REQUIRE(set->operate({.index = 0, .delta = -2}, Deadline::never())); });
    wait_until_asleep(waiter.pid());
    holder.kill();
    CHECK(waiter.wait() == 0);
    REQUIRE(set->operate({.index = 0, .delta = 2}, Deadline::now()));
  }
  CHECK(set->values().value() == Values{2, 0});
}

TEST_CASE("an undo that would make a value negative makes it zero") {
  const Scoped set(private_set({0}));
  Peer giver([&] {
    REQUIRE(set->operate({.index = 0, .delta = 5, .undo = true}, Deadline::now()));
    REQUIRE(set->operate({.index = 0, .delta = -3}, Deadline::now()));
  });
  CHECK(giver.wait() == 0);
  CHECK(set->value(0).value() == 0);
}

TEST_CASE("setting a value forgets what would be undone of it") {
  const Scoped set(private_set({1, 1}));
  Peer holder([&] {
    REQUIRE(set->operate(std::array{Operation{.index = 0, .delta = -1, .undo = true},
                                    Operation{.index = 1, .delta = -1, .undo = true}},
                         Deadline::now()));
    REQUIRE(set->set_value(0, 7));
  });
  CHECK(holder.wait() == 0);
  CHECK(set->values().value() == Values{7, 1});
}

TEST_CASE("a child of fork does not undo what its parent did") {
  const Scoped set(private_set({1}));
  REQUIRE(set->operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
  Peer child([] {});
  CHECK(child.wait() == 0);
  CHECK(set->value(0).value() == 0);
  REQUIRE(set->operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()));
}

TEST_CASE("a program that was started by exec undoes at its own end") {
  const Scoped set(private_set({1}));
  auto input = Pipe::create().value();
  auto started = Pipe::create().value();
  Peer holder([&] {
    REQUIRE(set->operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
    REQUIRE(set_nonblocking(input.reader.fd(), false));
    REQUIRE(dup2(input.reader.fd().number(), STDIN_FILENO) == STDIN_FILENO);
    static_cast<void>(std::move(input.writer).into_fd());
    execl("/bin/cat", "cat", nullptr);
    std::abort();
  });
  static_cast<void>(std::move(started.writer).into_fd());
  std::array<std::byte, 1> buffer{};
  REQUIRE(started.reader.read(buffer, Deadline::never()).value() == 0);  // closed by the exec
  CHECK(set->value(0).value() == 0);
  static_cast<void>(std::move(input.writer).into_fd());
  CHECK(holder.wait() == 0);
  CHECK(set->value(0).value() == 1);
}

TEST_CASE("signals neither end nor lengthen a wait for a semaphore") {
  const Scoped set(private_set({0}));
  run_among_signals([&] {
    const auto start = Deadline::Clock::now();
    REQUIRE(set->operate({.index = 0, .delta = -1}, Deadline::after(200ms)).error() ==
            Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}

TEST_CASE("signals do not end a wait for a semaphore without a deadline, and their handlers run") {
  const Scoped set(private_set({0}));
  Peer sleeper([&] {
    struct sigaction action{};
    action.sa_handler = [](int) { usr1_count = usr1_count + 1; };
    REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
    REQUIRE(set->operate({.index = 0, .delta = -1}, Deadline::never()));
    REQUIRE(usr1_count > 0);
  });
  wait_until_asleep(sleeper.pid());
  for (int i = 0; i < 10; ++i) ::kill(sleeper.pid(), SIGUSR1);
  wait_until_asleep(sleeper.pid());
  CHECK(set->operate({.index = 0, .delta = 1}, Deadline::now()));
}

TEST_CASE("who may not use a set is denied, and only its owner may change or remove it") {
  if (!can_become_another_user()) return;
  const OwnKey closed;
  const OwnKey open;
  const Scoped none(SemaphoreSet::create(closed.key(), 1).value());
  const Scoped readable(SemaphoreSet::create(open.key(), 1, {.mode = 0604}).value());
  Peer nobody([&] {
    become_nobody();
    REQUIRE(SemaphoreSet::open(closed.key(), Deadline::now(), {.needed_mode = 0400}).error() ==
            Error::access_denied);
    const Operation zero{.index = 0, .delta = 0};
    const Operation post{.index = 0, .delta = 1};
    const auto denied = SemaphoreSet::open(closed.key(), Deadline::now()).value();
    REQUIRE(denied.count() == 1);
    REQUIRE(denied.operate(zero, Deadline::now()).error() == Error::access_denied);
    REQUIRE(denied.value(0).error() == Error::access_denied);
    REQUIRE(denied.status().error() == Error::access_denied);
    REQUIRE(denied.remove().error() == Error::not_permitted);

    const auto set = SemaphoreSet::open(open.key(), Deadline::now(), {.needed_mode = 0400}).value();
    REQUIRE(set.operate(zero, Deadline::now()));
    REQUIRE(set.value(0).value() == 0);
    REQUIRE(set.operate(post, Deadline::now()).error() == Error::access_denied);
    REQUIRE(set.set_value(0, 1).error() == Error::access_denied);
    REQUIRE(set.set_values(Values{1}).error() == Error::access_denied);
    REQUIRE(set.set_access({.uid = 65534, .gid = 65534, .mode = 0666}).error() ==
            Error::not_permitted);
    REQUIRE(set.remove().error() == Error::not_permitted);
  });
}

TEST_CASE("a semaphore set that was given away belongs to its new owner and its creator") {
  if (!can_become_another_user()) return;
  const Scoped set(SemaphoreSet::create(Key::private_key(), 1).value());
  REQUIRE(set->set_access({.uid = 65534, .gid = 65534, .mode = 0600}));
  Peer nobody([&] {
    become_nobody();
    REQUIRE(set->operate({.index = 0, .delta = 1}, Deadline::now()));
    REQUIRE(set->remove());
  });
  CHECK(nobody.wait() == 0);
  CHECK(set->status().error() == Error::invalid);
}
