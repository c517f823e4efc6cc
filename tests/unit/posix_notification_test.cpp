#include <parley/os/posix/message_queue.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <optional>
#include <string_view>
#include <utility>

#include "support/descriptors.hpp"
#include "support/posix_name.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::PosixName;

namespace {

/// A queue, and SIGUSR1 blocked so that it can be taken when it is looked for.
struct Fixture {
  PosixName name;
  MessageQueue queue =
      MessageQueue::create(name, {.max_messages = 4, .message_size_bytes = 16}).value();
  sigset_t usr1{};

  Fixture() {
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &usr1, nullptr) == 0);
  }

  void send() { REQUIRE(queue.send(bytes_of("message"), Deadline::now())); }
  void receive() {
    std::array<std::byte, 16> buffer{};
    REQUIRE(queue.receive(buffer, Deadline::now()));
  }

  /// The pending SIGUSR1, where there is one.
  [[nodiscard]] auto signal() const -> std::optional<siginfo_t> {
    siginfo_t info{};
    const timespec at_once{};
    if (sigtimedwait(&usr1, &info, &at_once) != SIGUSR1) return std::nullopt;
    return info;
  }
};

auto is_silent(Notifier& notifier) -> bool {
  return notifier.take(Deadline::now()).error() == Error::would_block;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a message into an empty queue sends the signal, its value and who") {
  REQUIRE(queue.notify_by_signal(SIGUSR1, {.sival_int = 42}));
  CHECK_FALSE(signal());
  send();
  const auto info = signal();
  REQUIRE(info);
  CHECK(info->si_code == SI_MESGQ);
  CHECK(info->si_value.sival_int == 42);
  CHECK(info->si_pid == getpid());
  CHECK(info->si_uid == getuid());
}

TEST_CASE_FIXTURE(Fixture, "a notification comes once, and again after registering again") {
  REQUIRE(queue.notify_by_signal(SIGUSR1));
  send();
  CHECK(signal());
  receive();
  send();
  CHECK_FALSE(signal());
  receive();
  REQUIRE(queue.notify_by_signal(SIGUSR1));
  send();
  CHECK(signal());
}

TEST_CASE_FIXTURE(Fixture, "a message into a queue that is not empty notifies nobody") {
  send();
  REQUIRE(queue.notify_by_signal(SIGUSR1));
  send();
  CHECK_FALSE(signal());
  receive();
  receive();
  send();
  CHECK(signal());
}

TEST_CASE_FIXTURE(Fixture, "a second registration is busy until the first is cancelled") {
  auto notifier = Notifier::create().value();
  REQUIRE(queue.notify_by_signal(SIGUSR1));
  CHECK(queue.notify_by_signal(SIGUSR1).error() == Error::busy);
  CHECK(queue.notify_by_descriptor(notifier).error() == Error::busy);
  CHECK(queue.notify_nobody().error() == Error::busy);
  REQUIRE(queue.cancel_notification());
  CHECK(queue.cancel_notification());
  send();
  CHECK_FALSE(signal());
  receive();
  REQUIRE(queue.notify_nobody());
  CHECK(queue.notify_nobody().error() == Error::busy);
  send();
  receive();
  CHECK(queue.notify_nobody());
}

TEST_CASE_FIXTURE(Fixture, "a registration ends when any descriptor of the queue is closed") {
  auto other = MessageSender::open(name).value();
  REQUIRE(queue.notify_nobody());
  CHECK(queue.status().value().notified_process == getpid());
  static_cast<void>(std::move(other).into_fd());
  CHECK(queue.status().value().notified_process == 0);
}

TEST_CASE_FIXTURE(Fixture, "a signal that there is not is invalid and registers nobody") {
  CHECK(queue.notify_by_signal(-1).error() == Error::invalid);
  CHECK(queue.notify_by_signal(1000).error() == Error::invalid);
  CHECK(queue.notify_nobody());
}

TEST_CASE_FIXTURE(Fixture, "a notifier's descriptor becomes readable and tells the value") {
  auto notifier = Notifier::create().value();
  CHECK(closes_on_exec(notifier.fd()).value());
  constexpr std::uint64_t value = 0x0123456789abcdef;
  REQUIRE(queue.notify_by_descriptor(notifier, value));
  CHECK(is_silent(notifier));
  CHECK(notifier.take(Deadline::after(2ms)).error() == Error::timed_out);
  send();
  pollfd entry{.fd = notifier.fd().number(), .events = POLLIN, .revents = 0};
  CHECK(poll(&entry, 1, 0) == 1);
  const auto notification = notifier.take(Deadline::never()).value();
  CHECK(notification.value == value);
  CHECK(notification.kind == NotificationKind::message_arrived);
  receive();
  send();
  CHECK(is_silent(notifier));
}

TEST_CASE_FIXTURE(Fixture, "a notifier is told of a registration that was cancelled or closed") {
  auto notifier = Notifier::create().value();
  REQUIRE(queue.notify_by_descriptor(notifier, 1));
  REQUIRE(queue.cancel_notification());
  auto notification = notifier.take(Deadline::now()).value();
  CHECK(notification.kind == NotificationKind::cancelled);
  CHECK(notification.value == 1);

  REQUIRE(queue.notify_by_descriptor(notifier, 2));
  static_cast<void>(std::move(queue).into_fd());
  notification = notifier.take(Deadline::now()).value();
  CHECK(notification.kind == NotificationKind::cancelled);
  CHECK(notification.value == 2);
}

TEST_CASE_FIXTURE(Fixture, "one notifier serves several queues, in the order of their messages") {
  const PosixName second_name;
  auto second = MessageQueue::create(second_name).value();
  auto notifier = Notifier::create().value();
  REQUIRE(queue.notify_by_descriptor(notifier, 1));
  REQUIRE(second.notify_by_descriptor(notifier, 2));
  REQUIRE(second.send(bytes_of("x"), Deadline::now()));
  send();
  CHECK(notifier.take(Deadline::now()).value().value == 2);
  CHECK(notifier.take(Deadline::now()).value().value == 1);
  CHECK(is_silent(notifier));
}

TEST_CASE_FIXTURE(Fixture, "a notifier that is gone keeps its registration until a message comes") {
  {
    const auto notifier = Notifier::create().value();
    REQUIRE(queue.notify_by_descriptor(notifier));
  }
  CHECK(queue.notify_nobody().error() == Error::busy);
  send();
  receive();
  CHECK(queue.notify_nobody());
}
