// Processes that die while they take, hold, wait for, release or leave a Mutex.
#include <doctest/doctest.h>

#include <array>
#include <optional>

#include <parley/mutex.hpp>

#include "crash/crash.hpp"
#include "crash/segment_view.hpp"
#include "shm/layout/mutex.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {
namespace {

constexpr Sample attaching{
    .of_steps = 1000, .of_instructions = 200, .of_instructions_in_full = 1000};

auto soon() -> Deadline {
  return Deadline::after(std::chrono::seconds(20));
}

class MutexWorld {
 public:
  explicit MutexWorld(std::uint32_t participants = 5)
      : mutex(make(participants)), view(mutex.descriptor()) {}

  /// Takes part while another holds the lock, and while none does.
  void attach_to_held() { REQUIRE(mutex.acquire(Deadline::now()).error() == Error::would_block); }
  void attach() { lock_and_release(); }

  void lock_and_release() {
    REQUIRE(mutex.acquire(Deadline::never()));
    REQUIRE(mutex.release());
  }

  [[nodiscard]] auto is_contended() const -> bool {
    return body().latch.sleepers.load_acquire() != 0;
  }
  [[nodiscard]] auto is_held() const -> bool { return body().latch.holder.load_acquire() != 0; }

  /// Takes the lock, which must be told to come from a dead holder or not, and looks at the rest.
  void check(bool peer_died) {
    REQUIRE(mutex.acquire(soon()));
    CHECK(mutex.peer_died() == peer_died);
    REQUIRE(mutex.release());
    check_at_rest();
  }

  void check_at_rest() {
    lock_and_release();
    CHECK(body().latch.holder.load_relaxed() == 0);
    CHECK(body().inherited.load_relaxed() == 0);
    CHECK(view.taken() == 1);
    CHECK(view.dead() == 0);
  }

  Mutex mutex;
  SegmentView view;

 private:
  static auto make(std::uint32_t participants) -> Mutex {
    MutexOptions options;
    options.participants = participants;
    auto mutex = Mutex::create(options).value();
    mutex.set_wait_strategy(WaitStrategy::block);
    return mutex;
  }
  [[nodiscard]] auto body() const -> shm::MutexBody& {
    return *std::launder(reinterpret_cast<shm::MutexBody*>(view.body().data()));
  }
};

}  // namespace

TEST_CASE("a lock whose holder died is told from one that was released") {
  crash_at_each_step([](Round& round) {
    MutexWorld world;
    Victim victim(
        round, [&] { world.lock_and_release(); },
        [&] {
          world.lock_and_release();
          REQUIRE(world.mutex.try_lock());
          world.mutex.unlock();
        });
    victim.strike();
    world.check(world.is_held());
    CHECK(world.view.buried() == 1);
  });
}

TEST_CASE("who waits gets the lock wherever its holder dies, and is told of it") {
  crash_at_each_step(
      [](Round& round) {
        MutexWorld world;
        Victim victim(
            round, [&] { REQUIRE(world.mutex.acquire(soon())); },
            [&] { REQUIRE(world.mutex.release()); });
        Shared<int> told;
        const auto wait = [&] {
          REQUIRE(world.mutex.acquire(Deadline::never()));
          if (world.mutex.peer_died()) told.store(told.load() + 1);
          REQUIRE(world.mutex.release());
        };
        Blocked one([&] { world.attach_to_held(); }, wait);
        Blocked two([&] { world.attach_to_held(); }, wait);
        victim.strike();
        one.must_finish();
        two.must_finish();
        CHECK(told.load() <= 1);
        if (round.lived(0)) CHECK(told.load() == 0);
        world.check(false);
        CHECK(world.view.buried() == 3);
      },
      {.of_instructions = 300});
}

TEST_CASE("a process that dies while it waits for a lock, or at its deadline, holds nobody up") {
  crash_at_each_step(
      [](Round& round) {
        MutexWorld world;
        REQUIRE(world.mutex.acquire(soon()));
        Victim victim(
            round, [&] { world.attach_to_held(); },
            [&] {
              const auto late = Deadline::after(std::chrono::milliseconds(2));
              REQUIRE(world.mutex.acquire(late).error() == Error::timed_out);
            });
        Blocked next([&] { world.attach_to_held(); }, [&] { world.lock_and_release(); });
        victim.strike();
        REQUIRE(world.mutex.release());
        next.must_finish();
        world.check(false);
        CHECK(world.view.buried() == 2);
      },
      {.of_instructions = 300});
}

TEST_CASE("a waiter that dies once the lock is its own passes it on") {
  crash_at_each_step([](Round& round) {
    MutexWorld world;
    Shared<bool> is_over;
    // Holds the lock until the victim sleeps, or is no more.
    Shared<pid_t> victim_pid;
    Blocked next_holder(
        [&] { REQUIRE(world.mutex.acquire(soon())); },
        [&] {
          await("the victim waits",
                [&] { return is_over.load() || (victim_pid.load() != 0 && world.is_contended()); });
          REQUIRE(world.mutex.release());
        });
    Victim victim(
        round, [&] { world.attach_to_held(); },
        [&] {
          REQUIRE(world.mutex.acquire(Deadline::never()));
          REQUIRE(world.mutex.release());
        });
    victim_pid.store(victim.pid());
    victim.strike();
    is_over.store(true);
    next_holder.must_finish();
    world.check(world.is_held());
  });
}

TEST_CASE("a lock that a dying process leaves by its handle is inherited") {
  crash_at_each_step(
      [](Round& round) {
        MutexWorld world;
        std::optional<Mutex> leaving;
        Victim victim(
            round,
            [&] {
              leaving = Mutex::adopt(os::duplicate(world.mutex.descriptor()).value()).value();
              REQUIRE(leaving->acquire(soon()));
            },
            [&] { leaving.reset(); });
        Shared<bool> told;
        Blocked waiter([&] { world.attach_to_held(); },
                       [&] {
                         REQUIRE(world.mutex.acquire(Deadline::never()));
                         told.store(world.mutex.peer_died());
                         REQUIRE(world.mutex.release());
                       });
        victim.strike();
        waiter.must_finish();
        CHECK(told.load());
        world.check(false);
      },
      attaching);
}

TEST_CASE("a lock taken over from the dead is told of until somebody has released it") {
  crash_at_each_pair([](Round& round) {
    MutexWorld world;
    Victim first(round, [&] { world.attach(); }, [&] { REQUIRE(world.mutex.acquire(soon())); });
    Victim second(round, [&] { world.attach(); }, [&] { REQUIRE(world.mutex.acquire(soon())); });
    first.strike();
    const bool first_held = world.is_held();
    second.strike();
    world.check(first_held || world.is_held());
    CHECK(world.view.buried() >= 2);
    CHECK(world.view.buried() <= 3);
  });
}

TEST_CASE("an attacher that dies making room among a Mutex's dead leaves room, and the news") {
  crash_at_each_pair(
      [](Round& round) {
        MutexWorld world(2);
        Victim first(
            round, [&] { world.lock_and_release(); },
            [&] { REQUIRE(world.mutex.acquire(soon())); });
        first.strike();
        const bool held = world.is_held();
        Victim heir(
            round, [] {},
            [&] { REQUIRE(Mutex::adopt(os::duplicate(world.mutex.descriptor()).value())); });
        heir.strike();
        Shared<bool> told;
        Peer third([&] {
          REQUIRE(world.mutex.acquire(soon()));
          told.store(world.mutex.peer_died());
          REQUIRE(world.mutex.release());
        });
        CHECK(third.wait() == 0);
        // The heir held it too, if only to make room.
        CHECK((told.load() == held || (told.load() && !round.lived(1))));
        world.check(false);
      },
      {.of_steps = 100, .of_instructions = 300, .of_instructions_in_full = 2000});
}

TEST_CASE("a name stands for a whole Mutex or for nothing when the process dies that creates it") {
  const TempDir directory;
  crash_at_each_step(
      [&](Round& round) {
        const auto name = directory / "mutex";
        Victim victim(round, [] {}, [&] { REQUIRE(Mutex::open_or_create(name)); });
        victim.strike();
        auto found = Mutex::open(name);
        CHECK((found || (!round.lived(0) && found.error() == Error::not_found)));
        if (found) {
          CHECK(found->acquire(soon()));
          CHECK_FALSE(found->peer_died());
          CHECK(found->release());
          CHECK(Mutex::unlink(name));
        }
      },
      attaching);
}

}  // namespace parley::test
