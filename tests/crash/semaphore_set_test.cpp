// Processes that die while they act on a set in which nobody else waits.
#include <doctest/doctest.h>

#include <optional>

#include "crash/set_world.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {
namespace {

/// One call of a victim that takes part already, and what the others then find.
void dies_in_call(Round& round, const SetKind& kind, std::uint16_t value,
                  const std::function<void(SetWorld&)>& call,
                  const std::function<void(SetWorld&)>& look) {
  SetWorld world(kind, value);
  Victim victim(round, [&] { world.attach(); }, [&] { call(world); });
  CHECK(world.view.buried() == 0);
  victim.strike();
  world.check_at_rest();
  CHECK(world.view.buried() == 1);
  look(world);
  // The next participant stands in the same place, one generation on.
  world.operate({{.index = 0, .delta = 1}});
  world.operate({{.index = 0, .delta = -1}});
}

}  // namespace

TEST_CASE("an operation whose process dies has happened or not") {
  for_each_kind([](Round& round, const SetKind& kind) {
    dies_in_call(
        round, kind, 1, [](SetWorld& world) { world.operate({{.index = 0, .delta = 1}}); },
        [&](SetWorld& world) {
          const int value = world.set.value(0).value();
          CHECK((value == 2 || (value == 1 && !round.lived(0))));
        });
  });
}

TEST_CASE("an operation with undo is taken back exactly once") {
  crash_at_each_step([](Round& round) {
    dies_in_call(
        round, with_undo, 3,
        [](SetWorld& world) {
          world.operate({{.index = 0, .delta = -1, .undo = true}});
          world.operate({{.index = 0, .delta = -1, .undo = true}});
          world.operate({{.index = 0, .delta = 1, .undo = true}});
        },
        [](SetWorld& world) { CHECK(world.set.value(0).value() == 3); });
  });
}

TEST_CASE("of several operations all have happened or none, and those with undo are taken back") {
  for (const auto& kind : {with_undo, without_undo}) {
    crash_at_each_step([&](Round& round) {
      dies_in_call(
          round, kind, 5,
          [&](SetWorld& world) {
            world.operate({{.index = 0, .delta = -2, .undo = kind.undo},
                           {.index = 1, .delta = 3},
                           {.index = 2, .delta = -4},
                           {.index = 0, .delta = -1, .undo = kind.undo}});
          },
          [&](SetWorld& world) {
            const auto values = world.set.values().value();
            const std::uint16_t after = kind.undo ? 5 : 2;
            const bool done = values == std::vector<std::uint16_t>{after, 8, 1};
            CHECK((done || (!round.lived(0) && values == std::vector<std::uint16_t>{5, 5, 5})));
          });
    });
  }
}

TEST_CASE("an operation that changes nothing leaves nothing when its process dies") {
  for_each_kind(
      [](Round& round, const SetKind& kind) {
        dies_in_call(
            round, kind, 0,
            [](SetWorld& world) {
              world.operate({{.index = 0, .delta = 0}});
              const auto refused =
                  world.set.operate({.index = 0, .delta = -1, .no_wait = true}, soon());
              REQUIRE(refused.error() == Error::would_block);
              const auto late = Deadline::after(std::chrono::milliseconds(1));
              REQUIRE(world.set.operate({.index = 0, .delta = -1}, late).error() ==
                      Error::timed_out);
              REQUIRE(world.set.value(0));
              REQUIRE(world.set.values());
              REQUIRE(world.set.status());
              REQUIRE(world.set.last_process(0));
              REQUIRE(world.set.waiting_for_increase(0));
              REQUIRE(world.set.waiting_for_zero(0));
            },
            [](SetWorld& world) {
              CHECK(world.set.value(0).value() == 0);
              CHECK(world.set.status().value().waiting == 0);
            });
      },
      {.of_instructions = 1000});
}

TEST_CASE("a call whose process dies while rows and records get their memory has happened or not") {
  crash_at_each_step(
      [](Round& round) {
        dies_in_call(
            round, hollow, 3,
            [](SetWorld& world) {
              world.operate({{.index = 249, .delta = -1, .undo = true}});
              const auto late = Deadline::after(std::chrono::milliseconds(1));
              REQUIRE(world.set.operate({.index = 1, .delta = -4}, late).error() ==
                      Error::timed_out);
            },
            [](SetWorld& world) {
              CHECK(world.set.value(249).value() == 3);
              CHECK(world.set.status().value().waiting == 0);
              Peer next([&] {
                world.operate({{.index = 249, .delta = -2, .undo = true}});
                const auto late = Deadline::after(std::chrono::milliseconds(1));
                REQUIRE(world.set.operate({.index = 249, .delta = -2}, late).error() ==
                        Error::timed_out);
              });
              CHECK(next.wait() == 0);
              CHECK(world.set.value(249).value() == 3);
            });
      },
      {.of_instructions = 1000});
}

TEST_CASE("values are set all or none, with the undo of others forgotten or kept") {
  for (const auto& kind : {with_undo, without_undo}) {
    crash_at_each_step([&](Round& round) {
      SetWorld world(kind, 1);
      std::optional<SemaphoreSet> other =
          SemaphoreSet::adopt(os::duplicate(world.set.descriptor()).value()).value();
      REQUIRE(other->operate({.index = 0, .delta = 4, .undo = kind.undo}, soon()));
      Victim victim(
          round, [&] { world.attach(); },
          [&] {
            const std::array<std::uint16_t, 3> values{7, 8, 9};
            REQUIRE(world.set.set_values(values));
            REQUIRE(world.set.set_value(1, 6));
          });
      victim.strike();
      other.reset();
      world.check_at_rest();
      const auto values = world.set.values().value();
      const std::uint16_t before = kind.undo ? 1 : 5;
      using Values = std::vector<std::uint16_t>;
      const bool none = values == Values{before, 1, 1};
      const bool first = values == Values{7, 8, 9};
      CHECK((values == Values{7, 6, 9} || (!round.lived(0) && (none || first))));
    });
  }
}

TEST_CASE("a set is removed or not when the process dies that removes it") {
  for_each_kind([](Round& round, const SetKind& kind) {
    SetWorld world(kind, 1);
    Victim victim(round, [&] { world.attach(); }, [&] { REQUIRE(world.set.remove()); });
    victim.strike();
    const auto value = world.set.value(0);
    const bool removed = !value && value.error() == Error::removed;
    CHECK((removed || (!round.lived(0) && value == Result<std::uint16_t>(1))));
    world.check_at_rest();
    const auto again = world.set.operate({.index = 0, .delta = 1}, soon());
    CHECK(again.has_value() == !removed);
  });
}

TEST_CASE("a Semaphore's unit that a dead process held comes back, or is lost without undo") {
  for (const bool undo : {true, false}) {
    crash_at_each_step([&](Round& round) {
      SemaphoreOptions options;
      options.participants = 3;
      options.undo = undo;
      auto semaphore = Semaphore::create(2, options).value();
      Victim victim(
          round, [&] { REQUIRE(semaphore.value()); },
          [&] {
            REQUIRE(semaphore.wait(soon()));
            REQUIRE(semaphore.wait(soon()));
            REQUIRE(semaphore.post());
          });
      victim.strike();
      const int value = semaphore.value().value();
      if (undo) CHECK(value == 2);
      if (!undo) CHECK((value == 1 || (!round.lived(0) && value >= 0 && value <= 2)));
    });
  }
}

}  // namespace parley::test
