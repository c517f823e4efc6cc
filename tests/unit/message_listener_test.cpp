#include <doctest/doctest.h>
#include <unistd.h>
#include <parley/message_queue.hpp>

#include <array>
#include <string>

#include "support/peer.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::MessageQueue;
using namespace std::chrono_literals;
using parley::test::Peer;

void send(MessageQueue& queue) {
  REQUIRE(queue.send({}, {}, Deadline::now()));
}

void receive(MessageQueue& queue) {
  REQUIRE(queue.receive({}, Deadline::now()));
}

auto was_told(MessageQueue& queue, std::uint64_t listener) -> bool {
  const auto arrival = queue.await_arrival(listener, Deadline::now());
  if (!arrival) REQUIRE(arrival.error() == Error::would_block);
  return arrival.has_value();
}

}  // namespace

TEST_CASE("a listener is told of the message that arrives at an empty queue, and by whom, once") {
  auto queue = MessageQueue::create().value();
  const auto listener = queue.listen().value();
  CHECK_FALSE(was_told(queue, listener));
  Peer sender([&] { send(queue); });
  const auto arrival = queue.await_arrival(listener, Deadline::after(20s)).value();
  CHECK(arrival.process == sender.pid());
  CHECK(arrival.user == getuid());
  CHECK(sender.wait() == 0);
  CHECK(queue.stop_listening(listener) == false);
  receive(queue);

  const auto next = queue.listen().value();
  CHECK(next != listener);
  CHECK_FALSE(was_told(queue, next));
}

TEST_CASE("a listener is not told of a message that finds others there, or goes to who waits") {
  auto queue = MessageQueue::create().value();
  send(queue);
  const auto listener = queue.listen().value();
  send(queue);
  CHECK_FALSE(was_told(queue, listener));
  receive(queue);
  receive(queue);
  CHECK_FALSE(was_told(queue, listener));

  Peer receiver([&] { REQUIRE(queue.receive({}, Deadline::after(20s))); });
  while (queue.status()->receivers_waiting == 0) usleep(1000);
  send(queue);
  CHECK(receiver.wait() == 0);
  CHECK_FALSE(was_told(queue, listener));
  send(queue);
  CHECK(was_told(queue, listener));
}

TEST_CASE("a message that is written in place tells a listener when it is published") {
  auto queue = MessageQueue::create().value();
  const auto listener = queue.listen().value();
  auto room = queue.reserve(5, Deadline::now()).value();
  CHECK_FALSE(was_told(queue, listener));
  REQUIRE(room.publish());
  CHECK(was_told(queue, listener));
}

TEST_CASE("there is one listener, until it stops, its handle goes or its process dies") {
  auto queue = MessageQueue::create().value();
  const auto listener = queue.listen().value();
  CHECK(queue.listen().error() == Error::busy);
  CHECK(queue.stop_listening(listener) == true);
  CHECK(queue.stop_listening(listener) == false);

  Peer dies([&] {
    REQUIRE(queue.listen());
    _exit(0);
  });
  CHECK(dies.wait() == 0);
  {
    auto other = MessageQueue::adopt(parley::os::duplicate(queue.descriptor()).value()).value();
    REQUIRE(other.listen());
    CHECK(queue.listen().error() == Error::busy);
  }
  CHECK(queue.listen().has_value());
}

TEST_CASE("a listener that waits is let go by a removal") {
  auto queue = MessageQueue::create().value();
  const auto listener = queue.listen().value();
  Peer remover([&] { REQUIRE(queue.remove()); });
  CHECK(queue.await_arrival(listener, Deadline::after(20s)).error() == Error::removed);
  CHECK(remover.wait() == 0);
  CHECK(queue.listen().error() == Error::removed);
}

TEST_CASE("a queue's note is what its creator wrote") {
  auto queue = MessageQueue::create({.note = 0x1234'5678}).value();
  CHECK(queue.note() == 0x1234'5678);
  CHECK(MessageQueue::create().value().note() == 0);
}
