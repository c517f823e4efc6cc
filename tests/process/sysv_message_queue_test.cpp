#include <parley/os/sysv/message_queue.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/signalled.hpp"
#include "support/sysv.hpp"

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::os::sysv::Key;
using parley::os::sysv::MessageQueue;
using parley::os::sysv::Selector;
using parley::test::become_nobody;
using parley::test::bytes_of;
using parley::test::can_become_another_user;
using parley::test::OwnKey;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::Scoped;
using parley::test::text_of;
using parley::test::wait_until_asleep;

namespace {

auto new_queue() -> MessageQueue {
  return MessageQueue::create(Key::private_key()).value();
}

/// A queue in which nothing more has room.
auto full_queue() -> MessageQueue {
  const auto queue = new_queue();
  REQUIRE(queue.set_capacity_bytes(10));
  REQUIRE(queue.send(1, std::array<std::byte, 10>{}, Deadline::now()));
  return queue;
}

auto receive_text(const MessageQueue& queue, Selector selector) -> std::string {
  std::array<std::byte, 64> buffer{};
  const auto received = queue.receive(selector, buffer, Deadline::never()).value();
  return text_of(std::span(buffer).first(received.size_bytes));
}

volatile std::sig_atomic_t signal_count = 0;

void count_signal(int) {
  signal_count = signal_count + 1;
}

}  // namespace

TEST_CASE("a sleeping receiver gets the message that it selects and no other") {
  const Scoped queue(new_queue());
  Peer receiver([&] { REQUIRE(receive_text(*queue, Selector::of_type(7)) == "mine"); });
  wait_until_asleep(receiver.pid());
  CHECK(queue->send(6, bytes_of("other"), Deadline::now()));
  wait_until_asleep(receiver.pid());
  CHECK(queue->send(7, bytes_of("mine"), Deadline::now()));
  CHECK(receiver.wait() == 0);
  CHECK(queue->status()->message_count == 1);
  CHECK(queue->status()->last_receiver == receiver.pid());
}

TEST_CASE("a receiver that sleeps under a deadline is woken by a message too") {
  const Scoped queue(new_queue());
  Peer receiver([&] {
    std::array<std::byte, 8> buffer{};
    REQUIRE(queue->receive(Selector::except(1), buffer, Deadline::after(50s)).value().type == 2);
  });
  wait_until_asleep(receiver.pid());
  CHECK(queue->send(2, {}, Deadline::now()));
}

TEST_CASE("sleeping receivers are served in the order in which they came") {
  const Scoped queue(new_queue());
  Peer first([&] { REQUIRE(receive_text(*queue, Selector::oldest()) == "one"); });
  wait_until_asleep(first.pid());
  Peer second([&] { REQUIRE(receive_text(*queue, Selector::oldest()) == "two"); });
  wait_until_asleep(second.pid());
  CHECK(queue->send(1, bytes_of("one"), Deadline::now()));
  CHECK(queue->send(1, bytes_of("two"), Deadline::now()));
}

TEST_CASE("a sleeping sender goes on when there is room") {
  const Scoped queue(full_queue());
  Peer sender([&] { REQUIRE(queue->send(2, bytes_of("late"), Deadline::after(50s))); });
  wait_until_asleep(sender.pid());
  SUBCASE("because a message was received") {
    CHECK(receive_text(*queue, Selector::oldest()).size() == 10);
  }
  SUBCASE("because the capacity was raised") {
    CHECK(queue->set_capacity_bytes(20));
  }
  CHECK(receive_text(*queue, Selector::of_type(2)) == "late");
}

TEST_CASE("a queue that is removed under its sleepers tells them so") {
  const Scoped queue(full_queue());
  const auto sender = [&](Deadline deadline) {
    return [&, deadline] {
      REQUIRE(queue->send(1, bytes_of("x"), deadline).error() == Error::removed);
    };
  };
  const auto receiver = [&](Deadline deadline) {
    return [&, deadline] {
      std::array<std::byte, 8> buffer{};
      REQUIRE(queue->receive(Selector::of_type(9), buffer, deadline).error() == Error::removed);
    };
  };
  Peer one(sender(Deadline::never()));
  Peer two(sender(Deadline::after(50s)));
  Peer three(receiver(Deadline::never()));
  Peer four(receiver(Deadline::after(50s)));
  for (const auto* peer : {&one, &two, &three, &four}) wait_until_asleep(peer->pid());
  CHECK(queue->remove());
}

TEST_CASE("signals neither end nor lengthen a receive") {
  const Scoped queue(new_queue());
  run_among_signals([&] {
    std::array<std::byte, 8> buffer{};
    const auto start = Deadline::Clock::now();
    REQUIRE(queue->receive(Selector::oldest(), buffer, Deadline::after(200ms)).error() ==
            Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}

TEST_CASE("signals neither end nor lengthen a send") {
  const Scoped queue(full_queue());
  run_among_signals([&] {
    const auto start = Deadline::Clock::now();
    REQUIRE(queue->send(1, bytes_of("x"), Deadline::after(200ms)).error() == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}

TEST_CASE("signals do not end a receive or a send without a deadline, and their handlers run") {
  const Scoped queue(new_queue());
  const Scoped full(full_queue());
  struct sigaction action{};
  action.sa_handler = count_signal;
  Peer receiver([&] {
    REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
    REQUIRE(receive_text(*queue, Selector::oldest()) == "x");
    REQUIRE(signal_count > 0);
  });
  Peer sender([&] {
    REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
    REQUIRE(full->send(1, bytes_of("x"), Deadline::never()));
    REQUIRE(signal_count > 0);
  });
  wait_until_asleep(receiver.pid());
  wait_until_asleep(sender.pid());
  for (int i = 0; i < 10; ++i) {
    ::kill(receiver.pid(), SIGUSR1);
    ::kill(sender.pid(), SIGUSR1);
  }
  wait_until_asleep(receiver.pid());
  wait_until_asleep(sender.pid());
  CHECK(queue->send(1, bytes_of("x"), Deadline::now()));
  CHECK(receive_text(*full, Selector::oldest()).size() == 10);
}

TEST_CASE("no handler of the program runs because a queue's deadline passes") {
  const Scoped queue(new_queue());
  Peer waiter([&] {
    struct sigaction action{};
    action.sa_handler = count_signal;
    for (int signal = 1; signal < SIGRTMAX; ++signal) sigaction(signal, &action, nullptr);
    std::array<std::byte, 8> buffer{};
    REQUIRE(queue->receive(Selector::oldest(), buffer, Deadline::after(20ms)).error() ==
            Error::timed_out);
    REQUIRE(signal_count == 0);
  });
}

TEST_CASE("a receiver that is killed while it waits takes nothing with it") {
  const Scoped queue(new_queue());
  Peer receiver([&] { receive_text(*queue, Selector::oldest()); });
  wait_until_asleep(receiver.pid());
  receiver.kill();
  CHECK(queue->send(1, bytes_of("kept"), Deadline::now()));
  CHECK(receive_text(*queue, Selector::oldest()) == "kept");
}

TEST_CASE("messages outlive their sender") {
  const Scoped queue(new_queue());
  Peer sender([&] {
    REQUIRE(queue->send(1, bytes_of("last words"), Deadline::now()));
    for (;;) pause();
  });
  CHECK(receive_text(*queue, Selector::oldest()) == "last words");
  sender.kill();
  CHECK(queue->status()->last_sender == sender.pid());
}

TEST_CASE("who may not use a queue is denied, and only its owner may change or remove it") {
  if (!can_become_another_user()) return;
  const OwnKey closed_key;
  const Scoped closed(MessageQueue::create(closed_key.key()).value());
  const Scoped write_only(MessageQueue::create(Key::private_key(), {.mode = 0602}).value());
  const Scoped read_only(MessageQueue::create(Key::private_key(), {.mode = 0604}).value());
  REQUIRE(read_only->send(1, bytes_of("x"), Deadline::now()));
  Peer nobody([&] {
    become_nobody();
    std::array<std::byte, 8> buffer{};
    REQUIRE(MessageQueue::open(closed_key.key(), {.needed_mode = 0200}).error() ==
            Error::access_denied);
    const auto denied = MessageQueue::open(closed_key.key()).value();
    REQUIRE(denied.send(1, {}, Deadline::never()).error() == Error::access_denied);
    REQUIRE(denied.receive(Selector::oldest(), buffer, Deadline::never()).error() ==
            Error::access_denied);
    REQUIRE(denied.remove().error() == Error::not_permitted);

    const auto out = MessageQueue::adopt(write_only->id()).value();
    REQUIRE(out.send(1, {}, Deadline::never()));
    REQUIRE(out.receive(Selector::oldest(), buffer, Deadline::never()).error() ==
            Error::access_denied);
    REQUIRE(out.status().error() == Error::access_denied);

    const auto in = MessageQueue::adopt(read_only->id()).value();
    REQUIRE(in.status().value().message_count == 1);
    REQUIRE(in.receive(Selector::oldest(), buffer, Deadline::never()));
    REQUIRE(in.send(1, {}, Deadline::never()).error() == Error::access_denied);
    REQUIRE(in.set_capacity_bytes(1).error() == Error::not_permitted);
    REQUIRE(in.set_access({.uid = 65534, .gid = 65534, .mode = 0666}).error() ==
            Error::not_permitted);

    const auto own = MessageQueue::create(Key::private_key()).value();
    const auto most = MessageQueue::limits().value().default_capacity_bytes;
    const auto raised = own.set_capacity_bytes(most + 1);
    const auto lowered = own.set_capacity_bytes(most - 1);
    REQUIRE(own.remove());
    REQUIRE(raised.error() == Error::not_permitted);
    REQUIRE(lowered);
  });
}
