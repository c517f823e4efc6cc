// Processes that die while they make a set, come to it or leave it.
#include <doctest/doctest.h>

#include <filesystem>
#include <optional>

#include "crash/set_world.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {
namespace {

/// Making and mapping run through the kernel and the C library for most of their way.
constexpr Sample attaching{
    .of_steps = 1000, .of_instructions = 200, .of_instructions_in_full = 1000};

}  // namespace

TEST_CASE("a name stands for a whole set or for nothing when the process dies that creates it") {
  const TempDir directory;
  crash_at_each_step(
      [&](Round& round) {
        const auto name = directory / "set";
        const std::array<std::uint16_t, 2> values{3, 4};
        Victim victim(round, [] {}, [&] { REQUIRE(SemaphoreSet::create(name, values)); });
        victim.strike();
        auto found = SemaphoreSet::open(name);
        if (found) {
          CHECK(found->values().value() == std::vector<std::uint16_t>{3, 4});
          CHECK(found->status().value().participants == 1);
          CHECK(SemaphoreSet::unlink(name));
        } else {
          CHECK_FALSE(round.lived(0));
          CHECK(found.error() == Error::not_found);
        }
        CHECK(std::filesystem::is_empty(directory.path()));
      },
      attaching);
}

TEST_CASE("a process that dies while it opens, adopts or first uses a set leaves no place taken") {
  const TempDir directory;
  const auto name = directory / "set";
  auto named = SemaphoreSet::create(name, std::array<std::uint16_t, 1>{2}).value();
  const SegmentView view(named.descriptor());
  const auto comes = [&](const std::function<void()>& come) {
    crash_at_each_step(
        [&](Round& round) {
          const auto before = view.buried();
          Victim victim(round, [] {}, come);
          victim.strike();
          CHECK(named.value(0) == Result<std::uint16_t>(2));
          CHECK(view.taken() == 1);
          CHECK(view.buried() <= before + 1);
        },
        attaching);
  };
  comes([&] { REQUIRE(SemaphoreSet::open(name)); });
  comes([&] { REQUIRE(SemaphoreSet::adopt(os::duplicate(named.descriptor()).value())); });
  comes([&] { REQUIRE(named.operate({.index = 0, .delta = -1, .undo = true}, soon())); });
}

TEST_CASE("what a process holds comes back at once wherever it dies while it leaves") {
  crash_at_each_step(
      [](Round& round) {
        SetWorld world(with_undo, 1);
        std::optional<SemaphoreSet> leaving;
        Victim victim(
            round,
            [&] {
              leaving = SemaphoreSet::adopt(os::duplicate(world.set.descriptor()).value()).value();
              REQUIRE(leaving->operate({.index = 0, .delta = -1, .undo = true}, soon()));
            },
            [&] { leaving.reset(); });
        Blocked waiter([&] { world.attach(); }, world.waiter({{.index = 0, .delta = -1}}));
        victim.strike();
        waiter.must_finish();
        world.check_at_rest();
        CHECK(world.view.buried() == 2);
        CHECK(world.raw_value() == 0);
      },
      attaching);
}

TEST_CASE("an attacher that dies while it makes room among the dead leaves room for the next") {
  // Two places: the test's and that of the first victim, which dies in an operation, maybe with the
  // latch and a journal; the second stands in place 0 to bury it.
  const auto body = [](Round& round) {
    SetWorld world(with_undo, 3, 2);
    Victim first(
        round, [&] { world.attach(); },
        [&] {
          world.operate({{.index = 0, .delta = -1, .undo = true}, {.index = 1, .delta = 1}});
        });
    first.strike();
    Victim heir(round, [] {}, [&] { world.operate({{.index = 0, .delta = -1, .undo = true}}); });
    heir.strike();
    Peer third([&] { world.operate({{.index = 0, .delta = -1, .undo = true}}); });
    CHECK(third.wait() == 0);
    world.check_at_rest();
    const auto values = world.set.values().value();
    CHECK(values[0] == 3);
    CHECK((values[1] == 4 || (!round.lived(0) && values[1] == 3)));
  };
  crash_at_each_pair(body,
                     {.of_steps = 150, .of_instructions = 300, .of_instructions_in_full = 2000});
}

}  // namespace parley::test
