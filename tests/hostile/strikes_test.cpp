#include <doctest/doctest.h>

#include <cstdio>

#include "hostile/objects.hpp"
#include "shm/layout/segment.hpp"
#include "support/long_run.hpp"

using namespace std::chrono_literals;
using namespace parley::test;

namespace {

void check(const Target& target, const Outcome& outcome) {
  const std::string story = std::string(target.name) + ": " + outcome.what;
  CAPTURE(story);
  CHECK(outcome.survived);
  CHECK(outcome.strikes > 0);
  CHECK(outcome.calls > 0);
  std::printf("%s: %llu hostile writes survived, in %llu calls\n", target.name,
              static_cast<unsigned long long>(outcome.strikes),
              static_cast<unsigned long long>(outcome.calls));
}

}  // namespace

TEST_CASE("whatever stands in any one word of a set with undo, every call ends by its deadline") {
  check(set_with_undo(), strike_each_word(set_with_undo()));
}

TEST_CASE("whatever stands in any one word of a set without, every call ends by its deadline") {
  check(set_of_one_without_undo(), strike_each_word(set_of_one_without_undo()));
}

TEST_CASE("whatever stands in any one word of a mutex, every call ends by its deadline") {
  check(mutex(), strike_each_word(mutex()));
}

TEST_CASE("whatever stands in any one word of a stream, every call ends by its deadline") {
  check(stream_with_free_ends(), strike_each_word(stream_with_free_ends()));
}

TEST_CASE("whatever any one word of a stream becomes once its ends are held, every call ends") {
  check(stream_with_held_ends(), strike_each_word(stream_with_held_ends()));
}

TEST_CASE("whatever stands in any one word of a new queue, every call ends by its deadline") {
  check(message_queue_of(0), strike_each_word(message_queue_of(0)));
}

TEST_CASE("whatever stands in any one word of a queue in use, every call ends by its deadline") {
  check(message_queue_of(1), strike_each_word(message_queue_of(1)));
}

TEST_CASE("whatever stands in any one word of a queue with a dead one, every call ends in time") {
  check(message_queue_of(2), strike_each_word(message_queue_of(2)));
}

TEST_CASE("whatever stands in any one word of a queue that a dead one held, every call ends") {
  check(message_queue_of(3), strike_each_word(message_queue_of(3)));
}

TEST_CASE("while a peer writes into any words, every call ends by its deadline") {
  const auto start = seed();
  for (const auto& target : every_object()) {
    check(target, strike_at_random(target, {.seed = start, .duration = time_budget(4s, 200s)}));
  }
}

TEST_CASE("a call with a deadline keeps it, however patient the library is") {
  const auto start = seed();
  for (const auto& target : every_object()) {
    check(target,
          strike_at_random(target,
                           {.seed = start, .duration = time_budget(3s, 100s), .patience = 100s}));
  }
}

TEST_CASE("a word that changes at every system call keeps nobody past the deadline") {
  using parley::shm::SegmentHeader;
  for (const auto& target : every_object()) {
    for (const auto pair : offsets_of(target, target.make().front())) {
      for (const auto word : {pair, pair + 4}) {
        if (word < offsetof(SegmentHeader, places_used)) continue;
        const auto outcome = strike_before_each_system_call(target, word);
        CAPTURE(target.name);
        CAPTURE(word);
        CAPTURE(outcome.what);
        CHECK(outcome.survived);
      }
    }
  }
}

TEST_CASE("whatever any one load finds, every call ends by its deadline") {
  const auto start = seed();
  for (const auto& target : every_object()) {
    check(target, strike_before_each_load(target, start, is_full_run() ? 50 : 2));
  }
}

TEST_CASE("an object that is truncated while it is used is an error at most") {
  const auto start = seed();
  for (const auto& target : every_object()) {
    check(target,
          strike_at_random(target,
                           {.seed = start, .duration = time_budget(2s, 60s), .truncates = true}));
  }
}
