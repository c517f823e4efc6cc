#include <parley/os/sysv/message_queue.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/descriptors.hpp"
#include "support/skip.hpp"
#include "support/sysv.hpp"

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Result;
using parley::os::sysv::Key;
using parley::os::sysv::MessageQueue;
using parley::os::sysv::MessageQueueStatus;
using parley::os::sysv::Received;
using parley::os::sysv::Selector;
using parley::test::bytes_of;
using parley::test::IpcNamespace;
using parley::test::OwnKey;
using parley::test::Scoped;
using parley::test::skip;
using parley::test::text_of;

namespace {

auto new_queue() -> MessageQueue {
  return MessageQueue::create(Key::private_key()).value();
}

void put(const MessageQueue& queue, long type, std::string_view text) {
  REQUIRE(queue.send(type, bytes_of(text), Deadline::now()));
}

/// Type and text of the message that is received at once, or the error.
auto take(const MessageQueue& queue, Selector selector) -> std::string {
  std::array<std::byte, 64> buffer{};
  const auto received = queue.receive(selector, buffer, Deadline::now());
  if (!received) return parley::message(received.error());
  return std::to_string(received->type) + ":" +
         text_of(std::span(buffer).first(received->size_bytes));
}

const auto nothing = parley::message(Error::would_block);

}  // namespace

TEST_CASE("messages come in the order of sending, with their types and borders") {
  const Scoped queue(new_queue());
  put(*queue, 3, "first");
  put(*queue, 1, "");
  put(*queue, LONG_MAX, "last");
  CHECK(take(*queue, Selector::oldest()) == "3:first");
  CHECK(take(*queue, Selector::oldest()) == "1:");
  CHECK(take(*queue, Selector::oldest()) == std::to_string(LONG_MAX) + ":last");
  CHECK(take(*queue, Selector::oldest()) == nothing);
}

TEST_CASE("a receiver chooses messages by type") {
  const Scoped queue(new_queue());
  for (const long type : {5L, 2L, 9L, 2L, 5L}) {
    put(*queue, type, std::to_string(queue->status()->message_count));
  }
  SUBCASE("of one type") {
    CHECK(take(*queue, Selector::of_type(2)) == "2:1");
    CHECK(take(*queue, Selector::of_type(2)) == "2:3");
    CHECK(take(*queue, Selector::of_type(2)) == nothing);
  }
  SUBCASE("the lowest up to a type") {
    CHECK(take(*queue, Selector::lowest_up_to(1)) == nothing);
    CHECK(take(*queue, Selector::lowest_up_to(8)) == "2:1");
    CHECK(take(*queue, Selector::lowest_up_to(8)) == "2:3");
    CHECK(take(*queue, Selector::lowest_up_to(8)) == "5:0");
    CHECK(take(*queue, Selector::lowest_up_to(5)) == "5:4");
    CHECK(take(*queue, Selector::lowest_up_to(8)) == nothing);
    CHECK(take(*queue, Selector::lowest_up_to(LONG_MAX)) == "9:2");
  }
  SUBCASE("any but one type") {
    CHECK(take(*queue, Selector::except(5)) == "2:1");
    CHECK(take(*queue, Selector::except(2)) == "5:0");
    CHECK(take(*queue, Selector::except(77)) == "9:2");
    CHECK(take(*queue, Selector::except(2)) == "5:4");
    CHECK(take(*queue, Selector::except(2)) == nothing);
  }
}

TEST_CASE("types under 1 are invalid, to send and to select") {
  const Scoped queue(new_queue());
  for (const long type : {0L, -1L, LONG_MIN}) {
    CHECK(queue->send(type, bytes_of("x"), Deadline::never()).error() == Error::invalid);
    for (const auto selector :
         {Selector::of_type(type), Selector::lowest_up_to(type), Selector::except(type)}) {
      CHECK(take(*queue, selector) == parley::message(Error::invalid));
    }
  }
  CHECK(queue->status()->message_count == 0);
}

TEST_CASE("a message that is too long for the buffer stays, or is cut when asked for") {
  const Scoped queue(new_queue());
  put(*queue, 1, "twelve bytes");
  std::array<std::byte, 6> buffer{};
  const auto receive = [&](parley::os::sysv::ReceiveOptions options) {
    return queue->receive(Selector::oldest(), buffer, Deadline::now(), options);
  };
  CHECK(receive({}).error() == Error::too_big);
  CHECK(queue->receive(Selector::oldest(), {}, Deadline::now()).error() == Error::too_big);
  CHECK(queue->status()->message_count == 1);
  CHECK(receive({.truncate = true}).value().size_bytes == 6);
  CHECK(text_of(buffer) == "twelve");
  CHECK(queue->status()->message_count == 0);
  put(*queue, 1, "gone");
  CHECK(queue->receive(Selector::oldest(), {}, Deadline::now(), {.truncate = true})
            .value()
            .size_bytes == 0);
  CHECK(queue->status()->message_count == 0);
}

TEST_CASE("texts up to the limit are carried whole and longer ones are invalid") {
  const Scoped queue(new_queue());
  const auto most = MessageQueue::limits()->message_bytes;
  std::vector<std::byte> text(most);
  for (std::size_t i = 0; i < most; ++i) text[i] = static_cast<std::byte>(i * 7);
  REQUIRE(queue->send(1, text, Deadline::now()));
  std::vector<std::byte> buffer(most + 100'000);
  const auto received = queue->receive(Selector::oldest(), buffer, Deadline::now()).value();
  CHECK(received.size_bytes == most);
  CHECK(std::ranges::equal(text, std::span(buffer).first(most)));
  text.resize(most + 1);
  CHECK(queue->send(1, text, Deadline::never()).error() == Error::invalid);
}

TEST_CASE("texts that the default limit does not allow are carried where the limit was raised") {
  constexpr std::size_t large = 100'000;
  const IpcNamespace own;
  const auto raise = [&](const char* limit) {
    return bool(std::ofstream(limit) << large << std::flush);
  };
  if (!own.is_entered() || !raise("/proc/sys/kernel/msgmax") || !raise("/proc/sys/kernel/msgmnb")) {
    skip("an IPC namespace with its own limits");
    return;
  }
  const Scoped queue(new_queue());
  const std::vector<std::byte> text(large, std::byte{'x'});
  REQUIRE(queue->send(1, text, Deadline::now()));
  std::vector<std::byte> buffer(large);
  CHECK(queue->peek(0, buffer).value().size_bytes == large);
  CHECK(buffer == text);
  std::vector<std::byte> half(large / 2);
  CHECK(queue->receive(Selector::oldest(), half, Deadline::now()).error() == Error::too_big);
  CHECK(queue->receive(Selector::oldest(), half, Deadline::now(), {.truncate = true})
            .value()
            .size_bytes == large / 2);
}

TEST_CASE("an empty queue ends a receive at its deadline, and the try form at once") {
  const Scoped queue(new_queue());
  std::array<std::byte, 8> buffer{};
  put(*queue, 4, "other");
  const auto start = Deadline::Clock::now();
  CHECK(queue->receive(Selector::of_type(5), buffer, Deadline::now()).error() ==
        Error::would_block);
  CHECK(queue->receive(Selector::of_type(5), buffer, Deadline::after(20ms)).error() ==
        Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
}

TEST_CASE("a full queue ends a send at its deadline, and takes more once it was received from") {
  const Scoped queue(new_queue());
  REQUIRE(queue->set_capacity_bytes(100));
  CHECK(queue->status()->capacity_bytes == 100);
  put(*queue, 1, std::string(60, 'a'));
  const std::string more(41, 'b');
  CHECK(queue->send(1, bytes_of(more), Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(queue->send(1, bytes_of(more), Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  put(*queue, 1, std::string(40, 'c'));
  CHECK(queue->status()->size_bytes == 100);
  CHECK(take(*queue, Selector::oldest()) == "1:" + std::string(60, 'a'));
  put(*queue, 1, more);
}

TEST_CASE("a queue is full of empty messages when there are as many as its bytes") {
  const Scoped queue(new_queue());
  REQUIRE(queue->set_capacity_bytes(3));
  for (int i = 0; i < 3; ++i) put(*queue, 1, "");
  CHECK(queue->send(1, {}, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("peeking copies the message at a position and changes nothing") {
  const Scoped queue(new_queue());
  put(*queue, 5, "zero");
  put(*queue, 6, "one");
  std::array<std::byte, 8> buffer{};
  const Result<Received> one = queue->peek(1, buffer);
  if (!one && one.error() == Error::no_such_call) {
    skip("this kernel has no MSG_COPY");
    return;
  }
  CHECK(one.value().type == 6);
  CHECK(text_of(std::span(buffer).first(one->size_bytes)) == "one");
  CHECK(queue->peek(0, buffer).value().type == 5);
  CHECK(queue->peek(0, std::span(buffer).first(2)).error() == Error::too_big);
  CHECK(queue->peek(2, buffer).error() == Error::would_block);
  CHECK(queue->peek(SIZE_MAX, buffer).error() == Error::would_block);
  const auto status = queue->status().value();
  CHECK(status.message_count == 2);
  CHECK_FALSE(status.last_receive.has_value());
  CHECK(status.last_receiver == 0);
}

TEST_CASE("the status of a queue tells its contents, permissions, times and processes") {
  const OwnKey own;
  // The kernel tells whole seconds, of a clock that is a tick behind this one.
  const auto start = std::chrono::system_clock::now() - 2s;
  const Scoped queue(MessageQueue::create(own.key(), {.mode = 0620}).value());
  const auto fresh = queue->status().value();
  CHECK(fresh.id == queue->id());
  CHECK(fresh.permissions.key == own.key());
  CHECK(fresh.permissions.access.mode == 0620);
  CHECK(fresh.permissions.access.uid == geteuid());
  CHECK(fresh.permissions.creator_gid == getegid());
  CHECK(fresh.message_count == 0);
  CHECK(fresh.capacity_bytes == MessageQueue::limits()->default_capacity_bytes);
  CHECK_FALSE(fresh.last_send.has_value());
  CHECK_FALSE(fresh.last_receive.has_value());
  CHECK(fresh.last_sender == 0);
  CHECK(fresh.last_change >= start);
  put(*queue, 1, "abc");
  put(*queue, 1, "de");
  CHECK(take(*queue, Selector::oldest()) == "1:abc");
  const auto used = queue->status().value();
  CHECK(used.message_count == 1);
  CHECK(used.size_bytes == 2);
  CHECK(used.last_sender == getpid());
  CHECK(used.last_receiver == getpid());
  CHECK(used.last_send >= start);
  CHECK(used.last_receive >= start);
}

TEST_CASE("access and capacity of a queue are changed one without the other") {
  const Scoped queue(new_queue());
  REQUIRE(queue->set_capacity_bytes(77));
  CHECK(queue->set_access({.uid = geteuid(), .gid = 12345, .mode = 0644}));
  const auto status = queue->status().value();
  CHECK(status.permissions.access.gid == 12345);
  CHECK(status.permissions.access.mode == 0644);
  CHECK(status.permissions.creator_gid == getegid());
  CHECK(status.capacity_bytes == 77);
  CHECK(queue->set_capacity_bytes(78));
  CHECK(queue->status()->permissions.access.gid == 12345);
}

TEST_CASE("queues are created, opened, adopted and removed as their keys and ids say") {
  const OwnKey own;
  CHECK(MessageQueue::open(own.key()).error() == Error::not_found);
  CHECK(MessageQueue::open(Key::private_key()).error() == Error::invalid);
  const Scoped queue(MessageQueue::open_or_create(own.key()).value());
  CHECK(MessageQueue::open_or_create(own.key()).value().id() == queue->id());
  CHECK(MessageQueue::create(own.key()).error() == Error::exists);
  CHECK(MessageQueue::open(own.key(), {.needed_mode = 0600}).value().id() == queue->id());
  CHECK(MessageQueue::adopt(queue->id()));
  CHECK(queue->remove());
  std::array<std::byte, 8> buffer{};
  CHECK(queue->send(1, {}, Deadline::never()).error() == Error::invalid);
  CHECK(queue->receive(Selector::oldest(), buffer, Deadline::never()).error() == Error::invalid);
  CHECK(queue->peek(0, buffer).error() == Error::invalid);
  CHECK(queue->status().error() == Error::invalid);
  CHECK(queue->set_capacity_bytes(1).error() == Error::invalid);
  CHECK(queue->remove().error() == Error::invalid);
  CHECK(MessageQueue::adopt(queue->id()).error() == Error::invalid);
  CHECK(MessageQueue::open(own.key()).error() == Error::not_found);
}

TEST_CASE("the listing of queues has every queue and no removed one") {
  const Scoped queue(new_queue());
  put(*queue, 1, "abc");
  const auto gone = new_queue();
  REQUIRE(gone.remove());
  const auto all = MessageQueue::list().value();
  const auto find = [&](int id) { return std::ranges::find(all, id, &MessageQueueStatus::id); };
  REQUIRE(find(queue->id()) != all.end());
  CHECK(find(queue->id())->size_bytes == 3);
  CHECK(find(gone.id()) == all.end());
}

TEST_CASE("the limits of message queues and what is in use of them can be read") {
  const auto limits = MessageQueue::limits().value();
  CHECK(limits.queues > 0);
  CHECK(limits.message_bytes > 0);
  CHECK(limits.default_capacity_bytes > 0);
  const Scoped queue(new_queue());
  put(*queue, 1, "abc");
  const auto usage = MessageQueue::usage().value();
  CHECK(usage.queues >= 1);
  CHECK(usage.messages >= 1);
  CHECK(usage.size_bytes >= 3);
}

TEST_CASE("a handle of a message queue is copied like a number") {
  static_assert(std::is_trivially_copyable_v<MessageQueue>);
  const Scoped queue(new_queue());
  {
    const MessageQueue copy = *queue;
    CHECK(copy.id() == queue->id());
  }
  CHECK(queue->status());
}
