#include <parley/os/sysv/semaphore_set.hpp>

#include <doctest/doctest.h>

#include <sys/sem.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include <parley/os/pipe.hpp>

#include "os/sys.hpp"
#include "support/faults.hpp"
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
using parley::test::kill_at_each_call;
using parley::test::Outcome;
using parley::test::OwnKey;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::Scoped;
using parley::test::wait_until_asleep;

namespace sys = parley::os::sys;

namespace {

using Values = std::vector<std::uint16_t>;

/// What a creator leaves that is killed right after it made the set.
auto half_made(Key key, const Values& values, mode_t mode = 0600) -> SemaphoreSet {
  Peer creator([&] {
    sys::injection = {.calls_until_failure = 2, .kills = true};
    REQUIRE_FALSE(SemaphoreSet::create(key, values, {.mode = mode}));
  });
  REQUIRE(creator.wait() == -SIGKILL);
  const int id = semget(key.number(), 0, 0);
  REQUIRE(id >= 0);
  return SemaphoreSet::adopt(id).value();
}

/// Values for a set that takes three steps to fill.
auto many_values() -> Values {
  Values values(70);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i * 3);
  return values;
}

}  // namespace

TEST_CASE("a set whose creator was killed half way is never opened, but ends in a clear error") {
  const OwnKey own;
  const Scoped set(half_made(own.key(), {2, 3}));
  CHECK(set->values().value() == Values{0, 0});
  CHECK(SemaphoreSet::open(own.key(), Deadline::now()).error() == Error::would_block);
  CHECK(SemaphoreSet::open_or_create(own.key(), 2).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(SemaphoreSet::open(own.key(), Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  CHECK_FALSE(set->status()->last_operation.has_value());
}

TEST_CASE("wherever its creator is killed, a set is opened with all its values or not at all") {
  const OwnKey own;
  const Values values = many_values();
  int deaths_between = 0;
  const int deaths = kill_at_each_call(
      [&]() -> Outcome {
        PARLEY_TRY(SemaphoreSet::create(own.key(), values));
        return {};
      },
      [&] {
        const auto opened = SemaphoreSet::open(own.key(), Deadline::after(10ms));
        if (opened) {
          CHECK(opened->values().value() == values);
        } else if (opened.error() == Error::timed_out) {
          ++deaths_between;
        } else {
          CHECK(opened.error() == Error::not_found);
        }
        const Scoped mended(SemaphoreSet::open_or_create(own.key(), values).value());
        CHECK(mended->values().value() == values);
        CHECK(SemaphoreSet::open(own.key(), Deadline::now()));
      });
  CHECK(deaths == 4);
  CHECK(deaths_between == 3);
}

TEST_CASE("an opener sleeps until another creator has finished what a killed one began") {
  const OwnKey own;
  const Values values = many_values();
  const Scoped set(half_made(own.key(), values));
  Peer patient([&] {
    const auto opened = SemaphoreSet::open(own.key(), Deadline::never());
    REQUIRE(opened.value().values().value() == values);
  });
  Peer hurried([&] {
    const auto opened = SemaphoreSet::open(own.key(), Deadline::after(50s));
    REQUIRE(opened.value().values().value() == values);
  });
  wait_until_asleep(patient.pid());
  wait_until_asleep(hurried.pid());
  CHECK(SemaphoreSet::open_or_create(own.key(), values));
  CHECK(patient.wait() == 0);
  CHECK(hurried.wait() == 0);
}

TEST_CASE("an opener that waits for the values is told when the set is removed") {
  const OwnKey own;
  const Scoped set(half_made(own.key(), {1}));
  Peer opener(
      [&] { REQUIRE(SemaphoreSet::open(own.key(), Deadline::never()).error() == Error::removed); });
  wait_until_asleep(opener.pid());
  CHECK(set->remove());
}

TEST_CASE("signals do not lengthen an opener's wait") {
  const OwnKey own;
  const Scoped set(half_made(own.key(), {1}));
  run_among_signals([&] {
    const auto start = Deadline::Clock::now();
    REQUIRE(SemaphoreSet::open(own.key(), Deadline::after(200ms)).error() == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}

TEST_CASE("one who may only change a set can wait for its values, one who may only read can not") {
  if (!can_become_another_user()) return;
  const OwnKey changed;
  const OwnKey read;
  const Scoped to_change(half_made(changed.key(), {5}, 0622));
  const Scoped to_read(half_made(read.key(), {5}, 0644));
  Peer nobody([&] {
    become_nobody();
    REQUIRE(SemaphoreSet::open(read.key(), Deadline::never()).error() == Error::access_denied);
    REQUIRE(SemaphoreSet::open(changed.key(), Deadline::now()).error() == Error::would_block);
    const auto set = SemaphoreSet::open(changed.key(), Deadline::never()).value();
    REQUIRE(set.count() == 1);
    REQUIRE(set.operate({.index = 0, .delta = -5}, Deadline::now()));
    REQUIRE(SemaphoreSet::open_or_create(changed.key(), Values{5}));
    REQUIRE(SemaphoreSet::open(read.key(), Deadline::now()).value().value(0).value() == 5);
  });
  wait_until_asleep(nobody.pid());
  CHECK(SemaphoreSet::open_or_create(read.key(), Values{5}));
  CHECK(SemaphoreSet::open_or_create(changed.key(), Values{5}));
}

TEST_CASE("many processes that race to create and open a set all find its values, given once") {
  constexpr int round_count = 40;
  constexpr int each = 2;
  const OwnKey own;
  for (int round = 0; round < round_count; ++round) {
    const Values values(64, 6 * each);
    auto start = Pipe::create().value();
    // Each takes its share of every semaphore at once: more or less than given once would show.
    const auto take_share = [&](const SemaphoreSet& set) {
      std::array<Operation, 64> shares{};
      for (std::uint16_t i = 0; i < 64; ++i) {
        shares.at(i) = {.index = i, .delta = -each, .no_wait = true};
      }
      REQUIRE(set.operate(shares, Deadline::never()));
    };
    const auto wait_for_start = [&] {
      static_cast<void>(std::move(start.writer).into_fd());
      std::array<std::byte, 1> buffer{};
      REQUIRE(start.reader.read(buffer, Deadline::never()).value() == 0);
    };
    {
      std::list<Peer> peers;
      for (int i = 0; i < 3; ++i) {
        peers.emplace_back([&] {
          wait_for_start();
          take_share(SemaphoreSet::open_or_create(own.key(), values).value());
        });
        peers.emplace_back([&] {
          wait_for_start();
          for (;;) {
            const auto set = SemaphoreSet::open(own.key(), Deadline::after(50s));
            if (!set && set.error() == Error::not_found) continue;
            return take_share(set.value());
          }
        });
      }
      static_cast<void>(std::move(start.writer).into_fd());
    }
    const Scoped set(SemaphoreSet::open(own.key(), Deadline::now()).value());
    CHECK(set->values().value() == Values(64, 0));
  }
}

TEST_CASE("programs that wait for the first operation on a set are safe as well") {
  const OwnKey own;
  const Scoped set(half_made(own.key(), {1}));
  CHECK_FALSE(set->status()->last_operation.has_value());
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{1}));
  CHECK(set->status()->last_operation.has_value());
}

TEST_CASE("a gate that another program has changed is reported and not believed") {
  const OwnKey own;
  const Scoped set(half_made(own.key(), {1}));
  REQUIRE(semctl(set->id(), 1, SETVAL, 5) == 0);
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{1}).error() == Error::corrupt);
  CHECK(set->value(0).value() == 0);
}
