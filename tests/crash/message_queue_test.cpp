// Processes that die while they act on a queue for which nobody waits.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>

#include "crash/queue_world.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {
namespace {

using Texts = std::vector<std::string>;

/// In its slot, in the arena, and too long to be copied under the latch.
constexpr std::array<std::size_t, 3> sizes{40, 500, 10'000};

/// Of each of several scenarios in one case. A copy of many bytes is as many instructions.
constexpr Sample one_of_several{
    .of_steps = 250, .of_instructions = 150, .of_instructions_in_full = 4000};

/// Long messages with free blocks among them, and short ones; what `drain` then finds.
auto fill(QueueWorld& world) -> Texts {
  for (int i = 0; i < 6; ++i) world.send(text_of('x', 300 + static_cast<std::size_t>(i)), 50);
  const Texts left{text_of('a', 700), text_of('b', 30), text_of('c', 900)};
  world.send(left[0], 1, 2);
  world.send(left[1], 2);
  world.send(left[2], 1);
  for (int i = 0; i < 6; ++i) REQUIRE(world.receive(Selection::tag(50)));
  return left;
}

/// One call of a victim that takes part already, and what the others then find.
void dies_in_call(Round& round, const MessageQueueOptions& options,
                  const std::function<void(QueueWorld&)>& prepare,
                  const std::function<void(QueueWorld&)>& call,
                  const std::function<void(QueueWorld&, const Texts&)>& look) {
  QueueWorld world(options);
  prepare(world);
  Victim victim(round, [&] { world.attach(); }, [&] { call(world); });
  CHECK(world.view.buried() == 0);
  victim.strike();
  world.check_at_rest();
  CHECK(world.view.buried() == 1);
  look(world, world.is_removed() ? Texts() : world.drain());
  if (world.is_removed()) return;
  // The queue works as before.
  world.send("again", 1, 1);
  CHECK(world.receive(Selection::highest()) == "again");
  world.check_at_rest();
}

auto with(Texts texts, const std::string& last) -> Texts {
  texts.push_back(last);
  return texts;
}

auto without(Texts texts, std::size_t at) -> Texts {
  texts.erase(texts.begin() + static_cast<std::ptrdiff_t>(at));
  return texts;
}

}  // namespace

TEST_CASE("a message whose sender dies is sent whole or was never sent") {
  for (const auto size : sizes) {
    crash_at_each_step(
        [&](Round& round) {
          Texts left;
          dies_in_call(
              round, {}, [&](QueueWorld& world) { left = fill(world); },
              [&](QueueWorld& world) { world.send(text_of('n', size), 7, 3); },
              [&](QueueWorld&, const Texts& found) {
                const auto sent = with(left, text_of('n', size));
                CHECK((found == sent || (found == left && !round.lived(0))));
              });
        },
        one_of_several);
  }
}

TEST_CASE("a message whose receiver dies is received or still in its place") {
  for (const std::size_t at : {0U, 1U, 2U}) {
    crash_at_each_step(
        [&](Round& round) {
          Texts left;
          dies_in_call(
              round, {}, [&](QueueWorld& world) { left = fill(world); },
              [&](QueueWorld& world) {
                const auto selection = at == 0   ? Selection::highest()
                                       : at == 1 ? Selection::tag(2)
                                                 : Selection::tag(1);
                if (at == 2) REQUIRE(world.receive(selection) == left[0]);
                REQUIRE(world.receive(selection) == left[at]);
              },
              [&](QueueWorld&, const Texts& found) {
                auto gone = without(left, at);
                if (at == 2) gone = without(gone, 0);
                const bool nothing_yet = found == left || (at == 2 && found == without(left, 0));
                CHECK((found == gone || (nothing_yet && !round.lived(0))));
              });
        },
        one_of_several);
  }
}

TEST_CASE("a long message whose receiver dies is received or back in its place, unmarked") {
  const auto text = text_of('l', 10'000);
  crash_at_each_step(
      [&](Round& round) {
        dies_in_call(
            round, {},
            [&](QueueWorld& world) {
              world.send(text, 3);
              world.send("short", 3);
            },
            [&](QueueWorld& world) { REQUIRE(world.receive() == text); },
            [&](QueueWorld&, const Texts& found) {
              const bool there = found == Texts{text, "short"};
              CHECK((found == Texts{"short"} || (there && !round.lived(0))));
            });
      },
      {.of_steps = 250, .of_instructions = 20, .of_instructions_in_full = 500});
}

TEST_CASE("a message that a process holds when it dies comes back marked, or is acknowledged") {
  for (const bool acknowledges : {true, false}) {
    crash_at_each_step(
        [&](Round& round) {
          QueueWorld world;
          const auto left = fill(world);
          Victim victim(
              round, [&] { world.attach(); },
              [&] {
                auto first = world.take();
                auto second = world.take(Selection::tag(1));
                REQUIRE((acknowledges ? first.acknowledge() : first.give_back()));
                REQUIRE(second.acknowledge());
              });
          victim.strike();
          world.check_at_rest();
          std::array<std::byte, 1000> into{};
          Texts found;
          while (const auto got = world.queue.receive(into, Deadline::now())) {
            found.emplace_back(reinterpret_cast<const char*>(into.data()), got->copied_bytes);
            CHECK(got->redeliveries <= (round.lived(0) ? 0U : 1U));
            CHECK((got->redeliveries == 0 || found.back() != left[1]));
          }
          const auto first = acknowledges ? without(left, 0) : left;
          const auto both = acknowledges ? Texts{left[1]} : without(left, 2);
          if (round.lived(0)) {
            CHECK(found == both);
          } else {
            CHECK((found == left || found == first || found == both));
          }
          world.check_at_rest();
        },
        one_of_several);
  }
}

TEST_CASE("a message that is written in place is published whole or never was, and its room free") {
  for (const auto size : sizes) {
    crash_at_each_step(
        [&](Round& round) {
          dies_in_call(
              round, {.messages = 2, .bytes = 20'000},
              [](QueueWorld& world) { world.send("first"); },
              [&](QueueWorld& world) {
                {
                  const auto dropped = world.queue.reserve(size / 2, Deadline::now()).value();
                }
                auto room = world.queue.reserve(size, Deadline::now()).value();
                std::ranges::fill(room.bytes(), std::byte{'r'});
                REQUIRE(room.publish({.tag = 5}));
              },
              [&](QueueWorld&, const Texts& found) {
                const bool sent = found == Texts{"first", text_of('r', size)};
                CHECK((sent || (found == Texts{"first"} && !round.lived(0))));
              });
        },
        one_of_several);
  }
}

TEST_CASE("what a dead process held and had reserved is buried once, whoever dies burying it") {
  crash_at_each_step([](Round& round) {
    QueueWorld world({.redeliveries = 0, .dead_letter_tag = QueueWorld::dead_letters});
    const auto left = fill(world);
    Peer holder([&] {
      const auto first = world.take(Selection::highest());
      const auto second = world.take(Selection::tag(1));
      const auto room = world.queue.reserve(400, Deadline::now()).value();
      const auto other = world.queue.reserve(40, Deadline::now()).value();
      world.send("more", 3);
      ::kill(getpid(), SIGKILL);
    });
    CHECK(holder.wait() == -SIGKILL);
    Victim victim(round, [] {}, [&] { world.attach(); });
    victim.strike();
    world.check_at_rest();
    std::array<std::byte, 1000> into{};
    CHECK(world.receive() == left[1]);
    CHECK(world.receive() == "more");
    std::set<std::string> dead;
    while (const auto got = world.queue.receive(into, Deadline::now())) {
      dead.emplace(reinterpret_cast<const char*>(into.data()), got->copied_bytes);
      CHECK(got->tag == QueueWorld::dead_letters);
      CHECK(got->dead_letter_of == 1);
      CHECK(got->redeliveries == 1);
    }
    CHECK(dead == std::set<std::string>{left[0], left[2]});
    world.check_at_rest();
  });
}

TEST_CASE("a queue grows and is given back whole, wherever the process dies that does it") {
  const auto text = text_of('n', 20'000);
  crash_at_each_step(
      [&](Round& round) {
        dies_in_call(
            round, {.bytes = std::uint64_t{16} << 20U, .message_bytes = 8U << 20U},
            [](QueueWorld& world) {
              auto room = world.queue.reserve(6U << 20U, Deadline::now()).value();
              REQUIRE(room.publish());
            },
            [&](QueueWorld& world) {
              REQUIRE(world.queue.receive({}, {.cut = true}, Deadline::now()));
              world.send(text);
            },
            [&](QueueWorld& world, const Texts& found) {
              if (round.lived(0)) CHECK(found == Texts{text});
              CHECK(found.size() <= 1);
              // Whoever dies before it gives back leaves that to the next who empties the queue.
              world.send("last");
              while (world.queue.receive({}, {.cut = true}, Deadline::now())) {
              }
              CHECK(world.queue.status()->memory_bytes < 5U << 20U);
            });
      },
      {.of_steps = 300, .of_instructions = 20, .of_instructions_in_full = 1000});
}

TEST_CASE("a queue is removed or not when the remover dies") {
  crash_at_each_step([](Round& round) {
    dies_in_call(
        round, {}, [](QueueWorld& world) { fill(world); },
        [](QueueWorld& world) { REQUIRE(world.queue.remove()); },
        [&](QueueWorld& world, const Texts& found) {
          CHECK((world.is_removed() || !round.lived(0)));
          if (!world.is_removed()) CHECK(found.size() == 3);
        });
  });
}

TEST_CASE("a name stands for a whole queue or for nothing when the process dies that creates it") {
  const TempDir directory;
  const MessageQueueOptions options{.dead_letter_tag = 9};
  crash_at_each_step(
      [&](Round& round) {
        const auto name = directory / "queue";
        Victim victim(round, [] {}, [&] { REQUIRE(MessageQueue::create(name, options)); });
        victim.strike();
        auto found = MessageQueue::open(name);
        if (found) {
          CHECK(found->status().value().participants == 1);
          CHECK(found->send({}, {.tag = 9}, Deadline::now()));
          CHECK(MessageQueue::unlink(name));
        } else {
          CHECK_FALSE(round.lived(0));
          CHECK(found.error() == Error::not_found);
        }
        CHECK(std::filesystem::is_empty(directory.path()));
      },
      {.of_steps = 1000, .of_instructions = 100, .of_instructions_in_full = 1000});
}

}  // namespace parley::test
