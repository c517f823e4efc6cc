#include <doctest/doctest.h>

#include <csignal>

#include "messages.hpp"
#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::Child;
using conformance::count_signals;
using conformance::Link;
using conformance::Queue;
using conformance::Received;

// What a receiver waits for; its result is the first character of the text, or -errno.
auto receiving(const Queue& queue, long type, int flags = 0, std::size_t size = 100)
    -> Child::Body {
  return [&queue, type, flags, size](Link) -> long {
    const auto received = queue.receive(type, flags, size);
    return received.error != 0 ? -received.error : received.text.at(0);
  };
}

}  // namespace

TEST_CASE("3.1 a sender waits for space") {
  const Queue queue;
  REQUIRE(queue.set_capacity(4) == 0);
  CHECK(queue.send(1, "aaa") == 0);
  Child sender([&] { return queue.send(2, "bb", 0); });
  REQUIRE(sender.blocks());
  CHECK(queue.status().msg_qnum == 1);
  CHECK(queue.receive(1).text == "aaa");
  CHECK(sender.result() == 0);
  CHECK(queue.receive(0) == Received{.error = 0, .type = 2, .text = "bb"});
}

TEST_CASE("3.1 a sleeping sender goes on when IPC_SET raises msg_qbytes") {
  const Queue queue;
  REQUIRE(queue.set_capacity(4) == 0);
  CHECK(queue.send(1, "aaa") == 0);
  Child sender([&] { return queue.send(2, "bb", 0); });
  REQUIRE(sender.blocks());
  CHECK(queue.set_capacity(5) == 0);
  CHECK(sender.result() == 0);
  CHECK(queue.status().msg_qnum == 2);
}

TEST_CASE("3.1 a sleeping sender is woken with EIDRM by removal") {
  const Queue queue;
  REQUIRE(queue.set_capacity(1) == 0);
  CHECK(queue.send(1, "a") == 0);
  Child sender([&] { return queue.send(2, "b", 0); });
  REQUIRE(sender.blocks());
  queue.remove();
  CHECK(sender.result() == EIDRM);
}

TEST_CASE("3.1 sleepers are woken with EINTR, also under SA_RESTART") {
  for (const int flags : {0, SA_RESTART}) {
    CAPTURE(flags);
    const Queue queue;
    REQUIRE(queue.set_capacity(1) == 0);
    CHECK(queue.send(1, "a") == 0);
    Child sender([&] {
      count_signals(flags);
      return queue.send(2, "b", 0);
    });
    Child receiver([&] {
      count_signals(flags);
      return queue.receive(9, 0).error;
    });
    REQUIRE(sender.blocks());
    REQUIRE(receiver.blocks());
    sender.signal(SIGUSR1);
    receiver.signal(SIGUSR1);
    CHECK(sender.result() == EINTR);
    CHECK(receiver.result() == EINTR);
    CHECK(queue.status().msg_qnum == 1);
  }
}

TEST_CASE("3.1 sleepers who are killed neither send nor receive") {
  const Queue queue;
  REQUIRE(queue.set_capacity(1) == 0);
  CHECK(queue.send(1, "a") == 0);
  Child sender([&] { return queue.send(2, "b", 0); });
  Child receiver(receiving(queue, 3));
  REQUIRE(sender.blocks());
  REQUIRE(receiver.blocks());
  sender.kill();
  receiver.kill();
  CHECK(queue.receive(0).text == "a");
  CHECK(queue.send(3, "c") == 0);
  CHECK(queue.receive(0).text == "c");
  CHECK(queue.receive(0).error == ENOMSG);
}

TEST_CASE("3.6 a sleeping receiver gets the message that it selects, at once") {
  const Queue queue;
  Child exact(receiving(queue, 5));
  REQUIRE(exact.blocks());
  Child except(receiving(queue, 5, MSG_EXCEPT));
  REQUIRE(except.blocks());
  CHECK(queue.send(5, "5") == 0);
  CHECK(exact.result() == '5');
  CHECK(queue.send(6, "6") == 0);
  CHECK(except.result() == '6');
  Child lowest(receiving(queue, -4));
  REQUIRE(lowest.blocks());
  CHECK(queue.send(5, "x") == 0);
  CHECK(lowest.blocks());
  CHECK(queue.send(4, "4") == 0);
  CHECK(lowest.result() == '4');
  CHECK(queue.receive(0).text == "x");
}

TEST_CASE("3.6 receivers are served first come, first served") {
  const Queue queue;
  Child first(receiving(queue, 0));
  REQUIRE(first.blocks());
  Child second(receiving(queue, 1));
  REQUIRE(second.blocks());
  CHECK(queue.send(1, "a") == 0);
  CHECK(queue.send(1, "b") == 0);
  CHECK(first.result() == 'a');
  CHECK(second.result() == 'b');
}

TEST_CASE("3.6 a sleeping receiver whose buffer is too short fails, and the message stays") {
  const Queue queue;
  Child small(receiving(queue, 0, 0, 2));
  REQUIRE(small.blocks());
  CHECK(queue.send(1, "long") == 0);
  CHECK(small.result() == -E2BIG);
  CHECK(queue.receive(0).text == "long");
  Child cut(receiving(queue, 0, MSG_NOERROR, 2));
  REQUIRE(cut.blocks());
  CHECK(queue.send(1, "long") == 0);
  CHECK(cut.result() == 'l');
  CHECK(queue.status().msg_qnum == 0);
}

TEST_CASE("3.6 removal wakes all with EIDRM and throws the messages away") {
  const auto key = conformance::fresh_key();
  const Queue queue(0600, key);
  CHECK(queue.send(1, "a") == 0);
  Child first(receiving(queue, 5));
  Child second(receiving(queue, 6));
  REQUIRE(first.blocks());
  REQUIRE(second.blocks());
  queue.remove();
  CHECK(first.result() == -EIDRM);
  CHECK(second.result() == -EIDRM);
  const Queue next(0600, key);
  CHECK(next.status().msg_qnum == 0);
  CHECK(next.receive(0).error == ENOMSG);
}
