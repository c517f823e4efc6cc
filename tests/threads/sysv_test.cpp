#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <parley/os/sysv/message_queue.hpp>
#include <parley/os/sysv/semaphore_set.hpp>

#include "support/sysv.hpp"

using namespace std::chrono_literals;
using parley::Deadline;
using parley::os::sysv::Key;
using parley::os::sysv::MessageQueue;
using parley::os::sysv::Selector;
using parley::os::sysv::SemaphoreSet;
using parley::test::Scoped;

TEST_CASE("threads share what their process would undo: the end of one undoes nothing") {
  const Scoped set(SemaphoreSet::create(Key::private_key(), 1).value());
  std::thread thread(
      [&] { CHECK(set->operate({.index = 0, .delta = 1, .undo = true}, Deadline::now())); });
  thread.join();
  CHECK(set->value(0).value() == 1);
}

TEST_CASE("a semaphore of one lets in one thread at a time") {
  constexpr int turns = 2000;
  const Scoped set(SemaphoreSet::create(Key::private_key(), std::vector<std::uint16_t>{1}).value());
  std::atomic<int> inside = 0;
  std::atomic<int> crowded = 0;
  const auto enter_and_leave = [&](Deadline deadline) {
    return [&, deadline] {
      for (int i = 0; i < turns; ++i) {
        if (!set->operate({.index = 0, .delta = -1}, deadline)) ++crowded;
        if (++inside != 1) ++crowded;
        --inside;
        if (!set->operate({.index = 0, .delta = 1}, deadline)) ++crowded;
      }
    };
  };
  std::thread one(enter_and_leave(Deadline::after(50s)));
  std::thread two(enter_and_leave(Deadline::never()));
  one.join();
  two.join();
  CHECK(crowded == 0);
}

TEST_CASE("threads that wait on one queue under deadlines get every message once") {
  constexpr int message_count = 500;
  const Scoped queue(MessageQueue::create(Key::private_key()).value());
  REQUIRE(queue->set_capacity_bytes(64));
  std::array<int, 2> received{};
  const auto receive = [&](int which) {
    return [&, which] {
      std::array<std::byte, 8> buffer{};
      for (;;) {
        const auto message = queue->receive(Selector::oldest(), buffer, Deadline::after(50s));
        if (!message || message->type == 2) return;
        ++received.at(static_cast<std::size_t>(which));
      }
    };
  };
  std::thread one(receive(0));
  std::thread two(receive(1));
  const std::array<std::byte, 8> text{};
  for (int i = 0; i < message_count; ++i) CHECK(queue->send(1, text, Deadline::after(50s)));
  for (int i = 0; i < 2; ++i) CHECK(queue->send(2, {}, Deadline::after(50s)));
  one.join();
  two.join();
  CHECK(received[0] + received[1] == message_count);
}
