#include <doctest/doctest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "posix_names.hpp"
#include "process.hpp"

namespace {

using conformance::Child;
using conformance::count_signals;
using conformance::error_of;
using conformance::failure;
using conformance::NamedQueue;
using conformance::QueueDescriptor;
using conformance::signals_counted;

auto send_by(const NamedQueue& queue, timespec until) -> int {
  return error_of(mq_timedsend(queue.get(), "t", 1, 0, &until));
}

auto receive_by(const NamedQueue& queue, timespec until) -> int {
  char into[16];
  return error_of(mq_timedreceive(queue.get(), into, sizeof into, nullptr, &until));
}

auto from_now(long milliseconds) -> timespec {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  const auto ns = time.tv_nsec + milliseconds * 1000000;
  return {time.tv_sec + ns / 1000000000, ns % 1000000000};
}

void fill(const NamedQueue& queue) {
  for (int count = 0; count < 3; ++count) REQUIRE(queue.send("full") == 0);
}

auto polled(const QueueDescriptor& queue) -> int {
  pollfd one{.fd = queue.get(), .events = POLLIN | POLLOUT, .revents = 0};
  poll(&one, 1, 0);
  return one.revents & (POLLIN | POLLOUT);
}

}  // namespace

TEST_CASE("5.3 a message longer than mq_msgsize is EMSGSIZE") {
  const NamedQueue queue;
  CHECK(queue.send(std::string(17, 'x')) == EMSGSIZE);
  CHECK(queue.messages() == 0);
  CHECK(queue.send(std::string(16, 'x')) == 0);
}

TEST_CASE("5.3 a priority of MQ_PRIO_MAX or more is EINVAL") {
  const NamedQueue queue;
  CHECK(queue.send("a", 32768) == EINVAL);
  CHECK(queue.send("a", 32767) == 0);
  unsigned priority = 0;
  CHECK(queue.receive(&priority) == "a");
  CHECK(priority == 32767);
}

TEST_CASE("5.3 a buffer shorter than mq_msgsize is EMSGSIZE, whatever the message") {
  const NamedQueue queue;
  CHECK(queue.receive(nullptr, 15) == failure(EMSGSIZE));
  CHECK(queue.send("a") == 0);
  CHECK(queue.receive(nullptr, 15) == failure(EMSGSIZE));
  CHECK(queue.receive(nullptr, 16) == "a");
}

TEST_CASE("5.3 the highest priority is first, the oldest among equals") {
  const NamedQueue queue;
  CHECK(queue.send("low", 1) == 0);
  CHECK(queue.send("first", 9) == 0);
  CHECK(queue.send("second", 9) == 0);
  unsigned priority = 0;
  CHECK(queue.receive(&priority) == "first");
  CHECK(priority == 9);
  CHECK(queue.receive(&priority) == "second");
  CHECK(queue.receive(&priority) == "low");
  CHECK(priority == 1);
}

TEST_CASE("5.3 a full and an empty queue are EAGAIN with O_NONBLOCK") {
  const NamedQueue queue;
  CHECK(queue.receive() == failure(EAGAIN));
  fill(queue);
  CHECK(queue.send("a") == EAGAIN);
  CHECK(queue.messages() == 3);
}

TEST_CASE("5.3 a message of no length is one") {
  const NamedQueue queue;
  CHECK(queue.send("") == 0);
  CHECK(queue.messages() == 1);
  CHECK(queue.receive().empty());
  CHECK(queue.receive() == failure(EAGAIN));
}

TEST_CASE("5.3 who finds a queue full or empty waits") {
  const NamedQueue queue(0);
  Child receiver([&] { return queue.receive() == "a" ? 0 : 1; });
  REQUIRE(receiver.blocks());
  CHECK(queue.send("a") == 0);
  CHECK(receiver.result() == 0);
  fill(queue);
  Child sender([&] { return queue.send("last", 1); });
  REQUIRE(sender.blocks());
  CHECK(queue.messages() == 3);
  CHECK(queue.receive() == "full");
  CHECK(sender.result() == 0);
  CHECK(queue.receive() == "last");
}

// POSIX lets an invalid time pass too while the call need not wait; the kernel reads it first.
TEST_CASE("5.4 an invalid time is EINVAL, and one that cannot be read EFAULT, at once") {
  const NamedQueue queue(0);
  CHECK(send_by(queue, {1, 1000000000}) == EINVAL);
  CHECK(send_by(queue, {1, -1}) == EINVAL);
  CHECK(send_by(queue, {-1, 0}) == EINVAL);
  const auto* const bad = static_cast<const timespec*>(conformance::bad_address());
  CHECK(error_of(mq_timedsend(queue.get(), "t", 1, 0, bad)) == EFAULT);
  CHECK(queue.messages() == 0);
  CHECK(queue.send("a") == 0);
  CHECK(receive_by(queue, {1, 1000000000}) == EINVAL);
  CHECK(queue.receive() == "a");
}

TEST_CASE("5.4 whether the time is over is looked at only if the call would wait") {
  const NamedQueue queue(0);
  CHECK(send_by(queue, {1, 0}) == 0);  // long past
  CHECK(receive_by(queue, {1, 0}) == 0);
  CHECK(receive_by(queue, {1, 0}) == ETIMEDOUT);
  CHECK(receive_by(queue, {1, 1000000000}) == EINVAL);
  CHECK(receive_by(queue, {1, -1}) == EINVAL);
  fill(queue);
  CHECK(send_by(queue, {1, 0}) == ETIMEDOUT);
  CHECK(send_by(queue, {1, 1000000000}) == EINVAL);
  CHECK(send_by(queue, {-1, 0}) == EINVAL);
}

TEST_CASE("5.4 an absolute time of CLOCK_REALTIME ends the wait") {
  const NamedQueue queue(0);
  const auto until = from_now(50);
  CHECK(receive_by(queue, until) == ETIMEDOUT);
  const auto now = from_now(0);
  CHECK(
      (now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec)));
  fill(queue);
  CHECK(send_by(queue, from_now(20)) == ETIMEDOUT);
  CHECK(queue.messages() == 3);
}

TEST_CASE("5.4 with O_NONBLOCK it is EAGAIN, whatever the time") {
  const NamedQueue queue;
  CHECK(receive_by(queue, {1, 0}) == EAGAIN);
  fill(queue);
  CHECK(send_by(queue, from_now(10000)) == EAGAIN);
}

TEST_CASE("5.4 a signal interrupts with EINTR") {
  const NamedQueue queue(0);
  Child receiver([&] {
    count_signals(0);
    return queue.receive() == failure(EINTR) ? signals_counted() : -1;
  });
  REQUIRE(receiver.blocks());
  receiver.signal(SIGUSR1);
  CHECK(receiver.result() == 1);
}

TEST_CASE("5.4 under SA_RESTART the wait goes on") {
  const NamedQueue queue(0);
  Child receiver([&] {
    count_signals(SA_RESTART);
    return queue.receive() == "a" ? signals_counted() : -1;
  });
  REQUIRE(receiver.blocks());
  receiver.signal(SIGUSR1);
  REQUIRE(receiver.blocks());
  CHECK(queue.send("a") == 0);
  CHECK(receiver.result() == 1);
}

TEST_CASE("5.7 poll finds a queue readable when not empty and writable when not full") {
  if (conformance::differs_in_drop_in()) return;
  const NamedQueue queue;
  CHECK(polled(queue) == POLLOUT);
  CHECK(queue.send("a") == 0);
  CHECK(polled(queue) == (POLLIN | POLLOUT));
  CHECK(queue.send("a") == 0);
  CHECK(queue.send("a") == 0);
  CHECK(polled(queue) == POLLIN);
}

TEST_CASE("5.7 select finds a queue readable when not empty") {
  if (conformance::differs_in_drop_in()) return;
  const NamedQueue queue;
  const auto readable = [&] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(queue.get(), &set);
    timeval none{};
    return select(queue.get() + 1, &set, nullptr, nullptr, &none);
  };
  CHECK(readable() == 0);
  CHECK(queue.send("a") == 0);
  CHECK(readable() == 1);
}

TEST_CASE("5.7 epoll wakes a sleeper when a message comes, and when there is room") {
  if (conformance::differs_in_drop_in()) return;
  const NamedQueue queue;
  const auto sleeper = [&](unsigned events) {
    return Child::Body([&queue, events](conformance::Link) -> long {
      const auto epoll = epoll_create1(EPOLL_CLOEXEC);
      epoll_event event{.events = events, .data = {}};
      if (epoll_ctl(epoll, EPOLL_CTL_ADD, queue.get(), &event) != 0) return -errno;
      return epoll_wait(epoll, &event, 1, 30000) == 1 ? static_cast<long>(event.events) : -1;
    });
  };
  Child reader(sleeper(EPOLLIN));
  REQUIRE(reader.blocks());
  fill(queue);
  CHECK(reader.result() == EPOLLIN);
  Child writer(sleeper(EPOLLOUT));
  REQUIRE(writer.blocks());
  CHECK(queue.receive() == "full");
  CHECK(writer.result() == EPOLLOUT);
}
