#include <parley/message_queue.hpp>

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "steps/explorer.hpp"
#include "steps/world.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::MessageQueue;
using parley::Result;
using parley::Selection;
using parley::test::check_sound;
using parley::test::explore;
using parley::test::search;
using parley::test::SteppedRun;
using Queue = parley::test::World<MessageQueue>;

auto make_queue(std::uint32_t messages = 4) -> std::shared_ptr<Queue> {
  return std::make_shared<Queue>(
      MessageQueue::create({.participants = 4, .waiters = 4, .messages = messages, .bytes = 4096})
          .value());
}

/// The letter, one byte.
auto send(MessageQueue& queue, char letter, std::uint64_t tag = 0,
          Deadline deadline = Deadline::never()) -> Result<void> {
  return queue.send(std::as_bytes(std::span(&letter, 1)), {.tag = tag}, deadline);
}

/// 0 where there was none.
auto receive(MessageQueue& queue, Deadline deadline = Deadline::never(),
             Selection selection = Selection::oldest()) -> char {
  std::array<std::byte, 1> into{};
  const auto got = queue.receive(into, {.selection = selection}, deadline);
  if (!got) CHECK((got.error() == deadline.error() || got.error() == Error::removed));
  return got ? static_cast<char>(into[0]) : '\0';
}

/// After the run: nobody waits or holds, and what is there is all that is there.
void check_left(Queue& queue, std::size_t least, std::size_t most) {
  // The search may have ended somebody's patience with the latch; the rest is done by its next
  // call.
  for (std::size_t thread = 0; thread < 3; ++thread) {
    const auto life = *queue.life(thread);
    if (life != 0 && !parley::shm::is_dead(life)) CHECK(queue[thread].status());
  }
  const auto status = queue.judge().status().value();
  CHECK(status.receivers_waiting == 0);
  CHECK(status.senders_waiting == 0);
  CHECK(status.taken == 0);
  CHECK(status.reserved == 0);
  CHECK(status.messages >= least);
  CHECK(status.messages <= most);
  for (std::size_t i = 0; i < status.messages; ++i) {
    CHECK(receive(queue.judge(), Deadline::now()) != '\0');
  }
  CHECK(receive(queue.judge(), Deadline::now()) == '\0');
}

}  // namespace

TEST_CASE("one hands a message to another in every order") {
  check_sound(explore(
      "message hand-over",
      []() -> SteppedRun {
        auto queue = make_queue();
        return {.threads = {{[queue] { CHECK(receive((*queue)[0]) == 'a'); }},
                            {[queue] { CHECK(send((*queue)[1], 'a')); }}},
                .check = [queue] { check_left(*queue, 0, 0); }};
      },
      search(2)));
}

TEST_CASE("two who wait for their tags get theirs from one who sends both") {
  check_sound(explore(
      "two receivers",
      []() -> SteppedRun {
        auto queue = make_queue();
        const auto gets = [queue](std::size_t self, char letter) {
          CHECK(receive((*queue)[self], Deadline::never(), Selection::tag(self)) == letter);
        };
        return {.threads = {{[gets] { gets(0, 'a'); }}, {[gets] { gets(1, 'b'); }}, {[queue] {
                              CHECK(send((*queue)[2], 'b', 1));
                              CHECK(send((*queue)[2], 'a', 0));
                            }}},
                .check = [queue] { check_left(*queue, 0, 0); }};
      },
      search(1)));
}

TEST_CASE("a receiver whose deadline passes has either its message or left it") {
  check_sound(explore(
      "message deadline",
      []() -> SteppedRun {
        auto queue = make_queue();
        auto got = std::make_shared<bool>(false);
        return {.threads = {{[queue, got] {
                              *got = receive((*queue)[0], Deadline::after(std::chrono::hours(1))) !=
                                     '\0';
                            }},
                            {[queue] { CHECK(send((*queue)[1], 'a')); }}},
                .check = [queue, got] { check_left(*queue, *got ? 0 : 1, *got ? 0 : 1); }};
      },
      search(2)));
}

TEST_CASE("a sender that waits for room gets what a receiver makes") {
  check_sound(explore(
      "room",
      []() -> SteppedRun {
        auto queue = make_queue(1);
        CHECK(send(queue->judge(), 'a'));
        return {.threads = {{[queue] { CHECK(send((*queue)[0], 'b')); }}, {[queue] {
                              CHECK(receive((*queue)[1]) == 'a');
                              CHECK(receive((*queue)[1]) == 'b');
                            }}},
                .check = [queue] { check_left(*queue, 0, 0); }};
      },
      search(2)));
}

TEST_CASE("what one holds that dies at any step goes to who waits for it") {
  check_sound(explore(
      "death of a message's holder",
      []() -> SteppedRun {
        auto queue = make_queue();
        CHECK(send(queue->judge(), 'a'));
        // Not on the stack of a thread that dies, which is never unwound.
        auto taken = std::make_shared<std::optional<parley::TakenMessage>>();
        return {
            .threads = {{[queue, taken] {
                           if (auto got = (*queue)[0].take(Selection::oldest(), Deadline::now()))
                             *taken = std::move(*got);
                           // The search may end the patience with the latch.
                           while (*taken && (*taken)->give_back() == parley::failure(Error::busy)) {
                           }
                         },
                         queue->life(0)},
                        {[queue] { CHECK(receive((*queue)[1]) == 'a'); }}},
            .check = [queue] { check_left(*queue, 0, 0); }};
      },
      search(2)));
}

TEST_CASE("a sender that dies at any step leaves a message or none, and nobody asleep") {
  check_sound(explore(
      "death of a sender",
      []() -> SteppedRun {
        auto queue = make_queue();
        return {.threads = {{[queue] { CHECK(send((*queue)[0], 'a')); }, queue->life(0)},
                            {[queue] { CHECK(receive((*queue)[1]) != '\0'); }},
                            {[queue] { CHECK(send((*queue)[2], 'b')); }}},
                .check = [queue] { check_left(*queue, 0, 1); }};
      },
      search(1)));
}

TEST_CASE("a receiver that dies as it waits keeps no wake-up from the next") {
  check_sound(explore(
      "death of a receiver",
      []() -> SteppedRun {
        auto queue = make_queue();
        return {.threads = {{[queue] { receive((*queue)[0]); }, queue->life(0)},
                            {[queue] { CHECK(receive((*queue)[1]) != '\0'); }},
                            {[queue] {
                              CHECK(send((*queue)[2], 'a'));
                              CHECK(send((*queue)[2], 'b'));
                            }}},
                .check = [queue] { check_left(*queue, 0, 1); }};
      },
      search(1)));
}

TEST_CASE("who waits when the queue is removed is turned away from it") {
  check_sound(explore(
      "removal of a queue",
      []() -> SteppedRun {
        auto queue = make_queue();
        return {.threads = {{[queue] { CHECK(receive((*queue)[0]) == '\0'); }}, {[queue] {
                              // The search may end the patience with the latch.
                              while (!(*queue)[1].remove()) {
                              }
                            }}},
                .check = [] {}};
      },
      search(2)));
}

TEST_CASE("who could have a message when serving was broken off is served by somebody else") {
  auto bounds = search(1);
  bounds.breaks = 3;
  for (const bool gives_up : {false, true}) {
    const auto first = gives_up ? Deadline::after(std::chrono::hours(1)) : Deadline::never();
    check_sound(explore(
        gives_up ? "messages broken off, and one gives up" : "messages broken off",
        [first]() -> SteppedRun {
          auto queue = make_queue();
          auto got = std::make_shared<std::size_t>(0);
          return {.threads = {{[queue, first, got] {
                                if (receive((*queue)[0], first) != '\0') ++*got;
                              }},
                              {[queue, got] {
                                CHECK(receive((*queue)[1]) != '\0');
                                ++*got;
                              }},
                              {[queue] {
                                CHECK(send((*queue)[2], 'a'));
                                CHECK(send((*queue)[2], 'b'));
                              }}},
                  .check = [queue, got] { check_left(*queue, 2 - *got, 2 - *got); }};
        },
        bounds));
  }
}

TEST_CASE("a wake-up of a receiver that is not sent is found") {
  const auto found =
      explore("mutant: no wake-up for a message",
              []() -> SteppedRun {
                auto queue = make_queue();
                return {.threads = {{[queue] { receive((*queue)[0]); }},
                                    {[queue] { static_cast<void>(send((*queue)[1], 'a')); }}},
                        .check = [] {}};
              },
              {.loses_wakes = true});
  CHECK(found.stuck.has_value());
}
