// Processes that die while they wait for a queue, while they serve those who wait, and while they
// clean up after the dead.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>

#include "crash/queue_world.hpp"

namespace parley::test {
namespace {

/// Others are made, put to sleep and served for each death.
constexpr Sample with_others{
    .of_steps = 120, .of_instructions = 60, .of_instructions_in_full = 2000};

auto receiver(QueueWorld& world, Selection selection, std::string text) -> std::function<void()> {
  return [&world, selection, text = std::move(text)] {
    REQUIRE(world.receive(selection, Deadline::never()) == text);
  };
}

auto sender(QueueWorld& world, std::string text, std::uint64_t tag) -> std::function<void()> {
  return [&world, text = std::move(text), tag] {
    REQUIRE(world.queue.send(std::as_bytes(std::span(text)), {.tag = tag}, Deadline::never()));
  };
}

using Act = std::function<void(QueueWorld&)>;

/// The victim waits, and then another; as soon as both do, or the victim is dead, somebody serves.
/// `then` helps the other where the victim got what it waited for.
void dies_waiting(Round& round, const MessageQueueOptions& options, const Act& wait,
                  const Act& wait_next, const Act& serve, const Act& then,
                  const std::function<void(const std::vector<std::string>&)>& look,
                  const char* before = nullptr) {
  QueueWorld world(options);
  Shared<bool> is_over;
  if (before != nullptr) world.send(before);
  const auto await_waiters = [&](std::size_t count) {
    await("they wait, or the victim is over",
          [&] { return world.raw_waiting() >= count || is_over.load(); });
  };
  Victim victim(round, [&] { world.attach(); }, [&] { wait(world); });
  Peer next([&] {
    world.attach();
    await_waiters(1);
    wait_next(world);
  });
  Peer server([&] {
    world.attach();
    await_waiters(2);
    serve(world);
  });
  victim.strike();
  is_over.store(true);
  CHECK(server.wait() == 0);
  then(world);
  CHECK(next.wait() == 0);
  world.check_at_rest();
  look(world.drain());
  world.check_at_rest();
}

void await_quiet(QueueWorld& world) {
  await("the dead are buried", [&] { return world.is_quiet(); });
}

}  // namespace

TEST_CASE("a message that is sent goes to who waits for it, wherever its sender dies") {
  for (const std::size_t size : {20U, 300U, 10'000U}) {
    crash_at_each_step(
        [&](Round& round) {
          QueueWorld world;
          const auto text = text_of('m', size);
          Victim victim(round, [&] { world.attach(); }, [&] { world.send(text, 2); });
          Blocked other([&] { world.attach(); }, receiver(world, Selection::tag(1), "other"));
          Blocked one([&] { world.attach(); }, receiver(world, Selection::except(1), text));
          Blocked two([&] { world.attach(); }, receiver(world, Selection::tag(2), text));
          victim.strike();
          await_quiet(world);
          await("who was granted is through",
                [&] { return world.raw_messages() == 0 && world.is_quiet(); });
          CHECK(world.raw_waiting() >= 2);
          if (world.raw_waiting() == 3) {
            CHECK_FALSE(round.lived(0));
            world.send(text, 2);
          }
          one.must_finish();
          world.send(text, 2);
          two.must_finish();
          world.send("other", 1);
          other.must_finish();
          world.check_at_rest();
          CHECK(world.view.buried() == 4);
        },
        with_others);
  }
}

TEST_CASE("room that a receiver makes goes to who waits for it, wherever the receiver dies") {
  for (const std::size_t size : {60U, 600U, 9'000U}) {
    crash_at_each_step(
        [&](Round& round) {
          QueueWorld world({.messages = 3, .bytes = 2 * size});
          const auto text = text_of('s', size);
          world.send(text);
          world.send(text_of('t', size));
          Victim victim(round, [&] { world.attach(); }, [&] { REQUIRE(world.receive() == text); });
          Blocked large([&] { world.attach(); }, sender(world, text_of('l', 2 * size), 1));
          Blocked one([&] { world.attach(); }, sender(world, text_of('o', size), 2));
          victim.strike();
          if (!round.lived(0)) await_quiet(world);
          auto first = world.receive();
          REQUIRE(first);
          // Where the victim took one, the first sender has the room.
          if (*first == text) CHECK_FALSE(round.lived(0));
          one.must_finish();
          while (const auto next = world.receive(Selection::except(1), Deadline::now())) {
          }
          large.must_finish();
          CHECK(world.receive() == text_of('l', 2 * size));
          world.check_at_rest();
        },
        with_others);
  }
}

TEST_CASE("a receiver that dies waiting takes neither a message nor a wake-up with it") {
  for (const std::size_t size : {20U, 10'000U}) {
    crash_at_each_step(
        [&](Round& round) {
          const auto text = text_of('m', size);
          dies_waiting(
              round, {},
              [&](QueueWorld& world) {
                REQUIRE(world.receive(Selection::tag(2), Deadline::never()) == text);
              },
              [&](QueueWorld& world) {
                const auto got = world.receive(Selection::tag(2), soon());
                REQUIRE((got == text || got == "last"));
              },
              [&](QueueWorld& world) { world.send(text, 2); },
              [&](QueueWorld& world) { world.send("last", 2); },
              [&](const std::vector<std::string>& left) {
                const bool both = left == std::vector<std::string>{"last"};
                CHECK((left.empty() || (both && !round.lived(0))));
              });
        },
        with_others);
  }
}

TEST_CASE("a taker that dies waiting leaves the message to the next, marked if it was granted") {
  crash_at_each_step(
      [](Round& round) {
        const auto text = text_of('m', 500);
        dies_waiting(
            round, {},
            [&](QueueWorld& world) {
              auto taken = world.queue.take(Selection::tag(2), Deadline::never()).value();
              REQUIRE(taken.bytes().size() == text.size());
              REQUIRE(taken.give_back());
            },
            [&](QueueWorld& world) {
              const auto taken = world.take(Selection::tag(2));
              REQUIRE(taken.bytes().size() == text.size());
              REQUIRE(taken.about().redeliveries <= 1);
            },
            [&](QueueWorld& world) { world.send(text, 2); }, [](QueueWorld&) {},
            [&](const std::vector<std::string>& left) {
              CHECK(left == std::vector<std::string>{text});
            });
      },
      with_others);
}

TEST_CASE("a sender that dies waiting leaves neither a message nor the room it was granted") {
  for (const std::size_t size : {60U, 9'000U}) {
    crash_at_each_step(
        [&](Round& round) {
          const auto text = text_of('s', size);
          bool sent = false;
          dies_waiting(
              round, {.messages = 1},
              [&](QueueWorld& world) {
                REQUIRE(world.queue.send(std::as_bytes(std::span(text)), {}, Deadline::never()));
              },
              [&](QueueWorld& world) { world.send("next"); },
              [&](QueueWorld& world) { REQUIRE(world.receive() == "full"); },
              [&](QueueWorld& world) {
                const auto first = world.receive();
                sent = first == text;
                CHECK((sent || (first == "next" && !round.lived(0))));
              },
              [&](const std::vector<std::string>& left) {
                CHECK(left ==
                      (sent ? std::vector<std::string>{"next"} : std::vector<std::string>{}));
              },
              "full");
        },
        with_others);
  }
}

TEST_CASE("who waits gives up at the deadline and leaves nothing, wherever it dies") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world;
        const auto late = [] { return Deadline::after(std::chrono::milliseconds(2)); };
        Victim victim(
            round, [&] { world.attach(); },
            [&] { REQUIRE(world.receive(Selection::tag(1), late()).error() == Error::timed_out); });
        victim.strike();
        world.send("text", 1);
        CHECK(world.receive() == "text");
        world.check_at_rest();
      },
      with_others);
}

TEST_CASE("who waits is told of the removal of its queue, or waits on, when the remover dies") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world;
        const auto wait_to_the_end = [&] {
          REQUIRE(world.receive(Selection::oldest(), Deadline::never()).error() == Error::removed);
        };
        Victim victim(round, [&] { world.attach(); }, [&] { REQUIRE(world.queue.remove()); });
        Blocked one([&] { world.attach(); }, wait_to_the_end);
        Blocked two([&] { world.attach(); }, wait_to_the_end);
        victim.strike();
        await("the victim is buried", [&] { return world.is_quiet() || world.raw_waiting() == 0; });
        if (!world.is_removed()) {
          CHECK_FALSE(round.lived(0));
          REQUIRE(world.queue.remove());
        }
        one.must_finish();
        two.must_finish();
        world.check_at_rest();
      },
      with_others);
}

TEST_CASE("what a dead holder leaves goes to who waits, whoever dies burying it") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world({.messages = 2});
        world.send(text_of('m', 300), 1);
        Blocked holder([&] { world.attach(); },
                       [&] {
                         const auto taken = world.take();
                         const auto room = world.queue.reserve(300, soon()).value();
                         pause();
                       });
        await("it holds them", [&] { return world.raw_messages() == 2; });
        Blocked one([&] { world.attach(); },
                    receiver(world, Selection::oldest(), text_of('m', 300)));
        // It wakes for the death, and dies as it buries.
        Victim victim(
            round, [&] { world.attach(); }, [&] { static_cast<void>(world.queue.status()); });
        holder.kill();
        victim.strike();
        one.must_finish();
        world.check_at_rest();
        CHECK(world.raw_messages() == 0);
      },
      with_others);
}

TEST_CASE("who waits is served when one that died sending is buried by one that dies burying") {
  crash_at_each_pair([](Round& round) {
    QueueWorld world;
    const auto text = text_of('m', 300);
    Victim first(round, [&] { world.attach(); }, [&] { world.send(text, 1); });
    Victim second(round, [&] { world.attach(); }, [&] { REQUIRE(world.queue.status()); });
    Blocked one([&] { world.attach(); }, receiver(world, Selection::oldest(), text));
    first.strike();
    second.strike();
    // Who was served may be gone by now, and dead itself.
    await("the dead are buried", [&] { return world.is_quiet() || world.raw_waiting() == 0; });
    if (world.raw_waiting() != 0) {
      CHECK_FALSE(round.lived(0));
      world.send(text, 1);
    }
    one.must_finish();
    world.check_at_rest();
  });
}

}  // namespace parley::test
