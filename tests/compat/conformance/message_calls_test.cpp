#include <doctest/doctest.h>

#include <climits>
#include <cstring>

#include "messages.hpp"
#include "process.hpp"

namespace {

using conformance::bad_address;
using conformance::error_of;
using conformance::message_limits;
using conformance::Queue;
using conformance::Received;

auto got(long type, const char* text) -> Received {
  return {.error = 0, .type = type, .text = text};
}
auto failed(int error) -> Received {
  return {.error = error, .type = 0, .text = {}};
}

}  // namespace

TEST_CASE("3.1 a type below 1 is EINVAL") {
  const Queue queue;
  CHECK(queue.send(0, "text") == EINVAL);
  CHECK(queue.send(-1, "text") == EINVAL);
  CHECK(queue.send(LONG_MAX, "text") == 0);
  CHECK(queue.receive(0) == got(LONG_MAX, "text"));
}

TEST_CASE("3.1 a size over MSGMAX or negative is EINVAL") {
  const Queue queue;
  const auto most = static_cast<std::size_t>(message_limits().msgmax);
  CHECK(queue.send(1, std::string(most + 1, 'x')) == EINVAL);
  long type = 1;
  CHECK(error_of(msgsnd(queue.id(), &type, static_cast<std::size_t>(-1), IPC_NOWAIT)) == EINVAL);
  CHECK(queue.status().msg_qnum == 0);
  CHECK(queue.send(1, std::string(most, 'x')) == 0);
  CHECK(queue.receive(0, IPC_NOWAIT, most).text == std::string(most, 'x'));
}

TEST_CASE("3.1 size 0 is a message") {
  const Queue queue;
  CHECK(queue.send(7, "") == 0);
  CHECK(queue.status().msg_qnum == 1);
  CHECK(queue.status().msg_cbytes == 0);
  CHECK(queue.receive(0, IPC_NOWAIT, 0) == got(7, ""));
  CHECK(queue.receive(0) == failed(ENOMSG));
}

TEST_CASE("3.1 a full queue is EAGAIN with IPC_NOWAIT") {
  const Queue queue;
  REQUIRE(queue.set_capacity(100) == 0);
  CHECK(queue.send(1, std::string(60, 'x')) == 0);
  CHECK(queue.send(1, std::string(41, 'x')) == EAGAIN);
  CHECK(queue.send(1, std::string(40, 'x')) == 0);
  CHECK(queue.send(1, "x") == EAGAIN);
  CHECK(queue.send(1, "") == 0);
  CHECK(queue.status().msg_qnum == 3);
  CHECK(queue.status().msg_cbytes == 100);
}

TEST_CASE("3.1 there are no more messages than msg_qbytes, also of no size") {
  const Queue queue;
  REQUIRE(queue.set_capacity(3) == 0);
  for (int count = 0; count < 3; ++count) CHECK(queue.send(1, "") == 0);
  CHECK(queue.send(1, "") == EAGAIN);
  CHECK(queue.receive(0) == got(1, ""));
  CHECK(queue.send(1, "") == 0);
}

TEST_CASE("3.1 a bad id is EINVAL, a bad pointer is EFAULT, and nothing is sent") {
  const Queue queue;
  long message[2] = {1, 0};
  CHECK(error_of(msgsnd(-1, message, 1, IPC_NOWAIT)) == EINVAL);
  CHECK(error_of(msgsnd(queue.id(), bad_address(), 1, IPC_NOWAIT)) == EFAULT);
  CHECK(queue.status().msg_qnum == 0);
  queue.remove();
  CHECK(queue.send(1, "text") == EINVAL);
  CHECK(queue.receive(0) == failed(EINVAL));
}

TEST_CASE("3.2 type 0 is the oldest") {
  const Queue queue;
  CHECK(queue.send(3, "a") == 0);
  CHECK(queue.send(1, "b") == 0);
  CHECK(queue.send(3, "c") == 0);
  CHECK(queue.receive(0) == got(3, "a"));
  CHECK(queue.receive(0) == got(1, "b"));
  CHECK(queue.receive(0) == got(3, "c"));
  CHECK(queue.receive(0) == failed(ENOMSG));
}

TEST_CASE("3.2 a positive type is the oldest of that type") {
  const Queue queue;
  CHECK(queue.send(3, "a") == 0);
  CHECK(queue.send(1, "b") == 0);
  CHECK(queue.send(1, "c") == 0);
  CHECK(queue.receive(2) == failed(ENOMSG));
  CHECK(queue.receive(1) == got(1, "b"));
  CHECK(queue.receive(1) == got(1, "c"));
  CHECK(queue.receive(1) == failed(ENOMSG));
  CHECK(queue.receive(3) == got(3, "a"));
}

TEST_CASE("3.2 MSG_EXCEPT is the oldest of any other type") {
  const Queue queue;
  CHECK(queue.send(3, "a") == 0);
  CHECK(queue.send(1, "b") == 0);
  CHECK(queue.send(2, "c") == 0);
  CHECK(queue.receive(3, IPC_NOWAIT | MSG_EXCEPT) == got(1, "b"));
  CHECK(queue.receive(2, IPC_NOWAIT | MSG_EXCEPT) == got(3, "a"));
  CHECK(queue.receive(2, IPC_NOWAIT | MSG_EXCEPT) == failed(ENOMSG));
  CHECK(queue.receive(0, IPC_NOWAIT | MSG_EXCEPT) == got(2, "c"));
}

TEST_CASE("3.2 a negative type is the oldest of the lowest type up to it") {
  const Queue queue;
  for (const long type : {5, 3, 4, 3}) {
    CHECK(queue.send(type, std::string(1, static_cast<char>('a' + queue.status().msg_qnum))) == 0);
  }
  CHECK(queue.receive(-2) == failed(ENOMSG));
  CHECK(queue.receive(-4) == got(3, "b"));
  CHECK(queue.receive(-4) == got(3, "d"));
  CHECK(queue.receive(-4) == got(4, "c"));
  CHECK(queue.receive(-4) == failed(ENOMSG));
  CHECK(queue.receive(-5) == got(5, "a"));
}

TEST_CASE("3.2 LONG_MIN means every type") {
  const Queue queue;
  CHECK(queue.send(LONG_MAX, "a") == 0);
  CHECK(queue.send(9, "b") == 0);
  CHECK(queue.receive(LONG_MIN) == got(9, "b"));
  CHECK(queue.receive(LONG_MIN) == got(LONG_MAX, "a"));
}

TEST_CASE("3.3 a message longer than the buffer is E2BIG and stays") {
  const Queue queue;
  CHECK(queue.send(1, "long text") == 0);
  CHECK(queue.receive(0, IPC_NOWAIT, 8) == failed(E2BIG));
  CHECK(queue.status().msg_qnum == 1);
  CHECK(queue.status().msg_lrpid == 0);
  CHECK(queue.receive(0, IPC_NOWAIT, 9) == got(1, "long text"));
}

TEST_CASE("3.3 with MSG_NOERROR a long message is cut and removed") {
  const Queue queue;
  CHECK(queue.send(1, "long text") == 0);
  CHECK(queue.receive(0, IPC_NOWAIT | MSG_NOERROR, 4) == got(1, "long"));
  CHECK(queue.status().msg_qnum == 0);
  CHECK(queue.status().msg_cbytes == 0);
}

TEST_CASE("3.3 a negative size is EINVAL, and no more than the text is written") {
  const Queue queue;
  CHECK(queue.send(4, "abc") == 0);
  char into[32];
  std::memset(into, '!', sizeof into);
  CHECK(error_of(msgrcv(queue.id(), into, static_cast<std::size_t>(-1), 0, IPC_NOWAIT)) == EINVAL);
  CHECK(msgrcv(queue.id(), into, 20, 0, IPC_NOWAIT) == 3);
  CHECK(std::string(into + sizeof(long), 4) == "abc!");
}

// The kernel has taken the message out by then, and loses it: only the error is looked at.
TEST_CASE("3.3 a buffer that cannot be written is EFAULT") {
  const Queue queue;
  CHECK(queue.send(4, "abc") == 0);
  CHECK(error_of(msgrcv(queue.id(), bad_address(), 20, 0, IPC_NOWAIT)) == EFAULT);
}

TEST_CASE("3.4 MSG_COPY copies the message at a position and leaves it") {
  const Queue queue;
  CHECK(queue.send(3, "a") == 0);
  CHECK(queue.send(1, "bb") == 0);
  const auto before = queue.status();
  const auto copy = [&](long position, std::size_t size = 100) {
    return queue.receive(position, IPC_NOWAIT | MSG_COPY, size);
  };
  if (copy(0).error == ENOSYS) {
    MESSAGE("skipped: this kernel has no MSG_COPY");
    return;
  }
  CHECK(copy(0) == got(3, "a"));
  CHECK(copy(1) == got(1, "bb"));
  CHECK(copy(1) == got(1, "bb"));
  CHECK(copy(2) == failed(ENOMSG));
  CHECK(copy(1, 1) == failed(E2BIG));
  // MSG_NOERROR cuts no copy.
  CHECK(queue.receive(1, IPC_NOWAIT | MSG_COPY | MSG_NOERROR, 1) == failed(EINVAL));
  CHECK(copy(-1) == failed(ENOMSG));
  const auto after = queue.status();
  CHECK(after.msg_qnum == 2);
  CHECK(after.msg_cbytes == 3);
  CHECK(after.msg_lrpid == before.msg_lrpid);
  CHECK(after.msg_rtime == before.msg_rtime);
}

TEST_CASE("3.4 MSG_COPY without IPC_NOWAIT or with MSG_EXCEPT is EINVAL") {
  const Queue queue;
  CHECK(queue.send(1, "a") == 0);
  if (queue.receive(0, IPC_NOWAIT | MSG_COPY).error == ENOSYS) {
    MESSAGE("skipped: this kernel has no MSG_COPY");
    return;
  }
  CHECK(queue.receive(0, MSG_COPY) == failed(EINVAL));
  CHECK(queue.receive(0, IPC_NOWAIT | MSG_COPY | MSG_EXCEPT) == failed(EINVAL));
  CHECK(queue.status().msg_qnum == 1);
}
