#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>

#include "support/faults.hpp"
#include "support/small_filesystem.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::MessageQueue;
using parley::Mutex;
using parley::SemaphoreSet;
using parley::test::fail_each_call;
using parley::test::Failures;
using parley::test::interrupt_each_call;
using parley::test::Outcome;
using Values = std::vector<std::uint16_t>;

// The boot id and the barriers are done without where they are not to be had.
constexpr auto survivable = Failures::may_be_survived;

auto outcome_of(const auto& result) -> Outcome {
  return result ? Outcome() : parley::failure(result.error());
}

/// Rows and records of such a set have no memory at first.
const Values hollow_values(250, 1);
constexpr parley::SemaphoreSetOptions hollow{.participants = 4, .operations = 4, .waiters = 4};

auto files_in(const parley::test::TempDir& dir) -> long {
  return std::distance(std::filesystem::directory_iterator(dir.path()), {});
}

}  // namespace

TEST_CASE("a failing call while an object is made leaves neither descriptor nor name") {
  const parley::test::TempDir dir;
  const Values values{1, 2};
  CHECK(fail_each_call([&] { return outcome_of(SemaphoreSet::create(values)); }, survivable) > 5);
  CHECK(fail_each_call([&] { return outcome_of(Mutex::create()); }, survivable) > 5);
  const auto path = dir / "set";
  CHECK(fail_each_call(
            [&] {
              auto made = outcome_of(SemaphoreSet::create(path, values));
              CHECK(files_in(dir) == (made ? 1 : 0));
              if (made) made = SemaphoreSet::unlink(path);
              std::filesystem::remove(path);
              return made;
            },
            survivable) > 7);
}

TEST_CASE("a failing call while an object is opened leaves no descriptor") {
  const parley::test::TempDir dir;
  const auto path = dir / "set";
  auto set = SemaphoreSet::create(path, Values{1}).value();
  CHECK(fail_each_call([&] { return outcome_of(SemaphoreSet::open(path)); }, survivable) > 5);
  CHECK(set.status().value().participants == 1);
}

TEST_CASE("a failing call leaves a wait as it was, or is told") {
  auto set = SemaphoreSet::create(Values{0}).value();
  CHECK(fail_each_call(
            [&]() -> Outcome {
              const auto waited = set.operate({.index = 0, .delta = -1}, Deadline::after(1ms));
              if (!waited && waited.error() == parley::Error::timed_out) return {};
              return waited;
            },
            survivable) >= 1);
  CHECK(set.waiting_for_increase(0).value() == 0);
}

TEST_CASE("making, opening and waiting go on after an interruption") {
  const parley::test::TempDir dir;
  const auto path = dir / "set";
  auto set = SemaphoreSet::create(path, Values{0}).value();
  CHECK(interrupt_each_call([&]() -> Outcome {
          const auto waited = set.operate({.index = 0, .delta = -1}, Deadline::after(1ms));
          CHECK(waited.error() == parley::Error::timed_out);
          return {};
        }) >= 1);
}

TEST_CASE("a set without memory for an undo or a wait says so, and is as before") {
  parley::test::with_small_filesystem([](const std::string& directory) {
    auto set = SemaphoreSet::create(directory + "/set", hollow_values, hollow).value();
    const auto filler = directory + "/filler";
    {
      std::ofstream file(filler);
      const std::vector<char> page(4096);
      while (file.write(page.data(), 4096).flush()) {
      }
    }
    const auto waits = [&] {
      return set.operate({.index = 0, .delta = -2}, Deadline::after(1ms)).error();
    };
    const auto undone = [&] {
      return set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now());
    };
    REQUIRE(undone().error() == parley::Error::no_space);
    REQUIRE(waits() == parley::Error::no_space);
    REQUIRE(set.values() == hollow_values);
    REQUIRE(set.status()->waiting == 0);
    REQUIRE(set.operate({.index = 0, .delta = -1}, Deadline::now()));
    REQUIRE(set.operate({.index = 0, .delta = 1}, Deadline::now()));
    std::filesystem::remove(filler);
    REQUIRE(waits() == parley::Error::timed_out);
    REQUIRE(undone());
    REQUIRE(set.value(0) == 0);
  });
}

TEST_CASE("a failing call while a set grows leaves it as it was") {
  // Without a clock the time of the last operation is not known.
  const auto failed = fail_each_call(
      []() -> Outcome {
        auto made = SemaphoreSet::create(hollow_values, hollow);
        if (!made) return parley::failure(made.error());
        const auto taken = made->operate({.index = 0, .delta = -1, .undo = true}, Deadline::now());
        CHECK(made->value(0) == (taken ? 0 : 1));
        const auto waited = made->operate({.index = 0, .delta = -2}, Deadline::after(1ms));
        CHECK(made->status()->waiting == 0);
        if (!taken) return taken;
        return waited.error() == parley::Error::timed_out ? Outcome() : waited;
      },
      survivable);
  CHECK(failed > 10);
}

TEST_CASE("a queue without memory for a message says so, and is as before") {
  parley::test::with_small_filesystem([](const std::string& directory) {
    auto queue = MessageQueue::create(directory + "/queue").value();
    const std::vector<std::byte> message(30'000);
    std::size_t sent = 0;
    for (;; ++sent) {
      const auto done = queue.send(message, {.tag = sent}, Deadline::now());
      if (done) continue;
      REQUIRE(done.error() == parley::Error::no_space);
      break;
    }
    REQUIRE(sent > 5);
    REQUIRE(queue.reserve(30'000, Deadline::never()).error() == parley::Error::no_space);
    REQUIRE(queue.status()->messages == sent);
    REQUIRE(queue.status()->reserved == 0);
    std::vector<std::byte> into(30'000);
    for (std::size_t i = 0; i < sent; ++i) {
      REQUIRE(queue.receive(into, Deadline::now())->tag == i);
      REQUIRE(queue.send({}, {.tag = 1'000 + i}, Deadline::now()));
    }
  });
}

TEST_CASE("a failing call while a queue grows leaves it as it was") {
  std::uint64_t sent = 0;
  auto queue = MessageQueue::create().value();
  const std::vector<std::byte> message(400'000);
  // Without a clock the time of the last message is not known.
  const auto failed = fail_each_call(
      [&]() -> Outcome {
        const auto done = queue.send(message, {.tag = sent}, Deadline::now());
        if (done) ++sent;
        CHECK(queue.status()->messages == sent);
        CHECK(queue.status()->reserved == 0);
        return done;
      },
      survivable);
  CHECK(failed >= 3);
  std::vector<std::byte> into(400'000);
  for (std::uint64_t tag = 0; tag < sent; ++tag) {
    CHECK(queue.receive(into, Deadline::now())->tag == tag);
  }
}
