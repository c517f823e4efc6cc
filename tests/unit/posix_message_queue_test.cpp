#include <parley/os/posix/message_queue.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <parley/os/pipe.hpp>

#include "support/descriptors.hpp"
#include "support/posix_name.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::PosixName;
using parley::test::text_of;

namespace {

template <class Queue>
concept CanSend = requires(Queue queue) { queue.send(bytes_of(""), Deadline::now()); };
template <class Queue>
concept CanReceive =
    requires(Queue queue, std::span<std::byte> into) { queue.receive(into, Deadline::now()); };

constexpr QueueOptions small{.max_messages = 3, .message_size_bytes = 16};

auto send(auto& queue, std::string_view text, unsigned priority = 0) {
  return queue.send(bytes_of(text), Deadline::now(), {.priority = priority});
}

/// The next message and its priority: "3:text".
auto receive(auto& queue, Deadline deadline = Deadline::now()) -> std::string {
  std::array<std::byte, 16> buffer{};
  const auto received = queue.receive(buffer, deadline).value();
  return std::to_string(received.priority) + ":" +
         text_of(std::span(buffer).first(received.size_bytes));
}

auto ready(BorrowedFd fd, short events) -> short {
  pollfd entry{.fd = fd.number(), .events = events, .revents = 0};
  REQUIRE(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

}  // namespace

TEST_CASE("sending to a queue that receives and receiving from one that sends do not compile") {
  static_assert(CanSend<MessageQueue> && CanReceive<MessageQueue>);
  static_assert(CanSend<MessageSender> && !CanReceive<MessageSender>);
  static_assert(!CanSend<MessageReceiver> && CanReceive<MessageReceiver>);
  static_assert(!std::is_copy_constructible_v<MessageQueue>);
}

TEST_CASE("the highest priority is received first, and the oldest among equals") {
  const PosixName name;
  auto queue = MessageQueue::create(name, {.max_messages = 6, .message_size_bytes = 16}).value();
  REQUIRE(send(queue, "a", 1));
  REQUIRE(send(queue, "b", 5));
  REQUIRE(send(queue, "c", 1));
  REQUIRE(send(queue, "d", QueueHandle::priority_count - 1));
  REQUIRE(send(queue, "e", 5));
  REQUIRE(send(queue, "f", 0));
  CHECK(queue.attributes().value().queued_messages == 6);
  for (const auto* const next : {"32767:d", "5:b", "5:e", "1:a", "1:c", "0:f"}) {
    CHECK(receive(queue) == next);
  }
}

TEST_CASE("a priority that there is not is invalid") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  CHECK(send(queue, "x", QueueHandle::priority_count).error() == Error::invalid);
  CHECK(queue.attributes().value().queued_messages == 0);
}

TEST_CASE("an empty queue ends a receive at its deadline, the try form at once") {
  const PosixName name;
  auto queue = MessageReceiver::create(name, small).value();
  std::array<std::byte, 16> buffer{};
  CHECK(queue.receive(buffer, Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(queue.receive(buffer, Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  CHECK(queue.receive(buffer, Deadline::after(-1s)).error() == Error::timed_out);
}

TEST_CASE("a full queue ends a send at its deadline, and takes more once one was received") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  for (const auto* const text : {"1", "2", "3"}) REQUIRE(send(queue, text));
  CHECK(send(queue, "4").error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(queue.send(bytes_of("4"), Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  CHECK(queue.attributes().value().queued_messages == 3);
  CHECK(receive(queue) == "0:1");
  CHECK(queue.send(bytes_of("4"), Deadline::after(-1s)));
  CHECK(receive(queue, Deadline::never()) == "0:2");
  CHECK(receive(queue, Deadline::after(1min)) == "0:3");
  CHECK(receive(queue, Deadline::after(-1s)) == "0:4");
}

TEST_CASE("a message over the queue's size is too long, one of no bytes is a message") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  CHECK(send(queue, "12345678901234567").error() == Error::message_too_long);
  CHECK(send(queue, "1234567890123456"));
  CHECK(send(queue, "", 1));
  CHECK(receive(queue) == "1:");
  CHECK(receive(queue) == "0:1234567890123456");
}

TEST_CASE("a buffer below the queue's size is too short, whatever the message, which stays") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  REQUIRE(send(queue, "x"));
  std::array<std::byte, 15> buffer{};
  CHECK(queue.receive(buffer, Deadline::now()).error() == Error::message_too_long);
  CHECK(queue.receive(buffer, Deadline::never()).error() == Error::message_too_long);
  CHECK(receive(queue) == "0:x");
}

TEST_CASE("a queue's name that is taken is not made again, and one not there is not found") {
  const PosixName name;
  CHECK(MessageQueue::open(name).error() == Error::not_found);
  CHECK(MessageQueue::unlink(name).error() == Error::not_found);
  const auto queue = MessageQueue::open_or_create(name, small).value();
  CHECK(MessageQueue::create(name, small).error() == Error::exists);
  const auto same = MessageReceiver::open_or_create(name, {.max_messages = 9}).value();
  CHECK(same.attributes().value() ==
        QueueAttributes{.max_messages = 3, .message_size_bytes = 16, .queued_messages = 0});
}

TEST_CASE("attributes that are not asked for are the system's defaults, over its limits invalid") {
  const PosixName name;
  const auto limits = queue_limits().value();
  const auto attributes_of = [&](const QueueOptions& options) {
    const auto queue = MessageQueue::create(name, options).value();
    CHECK(name.remove());
    return queue.attributes().value();
  };
  CHECK(attributes_of({}) ==
        QueueAttributes{limits.default_max_messages, limits.default_message_size_bytes, 0});
  CHECK(attributes_of({.max_messages = 1}) ==
        QueueAttributes{1, limits.default_message_size_bytes, 0});
  CHECK(attributes_of({.message_size_bytes = 1}) ==
        QueueAttributes{limits.default_max_messages, 1, 0});
  constexpr std::size_t absurd = std::size_t{1} << 40;
  CHECK(MessageQueue::create(name, {.max_messages = absurd}).error() == Error::invalid);
  CHECK(MessageQueue::create(name, {.message_size_bytes = absurd}).error() == Error::invalid);
  CHECK_FALSE(name.remove());
}

TEST_CASE("the limits of queues are readable") {
  const auto limits = queue_limits().value();
  CHECK(limits.queues > 0);
  CHECK(limits.max_messages >= limits.default_max_messages);
  CHECK(limits.message_size_bytes >= limits.default_message_size_bytes);
  CHECK(limits.default_max_messages > 0);
  CHECK(limits.default_message_size_bytes > 0);
  CHECK(limits.user_bytes > 0);
}

TEST_CASE("a queue has the mode that was asked for, less the umask") {
  const PosixName name;
  const mode_t before = umask(027);
  const auto queue = MessageQueue::create(name, {.mode = 0666}).value();
  umask(before);
  const auto permissions = queue.permissions().value();
  CHECK(permissions ==
        FilePermissions{.owner = {.uid = geteuid(), .gid = getegid()}, .mode = 0640});
}

TEST_CASE("a queue's mode is changed for who opens it next, through any of its descriptors") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  auto sender = MessageSender::open(name).value();
  REQUIRE(sender.set_mode(0460));
  CHECK(queue.permissions().value().mode == 0460);
  CHECK(queue.set_owner({.uid = geteuid(), .gid = getegid()}));
  CHECK(queue.permissions().value().owner == Owner{.uid = geteuid(), .gid = getegid()});
  CHECK(send(queue, "a"));
}

TEST_CASE("an unlinked queue is used on by who has it, and its name is free") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  auto sender = MessageSender::open(name).value();
  REQUIRE(MessageQueue::unlink(name));
  CHECK(MessageQueue::open(name).error() == Error::not_found);
  CHECK(send(sender, "alive"));
  CHECK(receive(queue) == "0:alive");
  CHECK(MessageQueue::create(name, small));
}

TEST_CASE("a queue's descriptor is closed on exec, waits, and works in poll") {
  const PosixName name;
  auto queue = MessageQueue::create(name, {.max_messages = 1, .message_size_bytes = 16}).value();
  CHECK(closes_on_exec(queue.fd()).value());
  CHECK_FALSE(is_nonblocking(queue.fd()).value());
  CHECK(ready(queue.fd(), POLLIN | POLLOUT) == POLLOUT);
  REQUIRE(send(queue, "x"));
  CHECK(ready(queue.fd(), POLLIN | POLLOUT) == POLLIN);
}

TEST_CASE("a queue tells how many bytes wait in it and who is to be notified") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  CHECK(queue.status().value().queued_bytes == 0);
  CHECK(queue.status().value().notified_process == 0);
  REQUIRE(send(queue, "12345"));
  REQUIRE(send(queue, "678"));
  REQUIRE(queue.notify_nobody());
  CHECK(queue.status().value().queued_bytes == 8);
  CHECK(queue.status().value().notified_process == getpid());
}

TEST_CASE("adopting takes a queue of just that direction and nothing else") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  const auto copy = [&] { return duplicate(queue.fd()).value(); };
  CHECK(MessageSender::adopt(copy()).error() == Error::invalid);
  CHECK(MessageReceiver::adopt(copy()).error() == Error::invalid);
  REQUIRE(set_nonblocking(queue.fd(), true));
  auto adopted = MessageQueue::adopt(copy()).value();
  CHECK_FALSE(is_nonblocking(queue.fd()).value());
  CHECK(send(adopted, "x"));
  auto sender = MessageSender::open(name).value();
  CHECK(MessageSender::adopt(std::move(sender).into_fd()));
  auto pipe = Pipe::create().value();
  CHECK(MessageReceiver::adopt(std::move(pipe.reader).into_fd()).error() == Error::invalid);
  CHECK(MessageReceiver::adopt(OwnedFd{}).error() == Error::bad_descriptor);
}
