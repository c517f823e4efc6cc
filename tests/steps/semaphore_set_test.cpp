#include <parley/semaphore_set.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include <parley/mutex.hpp>

#include "steps/explorer.hpp"
#include "steps/world.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::Mutex;
using parley::SemaphoreOperation;
using parley::SemaphoreSet;
using parley::test::check_sound;
using parley::test::explore;
using parley::test::search;
using parley::test::SteppedRun;
using parley::test::World;
using Values = std::vector<std::uint16_t>;

constexpr SemaphoreOperation take{.index = 0, .delta = -1};
constexpr SemaphoreOperation take_undo{.index = 0, .delta = -1, .undo = true};
constexpr SemaphoreOperation give{.index = 0, .delta = 1};
constexpr SemaphoreOperation give_undo{.index = 0, .delta = 1, .undo = true};

using Set = World<SemaphoreSet>;

auto make_set(const Values& values, bool undo = true) -> std::shared_ptr<Set> {
  return std::make_shared<Set>(
      SemaphoreSet::create(values, {.participants = 4, .operations = 2, .waiters = 4, .undo = undo})
          .value());
}

/// After the run: nobody waits, every record and the latch are free.
void check_idle(Set& set) {
  CHECK(set.judge().status().value().waiting == 0);
  for (int i = 0; i < 4; ++i) CHECK(set.judge().operate(give, Deadline::now()));
  for (int i = 0; i < 4; ++i) CHECK(set.judge().operate(take, Deadline::now()));
}

}  // namespace

TEST_CASE("one hands a unit to another in every order") {
  for (const bool undo : {true, false}) {
    check_sound(explore(
        "hand-over",
        [undo]() -> SteppedRun {
          auto set = make_set({0}, undo);
          return {.threads = {{[set] { CHECK((*set)[0].operate(take, Deadline::never())); }},
                              {[set] { CHECK((*set)[1].operate(give, Deadline::never())); }}},
                  .check = [set] {
                    CHECK(set->judge().value(0).value() == 0);
                    check_idle(*set);
                  }};
        },
        search(3)));
  }
}

TEST_CASE("two whose rows and records get their memory at once have both what they need") {
  check_sound(explore(
      "memory",
      []() -> SteppedRun {
        auto set = make_set(Values(250, 0));
        return {.threads = {{[set] { CHECK((*set)[0].operate(take_undo, Deadline::never())); }},
                            {[set] { CHECK((*set)[1].operate(take_undo, Deadline::never())); }},
                            {[set] {
                              CHECK((*set)[2].operate({.index = 0, .delta = 2}, Deadline::never()));
                            }}},
                .check = [set] {
                  CHECK(set->judge().value(0).value() == 0);
                  check_idle(*set);
                }};
      },
      search(2)));
}

TEST_CASE("two who wait are served by one who gives to both") {
  check_sound(explore(
      "two waiters",
      []() -> SteppedRun {
        auto set = make_set({0});
        return {.threads = {{[set] { CHECK((*set)[0].operate(take, Deadline::never())); }},
                            {[set] { CHECK((*set)[1].operate(take, Deadline::never())); }},
                            {[set] {
                              CHECK((*set)[2].operate({.index = 0, .delta = 2}, Deadline::never()));
                            }}},
                .check = [set] {
                  CHECK(set->judge().value(0).value() == 0);
                  check_idle(*set);
                }};
      },
      search(2)));
}

TEST_CASE("a wait that ends at its deadline has either its unit or left it") {
  for (const bool undo : {true, false}) {
    check_sound(explore(
        "deadline against grant",
        [undo]() -> SteppedRun {
          auto set = make_set({0}, undo);
          auto taken = std::make_shared<int>(0);
          return {.threads = {{[set, taken] {
                                const auto done =
                                    (*set)[0].operate(take, Deadline::after(std::chrono::hours(1)));
                                *taken = done.has_value() ? 1 : 0;
                                if (!done) CHECK(done.error() == Error::timed_out);
                              }},
                              {[set] { CHECK((*set)[1].operate(give, Deadline::never())); }}},
                  .check = [set, taken] {
                    CHECK(set->judge().value(0).value() + *taken == 1);
                    check_idle(*set);
                  }};
        },
        search(2)));
  }
}

TEST_CASE("who could proceed when serving was broken off is served by somebody else") {
  auto bounds = search(1);
  bounds.breaks = 3;
  for (const bool gives_up : {false, true}) {
    const auto first = gives_up ? Deadline::after(std::chrono::hours(1)) : Deadline::never();
    check_sound(explore(
        gives_up ? "broken off, and one gives up" : "broken off",
        [first]() -> SteppedRun {
          auto set = make_set({0});
          auto taken = std::make_shared<int>(0);
          return {
              .threads = {{[set, first, taken] {
                            if ((*set)[0].operate(take, first)) ++*taken;
                          }},
                          {[set, taken] {
                            CHECK((*set)[1].operate(take, Deadline::never()));
                            ++*taken;
                          }},
                          {[set] {
                            CHECK((*set)[2].operate({.index = 0, .delta = 2}, Deadline::never()));
                          }}},
              .check = [set, taken] {
                CHECK(set->judge().value(0).value() + *taken == 2);
                check_idle(*set);
              }};
        },
        bounds));
  }
}

TEST_CASE("who waits when the set is removed is turned away") {
  check_sound(explore(
      "removal",
      []() -> SteppedRun {
        auto set = make_set({0});
        return {.threads = {{[set] {
                              CHECK((*set)[0].operate(take, Deadline::never()).error() ==
                                    Error::removed);
                            }},
                            {[set] {
                              // The search may end the patience with the latch.
                              while (!(*set)[1].remove()) {
                              }
                            }}},
                .check = [] {}};
      },
      search(3)));
}

TEST_CASE("what a participant that dies at any step had taken goes to who waits for it") {
  check_sound(explore(
      "death of a holder",
      []() -> SteppedRun {
        auto set = make_set({1});
        return {.threads = {{[set] {
                               CHECK((*set)[0].operate(take_undo, Deadline::never()));
                               CHECK((*set)[0].operate(give_undo, Deadline::never()));
                             },
                             set->life(0)},
                            {[set] {
                              CHECK((*set)[1].operate(take_undo, Deadline::never()));
                              CHECK((*set)[1].operate(give_undo, Deadline::never()));
                            }}},
                .check = [set] {
                  CHECK(set->judge().value(0).value() == 1);
                  check_idle(*set);
                }};
      },
      search(2)));
}

TEST_CASE("one who dies while it serves leaves nobody asleep who was served") {
  check_sound(explore(
      "death of a giver",
      []() -> SteppedRun {
        auto set = make_set({0});
        return {
            .threads = {{[set] {
                           CHECK((*set)[0].operate({.index = 0, .delta = 2}, Deadline::never()));
                         },
                         set->life(0)},
                        {[set] { CHECK((*set)[1].operate(take, Deadline::never())); }},
                        {[set] { CHECK((*set)[2].operate(give, Deadline::never())); }}},
            .check = [set] {
              const auto left = set->judge().value(0).value();
              CHECK((left == 0 || left == 2));
              check_idle(*set);
            }};
      },
      search(1)));
}

TEST_CASE("one who dies while it waits keeps nothing from the others") {
  check_sound(explore(
      "death of a waiter",
      []() -> SteppedRun {
        auto set = make_set({0});
        return {.threads = {{[set] {
                               static_cast<void>((*set)[0].operate(take_undo, Deadline::never()));
                             },
                             set->life(0)},
                            {[set] { CHECK((*set)[1].operate(give, Deadline::never())); }}},
                .check = [set] {
                  const auto left = set->judge().value(0).value();
                  CHECK((left == 0 || left == 1));
                  check_idle(*set);
                }};
      },
      search(2)));
}

TEST_CASE("a mutex has one holder in every order, also when one dies") {
  for (const bool mortal : {false, true}) {
    check_sound(explore(
        mortal ? "mutex with a death" : "mutex",
        [mortal]() -> SteppedRun {
          auto mutex = std::make_shared<World<Mutex>>(Mutex::create({.participants = 4}).value());
          auto inside = std::make_shared<int>(0);
          const auto enter = [mutex, inside](std::size_t self) {
            auto& mine = (*mutex)[self];
            CHECK(mine.acquire(Deadline::never()));
            CHECK((*inside == 0 || mine.peer_died()));
            *inside = 1;
            CHECK(mine.peer_died() == mine.peer_died());  // a step inside
            *inside = 0;
            CHECK(mine.release());
          };
          std::vector<parley::test::SteppedThread> threads;
          threads.reserve(3);
          for (std::size_t i = 0; i < (mortal ? 3U : 2U); ++i) {
            threads.push_back(
                {[enter, i] { enter(i); }, mortal && i == 0 ? mutex->life(0) : nullptr});
          }
          return {.threads = std::move(threads), .check = [mutex] {
                    CHECK(mutex->judge().acquire(Deadline::now()));
                    CHECK(mutex->judge().release());
                  }};
        },
        search(2)));
  }
}

TEST_CASE("a wake-up that is not sent is found") {
  const auto found = explore(
      "mutant: no wake-up",
      []() -> SteppedRun {
        auto set = make_set({0});
        return {
            .threads = {{[set] { static_cast<void>((*set)[0].operate(take, Deadline::never())); }},
                        {[set] { static_cast<void>((*set)[1].operate(give, Deadline::never())); }}},
            .check = [] {}};
      },
      {.loses_wakes = true});
  CHECK(found.stuck.has_value());
}
