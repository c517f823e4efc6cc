#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include <parley/os/posix/message_queue.hpp>
#include <parley/os/posix/semaphore.hpp>

#include "support/posix_name.hpp"

using namespace std::chrono_literals;
using namespace parley::os::posix;
using parley::Deadline;
using parley::test::PosixName;

TEST_CASE("an unnamed semaphore of one process guards what its threads share") {
  alignas(UnnamedSemaphore::alignment_bytes) std::array<std::byte, UnnamedSemaphore::size_bytes>
      place{};
  auto lock =
      UnnamedSemaphore::create(place, {.initial_value = 1, .process_shared = false}).value();
  constexpr int rounds = 5000;
  int count = 0;
  const auto work = [&] {
    for (int i = 0; i < rounds; ++i) {
      CHECK(lock.wait(i % 2 == 0 ? Deadline::never() : Deadline::after(1min)));
      ++count;
      CHECK(lock.post());
    }
  };
  {
    const std::jthread one(work);
    const std::jthread other(work);
  }
  CHECK(count == 2 * rounds);
}

TEST_CASE("threads pass messages through a full and an empty queue") {
  constexpr int message_count = 2000;
  const PosixName name;
  auto queue = MessageQueue::create(name, {.max_messages = 2, .message_size_bytes = 4}).value();
  const auto deadline_of = [](int i) {
    return i % 2 == 0 ? Deadline::never() : Deadline::after(1min);
  };
  const std::jthread sender([&] {
    for (int i = 0; i < message_count; ++i) {
      std::array<std::byte, 4> message{};
      std::memcpy(message.data(), &i, sizeof i);
      CHECK(queue.send(message, deadline_of(i)));
    }
  });
  int in_order = 0;
  for (int i = 0; i < message_count; ++i) {
    std::array<std::byte, 4> message{};
    CHECK(queue.receive(message, deadline_of(i)));
    in_order += std::memcmp(message.data(), &i, sizeof i) == 0 ? 1 : 0;
  }
  CHECK(in_order == message_count);
}
