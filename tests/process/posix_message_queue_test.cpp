#include <parley/os/posix/message_queue.hpp>

#include <doctest/doctest.h>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/posix_name.hpp"
#include "support/privileges.hpp"
#include "support/signals.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::PosixName;
using parley::test::text_of;
using parley::test::wait_until_asleep;

namespace {

constexpr QueueOptions small{.max_messages = 2, .message_size_bytes = 16};

auto receive(auto& queue, Deadline deadline) -> std::string {
  std::array<std::byte, 16> buffer{};
  return text_of(std::span(buffer).first(queue.receive(buffer, deadline).value().size_bytes));
}

}  // namespace

TEST_CASE("a message wakes the receiver that waits in another process, whatever its deadline") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  for (const Deadline deadline : {Deadline::never(), Deadline::after(10min)}) {
    Peer receiver([&] {
      auto mine = MessageReceiver::open(name).value();
      REQUIRE(receive(mine, deadline) == "wake up");
    });
    wait_until_asleep(receiver.pid());
    REQUIRE(queue.send(bytes_of("wake up"), Deadline::now()));
    CHECK(receiver.wait() == 0);
  }
}

TEST_CASE("room wakes the sender that waits in another process, whatever its deadline") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  for (const Deadline deadline : {Deadline::never(), Deadline::after(10min)}) {
    REQUIRE(queue.send(bytes_of("first"), Deadline::now()));
    REQUIRE(queue.send(bytes_of("second"), Deadline::now()));
    Peer sender([&] {
      auto mine = MessageSender::open(name).value();
      REQUIRE(mine.send(bytes_of("third"), deadline));
    });
    wait_until_asleep(sender.pid());
    CHECK(receive(queue, Deadline::now()) == "first");
    CHECK(sender.wait() == 0);
    CHECK(receive(queue, Deadline::now()) == "second");
    CHECK(receive(queue, Deadline::now()) == "third");
  }
}

TEST_CASE("what a killed sender sent stays in the queue, also when nobody has it open") {
  const PosixName name;
  Peer sender([&] {
    auto queue = MessageSender::create(name, small).value();
    REQUIRE(queue.send(bytes_of("last words"), Deadline::now()));
    for (;;) pause();
  });
  wait_until_asleep(sender.pid());
  sender.kill();
  auto queue = MessageReceiver::open(name).value();
  CHECK(receive(queue, Deadline::now()) == "last words");
}

TEST_CASE("a receiver that is killed while it waits takes no message with it") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  Peer receiver([&] { receive(queue, Deadline::never()); });
  wait_until_asleep(receiver.pid());
  receiver.kill();
  REQUIRE(queue.send(bytes_of("kept"), Deadline::now()));
  CHECK(receive(queue, Deadline::now()) == "kept");
}

TEST_CASE("a message that a waiting receiver gets notifies nobody") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  auto notifier = Notifier::create().value();
  REQUIRE(queue.notify_by_descriptor(notifier));
  for (const Deadline deadline : {Deadline::never(), Deadline::after(10min)}) {
    Peer receiver([&] { REQUIRE(receive(queue, deadline) == "direct"); });
    wait_until_asleep(receiver.pid());
    REQUIRE(queue.send(bytes_of("direct"), Deadline::now()));
    CHECK(receiver.wait() == 0);
    CHECK(notifier.take(Deadline::now()).error() == Error::would_block);
  }
  REQUIRE(queue.send(bytes_of("queued"), Deadline::now()));
  CHECK(notifier.take(Deadline::now()).value().kind == NotificationKind::message_arrived);
}

TEST_CASE("a signal tells the registered process who sent the message") {
  const parley::test::SignalsRestored restored;
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  sigset_t usr1{};
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &usr1, nullptr) == 0);
  REQUIRE(queue.notify_by_signal(SIGUSR1, {.sival_int = 7}));
  Peer sender([&] { REQUIRE(queue.send(bytes_of("x"), Deadline::now())); });
  CHECK(sender.wait() == 0);
  siginfo_t info{};
  const timespec at_once{};
  REQUIRE(sigtimedwait(&usr1, &info, &at_once) == SIGUSR1);
  CHECK(info.si_pid == sender.pid());
  CHECK(info.si_value.sival_int == 7);
}

TEST_CASE("a registration keeps out other processes until its own process dies") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  Peer registered([&] {
    REQUIRE(queue.notify_nobody());
    for (;;) pause();
  });
  wait_until_asleep(registered.pid());
  CHECK(queue.status().value().notified_process == registered.pid());
  CHECK(queue.notify_nobody().error() == Error::busy);
  CHECK(queue.cancel_notification());
  CHECK(queue.notify_nobody().error() == Error::busy);
  registered.kill();
  CHECK(queue.status().value().notified_process == 0);
  CHECK(queue.notify_nobody());
}

TEST_CASE("a child that closes the queue does not end its parent's registration") {
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  REQUIRE(queue.notify_nobody());
  Peer child([&] { static_cast<void>(std::move(queue).into_fd()); });
  CHECK(child.wait() == 0);
  CHECK(queue.status().value().notified_process == getpid());
}

TEST_CASE("another user gets a queue only in the directions that its mode allows") {
  if (!parley::test::can_become_another_user()) return;
  const PosixName closed;
  const PosixName readable;
  REQUIRE(MessageQueue::create(closed, small));
  REQUIRE(MessageQueue::create(readable, {.mode = 0644}));
  Peer stranger([&] {
    parley::test::become_nobody();
    REQUIRE(MessageReceiver::open(closed).error() == Error::access_denied);
    REQUIRE(MessageReceiver::open(readable));
    REQUIRE(MessageSender::open(readable).error() == Error::access_denied);
    REQUIRE(MessageQueue::open_or_create(readable).error() == Error::access_denied);
    REQUIRE(MessageQueue::unlink(readable).error() == Error::access_denied);
  });
  CHECK(stranger.wait() == 0);
}

TEST_CASE("a queue that is given away is its new owner's, and its old mode keeps others out") {
  if (!parley::test::can_become_another_user()) return;
  const PosixName name;
  auto queue = MessageQueue::create(name, small).value();
  Peer stranger([&] {
    parley::test::become_nobody();
    REQUIRE(queue.set_mode(0666).error() == Error::not_permitted);
    REQUIRE(queue.set_owner({.uid = geteuid(), .gid = getegid()}).error() == Error::not_permitted);
    REQUIRE(MessageQueue::open(name).error() == Error::access_denied);
  });
  CHECK(stranger.wait() == 0);
  REQUIRE(queue.set_owner({.uid = 65534, .gid = 65534}));
  CHECK(queue.permissions().value().owner == Owner{.uid = 65534, .gid = 65534});
  Peer owner([&] {
    parley::test::become_nobody();
    auto mine = MessageQueue::open(name).value();
    REQUIRE(mine.set_mode(0400));
    REQUIRE(MessageSender::open(name).error() == Error::access_denied);
  });
  CHECK(owner.wait() == 0);
}

TEST_CASE("queues over the user's limit of bytes cannot be made") {
  Peer limited([&] {
    const PosixName name;
    const rlimit none{.rlim_cur = 100, .rlim_max = 100};
    REQUIRE(setrlimit(RLIMIT_MSGQUEUE, &none) == 0);
    REQUIRE(queue_limits().value().user_bytes == 100);
    // CAP_SYS_RESOURCE would lift it.
    if (geteuid() == 0) parley::test::become_nobody();
    REQUIRE(MessageQueue::create(name, small).error() == static_cast<Error>(EMFILE));
    REQUIRE(!name.remove());
  });
  CHECK(limited.wait() == 0);
}
