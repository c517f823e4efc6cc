// Processes that die while they listen for a queue's next message, and while they send it.
#include <doctest/doctest.h>

#include "crash/queue_world.hpp"

namespace parley::test {
namespace {

/// Others are made, put to sleep and served for each death.
constexpr Sample with_others{
    .of_steps = 120, .of_instructions = 60, .of_instructions_in_full = 2000};

}  // namespace

TEST_CASE("a listener is told of a message whose sender dies if that was sent, and only then") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world;
        const auto listener = world.queue.listen().value();
        Victim victim(round, [&] { world.attach(); }, [&] { world.send("m"); });
        victim.strike();
        const bool sent = world.queue.status()->messages == 1;
        CHECK((sent || !round.lived(0)));
        const auto told = world.queue.await_arrival(listener, Deadline::now());
        CHECK(told.has_value() == sent);
        if (told) CHECK(told->process == victim.pid());
        CHECK(world.queue.stop_listening(listener) == !sent);
        CHECK(world.drain().size() == (sent ? 1 : 0));
        world.check_at_rest();
      },
      {.of_steps = 300, .of_instructions = 300});
}

TEST_CASE("a listener that sleeps wakes for a message whose sender dies") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world;
        Shared<std::uint64_t> listener;
        Victim victim(round, [&] { world.attach(); }, [&] { world.send("m"); });
        Blocked sleeper(
            [&] {
              world.attach();
              listener.store(world.queue.listen().value());
            },
            [&] { REQUIRE(world.queue.await_arrival(listener.load(), Deadline::never())); });
        victim.strike();
        // Where the message is there, nobody helps.
        if (world.raw_messages() == 0) {
          world.attach();
          if (world.raw_messages() == 0) world.send("n");
        }
        sleeper.must_finish();
        CHECK(world.drain().size() == 1);
        world.check_at_rest();
      },
      with_others);
}

TEST_CASE("a listener that dies leaves its place to another") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world;
        Victim victim(
            round, [&] { world.attach(); },
            [&] {
              const auto listener = world.queue.listen();
              REQUIRE(listener);
              REQUIRE(world.queue.stop_listening(*listener) == true);
            });
        victim.strike();
        const auto listener = world.queue.listen();
        REQUIRE(listener);
        world.send("m");
        CHECK(world.queue.await_arrival(*listener, Deadline::now()));
        CHECK(world.receive() == "m");
        world.check_at_rest();
      },
      {.of_steps = 300, .of_instructions = 300});
}

TEST_CASE("a listener that dies as it is told leaves the message, and its place to another") {
  crash_at_each_step(
      [](Round& round) {
        QueueWorld world;
        Shared<std::uint64_t> listener;
        Victim victim(
            round,
            [&] {
              world.attach();
              listener.store(world.queue.listen().value());
            },
            [&] { REQUIRE(world.queue.await_arrival(listener.load(), soon())); });
        Peer sender([&] {
          world.attach();
          world.send("m");
        });
        victim.strike();
        CHECK(sender.wait() == 0);
        CHECK(world.receive() == "m");
        const auto next = world.queue.listen();
        REQUIRE(next);
        CHECK(world.queue.stop_listening(*next) == true);
        world.check_at_rest();
      },
      with_others);
}

}  // namespace parley::test
