#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::MessageQueue;
using parley::Mutex;
using parley::Selection;
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

TEST_CASE("threads that share a queue pass messages of every length, each once and whole") {
  constexpr std::array<std::size_t, 4> lengths{1, 16, 300, 3000};  // of integers
  constexpr int each = 800;
  auto queue = MessageQueue::create({.messages = 8}).value();
  std::vector<int> seen(std::size_t{2} * each);
  std::vector<std::thread> threads;
  for (int self = 0; self < 2; ++self) {
    threads.emplace_back([&, self] {
      for (int i = 0; i < each; ++i) {
        const std::vector<int> numbers(lengths.at(static_cast<std::size_t>(i) % 4),
                                       self * each + i);
        const auto message = std::as_bytes(std::span(numbers));
        const auto deadline = Deadline::after(in_time);
        if (i % 3 != 0) {
          if (!queue.send(message, {}, deadline)) return;
          continue;
        }
        auto room = queue.reserve(message.size(), deadline);
        if (!room) return;
        std::ranges::copy(message, room->bytes().begin());
        if (!room->publish()) return;
      }
    });
    threads.emplace_back([&, self] {
      std::vector<int> numbers(3000);
      for (int i = 0; i < each; ++i) {
        const auto deadline = Deadline::after(in_time);
        std::size_t size = 0;
        if (self == 0) {
          const auto got = queue.receive(std::as_writable_bytes(std::span(numbers)), deadline);
          if (!got) return;
          size = got->size_bytes;
        } else {
          auto taken = queue.take(Selection::oldest(), deadline);
          if (!taken) return;
          size = taken->bytes().size();
          std::ranges::copy(taken->bytes(), std::as_writable_bytes(std::span(numbers)).begin());
          if (!taken->acknowledge()) return;
        }
        const auto whole = std::span(numbers).first(size / sizeof(int));
        const bool same =
            std::ranges::all_of(whole, [&](int number) { return number == whole[0]; });
        if (same)
          __atomic_fetch_add(&seen.at(static_cast<std::size_t>(whole[0])), 1, __ATOMIC_RELAXED);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(std::ranges::count(seen, 1) == 2 * each);
  CHECK(queue.status()->messages == 0);
}
