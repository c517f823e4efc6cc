// Processes that die while they wait, while they serve those who wait, and while they clean up
// after the dead.
#include <doctest/doctest.h>
#include <unistd.h>

#include "crash/set_world.hpp"

namespace parley::test {
namespace {

/// Others are made, put to sleep and served for each death.
constexpr Sample with_others{.of_instructions = 300};

/// The victim posts two units while two wait for one each. Who was granted one when it died is
/// served without anybody's help; who was not still waits, and is served by the next who posts.
void dies_posting(Round& round, const SetKind& kind) {
  SetWorld world(kind);
  Victim victim(round, [&] { world.attach(); }, [&] { world.operate({{.index = 0, .delta = 2}}); });
  Blocked one([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -1}}));
  Blocked two([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -1}}));
  Blocked third([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -5}}));
  victim.strike();
  // Those who sleep see the death, and bury.
  await("all the dead are buried", [&] { return world.is_quiet(); });
  if (world.raw_waiting() > 1) {
    CHECK_FALSE(round.lived(0));
    CHECK(world.raw_waiting() == 3);
    CHECK(world.raw_value() == 0);
    world.operate({{.index = 0, .delta = 2}});
  }
  one.must_finish();
  two.must_finish();
  world.operate({{.index = 0, .delta = 5}});
  third.must_finish();
  world.check_at_rest();
  CHECK(world.view.buried() == 4);
  CHECK(world.raw_value() == 0);
}

/// The victim waits, and another gives a unit as soon as it sleeps, or when it is dead.
void dies_waiting(Round& round, const SetKind& kind, const std::function<void(SetWorld&)>& wait,
                  const std::function<void(SetWorld&)>& serve,
                  const std::function<void(SetWorld&)>& look) {
  SetWorld world(kind);
  Shared<bool> is_over;
  Victim victim(round, [&] { world.attach(); }, [&] { wait(world); });
  Blocked next([&] { world.attach(); },
               [&] {
                 const auto result =
                     world.set.operate({.index = 0, .delta = -3}, Deadline::never());
                 REQUIRE((result || (world.is_removed() && result.error() == Error::removed)));
               });
  Peer server([&] {
    world.attach();
    await("the victim sleeps or is over",
          [&] { return world.raw_waiting() > 1 || is_over.load(); });
    serve(world);
  });
  victim.strike();
  is_over.store(true);
  CHECK(server.wait() == 0);
  look(world);
  // The next in the queue is not held up.
  if (!world.is_removed()) world.operate({{.index = 0, .delta = 3}});
  next.must_finish();
  world.check_at_rest();
  CHECK(world.view.buried() >= 3);
  CHECK(world.view.buried() <= 4);  // a victim that wakes may die while it buries the server
}

}  // namespace

TEST_CASE("who was granted is served, and who was not waits on, when the poster dies") {
  for_each_kind(dies_posting, with_others);
}

TEST_CASE("who waits for zero is served or waits on when the process dies that comes to zero") {
  for_each_kind(
      [](Round& round, const SetKind& kind) {
        SetWorld world(kind, 1);
        Victim victim(
            round, [&] { world.attach(); }, [&] { world.operate({{.index = 0, .delta = -1}}); });
        Blocked one([&] { world.attach(); }, world.waiter({{.index = 0, .delta = 0}}));
        Blocked two([&] { world.attach(); }, world.waiter({{.index = 0, .delta = 0}}));
        victim.strike();
        await("the victim is buried", [&] { return world.is_quiet() || world.raw_waiting() == 0; });
        if (world.raw_value() != 0) world.operate({{.index = 0, .delta = -1}});
        one.must_finish();
        two.must_finish();
        world.check_at_rest();
      },
      with_others);
}

TEST_CASE("who waits is served at once by the undo of a dead process") {
  crash_at_each_step(
      [](Round& round) {
        SetWorld world(with_undo, 2);
        Victim victim(
            round,
            [&] {
              world.operate({{.index = 0, .delta = -1, .undo = true}});
              world.operate({{.index = 1, .delta = -2, .undo = true}});
            },
            [&] { world.operate({{.index = 0, .delta = -1, .undo = true}}); });
        Blocked one([&] { world.attach(); },
                    world.waiter({{.index = 0, .delta = -2}, {.index = 1, .delta = -1}}));
        Blocked two([&] { world.attach(); }, world.waiter({{.index = 1, .delta = -1}}));
        victim.strike();
        one.must_finish();
        two.must_finish();
        world.check_at_rest();
        CHECK(world.set.values().value() == std::vector<std::uint16_t>{0, 0, 2});
      },
      with_others);
}

TEST_CASE("a death is seen also when the sleeper that the kernel wakes for it gives up") {
  SetWorld world(with_undo, 1);
  Blocked holder([&] { world.operate({{.index = 0, .delta = -1, .undo = true}}); },
                 world.waiter({{.index = 1, .delta = -9}}));
  Blocked waiter([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -1}}));
  world.hold_latch();
  Shared<bool> has_given_up;
  Blocked gives_up([] {},
                   [&] {
                     const auto late = Deadline::after(std::chrono::milliseconds(300));
                     REQUIRE_FALSE(world.set.operate({.index = 2, .delta = 1}, late));
                     has_given_up.store(true);
                     pause();
                   });
  await("it waits for the latch",
        [&] { return world.latch_is_waited_for() && is_asleep(gives_up.pid()); });
  // The kernel wakes whoever sleeps longest.
  world.disturb();
  wait_until_asleep(waiter.pid());
  holder.kill();
  await("the other has given up", [&] { return has_given_up.load(); });
  world.release_latch();
  waiter.must_finish();
  gives_up.kill();
  world.check_at_rest();
}

TEST_CASE("a waiter that dies takes nothing with undo, and one unit at most without") {
  for_each_kind(
      [](Round& round, const SetKind& kind) {
        dies_waiting(
            round, kind,
            [&](SetWorld& world) {
              world.operate({{.index = 0, .delta = -1, .undo = kind.undo}}, Deadline::never());
            },
            [](SetWorld& world) { world.operate({{.index = 0, .delta = 1}}); },
            [&](SetWorld& world) {
              const int value = world.set.value(0).value();
              if (kind.undo) {
                CHECK(value == 1);
              } else {
                CHECK((value == 0 || (!round.lived(0) && value == 1)));
                if (value == 1) world.operate({{.index = 0, .delta = -1}});
              }
              if (kind.undo) world.operate({{.index = 0, .delta = -1}});
            });
      },
      with_others);
}

TEST_CASE("a waiter that dies at its deadline leaves no record") {
  for_each_kind(
      [](Round& round, const SetKind& kind) {
        dies_waiting(
            round, kind,
            [](SetWorld& world) {
              const auto late = Deadline::after(std::chrono::milliseconds(2));
              const auto result = world.set.operate({.index = 0, .delta = -4}, late);
              REQUIRE(result.error() == Error::timed_out);
            },
            [](SetWorld&) {},
            [](SetWorld& world) { CHECK(world.set.value(0) == Result<std::uint16_t>(0)); });
      },
      with_others);
}

TEST_CASE("a waiter that dies when its set is removed leaves no record") {
  for_each_kind(
      [](Round& round, const SetKind& kind) {
        dies_waiting(
            round, kind,
            [](SetWorld& world) {
              const auto result = world.set.operate({.index = 0, .delta = -1}, Deadline::never());
              REQUIRE(result.error() == Error::removed);
            },
            [](SetWorld& world) { REQUIRE(world.set.remove()); },
            [](SetWorld& world) {
              CHECK(world.set.value(0).error() == Error::removed);
              CHECK(world.set.status().error() == Error::removed);
            });
      },
      with_others);
}

TEST_CASE("who waits is told of the removal, or waits on, when the remover dies") {
  for_each_kind(
      [](Round& round, const SetKind& kind) {
        SetWorld world(kind);
        const auto wait_to_the_end = [&] {
          const auto result = world.set.operate({.index = 0, .delta = -1}, Deadline::never());
          REQUIRE(result.error() == Error::removed);
        };
        Victim victim(round, [&] { world.attach(); }, [&] { REQUIRE(world.set.remove()); });
        Blocked one([&] { world.attach(); }, wait_to_the_end);
        Blocked two([&] { world.attach(); }, wait_to_the_end);
        victim.strike();
        await("the victim is buried", [&] { return world.is_quiet() || world.raw_waiting() == 0; });
        if (!world.is_removed()) {
          CHECK_FALSE(round.lived(0));
          REQUIRE(world.set.remove());
        }
        one.must_finish();
        two.must_finish();
        world.check_at_rest();
      },
      with_others);
}

TEST_CASE("who dies while it buries a dead one leaves both to the next") {
  for (const auto& kind : set_kinds) {
    INFO("a set ", kind.name);
    crash_at_each_pair([&](Round& round) {
      SetWorld world(kind, 3);
      Victim first(
          round, [&] { world.attach(); },
          [&] {
            if (kind.count == 1) {
              world.operate({{.index = 0, .delta = -3}, {.index = 0, .delta = 1}});
            } else {
              world.operate(
                  {{.index = 0, .delta = -2, .undo = kind.undo}, {.index = 1, .delta = 1}});
            }
          });
      Victim second(round, [&] { world.attach(); }, [&] { REQUIRE(world.set.value(0)); });
      first.strike();
      second.strike();
      world.check_at_rest();
      CHECK(world.view.buried() >= 2);
      CHECK(world.view.buried() <= 3);
      const auto values = world.set.values().value();
      const int after = kind.undo ? 3 : 1;
      CHECK((values[0] == after || (!round.lived(0) && values[0] == 3)));
      if (kind.count > 1) {
        CHECK(values[1] == (values[0] == 3 && !kind.undo ? 3 : values[1]));
        CHECK((values[1] == 4 || (!round.lived(0) && values[1] == 3)));
      }
    });
  }
}

TEST_CASE("who waits is served when one that died posting is buried by one that dies burying") {
  for (const auto& kind : set_kinds) {
    INFO("a set ", kind.name);
    crash_at_each_pair([&](Round& round) {
      SetWorld world(kind);
      Victim first(
          round, [&] { world.attach(); }, [&] { world.operate({{.index = 0, .delta = 2}}); });
      Victim second(round, [&] { world.attach(); }, [&] { REQUIRE(world.set.value(0)); });
      Blocked one([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -1}}));
      Blocked two([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -1}}));
      first.strike();
      second.strike();
      await("the victims are buried", [&] { return world.is_quiet() || world.raw_waiting() == 0; });
      if (world.raw_waiting() > 0) {
        CHECK_FALSE(round.lived(0));
        CHECK(world.raw_waiting() == 2);
        world.operate({{.index = 0, .delta = 2}});
      }
      one.must_finish();
      two.must_finish();
      world.check_at_rest();
      CHECK(world.raw_value() == 0);
    });
  }
}

}  // namespace parley::test
