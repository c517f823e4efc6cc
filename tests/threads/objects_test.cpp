#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Mutex;
using parley::Semaphore;
using parley::SemaphoreSet;
using parley::WaitStrategy;

constexpr int rounds = 2'000;
constexpr auto in_time = 30s;

template <class Body>
void in_threads(int count, Body body) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) threads.emplace_back(body);
  for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("what a mutex guards is changed by one thread at a time") {
  for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block}) {
    auto mutex = Mutex::create().value();
    mutex.set_wait_strategy(strategy);
    int counter = 0;
    in_threads(3, [&] {
      for (int i = 0; i < rounds; ++i) {
        const std::scoped_lock lock(mutex);
        ++counter;
      }
    });
    CHECK(counter == 3 * rounds);
  }
}

TEST_CASE("threads that share a set hand units to each other, and none is lost") {
  for (const bool undo : {true, false}) {
    for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block}) {
      const std::array<std::uint16_t, 1> one{1};
      auto set = SemaphoreSet::create(one, {.undo = undo}).value();
      set.set_wait_strategy(strategy);
      int counter = 0;
      in_threads(3, [&] {
        for (int i = 0; i < rounds; ++i) {
          if (!set.operate({.index = 0, .delta = -1}, Deadline::after(in_time))) return;
          ++counter;
          if (!set.operate({.index = 0, .delta = 1}, Deadline::now())) return;
        }
      });
      CHECK(counter == 3 * rounds);
      CHECK(set.value(0).value() == 1);
      CHECK(set.status().value().waiting == 0);
    }
  }
}

TEST_CASE("threads that wait with short deadlines lose no unit") {
  auto semaphore = Semaphore::create(0).value();
  int taken = 0;
  std::thread taker([&] {
    while (taken < rounds) {
      if (semaphore.wait(Deadline::after(20us))) ++taken;
    }
  });
  for (int i = 0; i < rounds; ++i) CHECK(semaphore.post());
  taker.join();
  CHECK(semaphore.value().value() == 0);
}
