// mq_notify(3).
#include <doctest/doctest.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>

#include "process.hpp"

namespace {

using posix_test::error_of;
using posix_test::in_child;
using posix_test::Queue;
using posix_test::receive;
using posix_test::send;
using posix_test::succeeded;

auto by_signal(int value = 42) -> sigevent {
  sigset_t usr1{};
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = value;
  return event;
}

/// 0 where it does not come in that time.
auto await_signal(siginfo_t& info, long seconds = 10) -> int {
  sigset_t usr1{};
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  const timespec time{.tv_sec = seconds, .tv_nsec = 0};
  return std::max(sigtimedwait(&usr1, &info, &time), 0);
}

std::atomic<int> told{0};

void tell(sigval value) {
  told = value.sival_int;
}

}  // namespace

TEST_CASE("a message at an empty queue raises the signal, once, and says who sent it") {
  const Queue queue;
  const auto event = by_signal();
  siginfo_t info{};
  CHECK(mq_notify(queue.number(), &event) == 0);
  CHECK(send(queue.number(), "x") == 0);
  CHECK(await_signal(info, 0) == SIGUSR1);
  CHECK(info.si_code == SI_MESGQ);
  CHECK(info.si_value.sival_int == 42);
  CHECK(info.si_pid == getpid());
  CHECK(info.si_uid == getuid());
  CHECK(receive(queue.number()) == "x:0");
  CHECK(send(queue.number(), "x") == 0);
  CHECK(await_signal(info, 0) == 0);
  CHECK(receive(queue.number()) == "x:0");

  CHECK(mq_notify(queue.number(), &event) == 0);
  const auto child = in_child([&] { return send(queue.number(), "x") == 0; });
  CHECK(await_signal(info) == SIGUSR1);
  CHECK(info.si_pid == child);
  CHECK(succeeded(child));
}

TEST_CASE("no signal where the queue is not empty, or somebody waits for the message") {
  const Queue queue;
  const auto event = by_signal();
  siginfo_t info{};
  CHECK(send(queue.number(), "x") == 0);
  CHECK(mq_notify(queue.number(), &event) == 0);
  CHECK(send(queue.number(), "x") == 0);
  CHECK(await_signal(info, 0) == 0);
  CHECK(receive(queue.number()) == "x:0");
  CHECK(receive(queue.number()) == "x:0");
  const auto receiver = in_child([&] { return receive(queue.number()) == "y:0"; });
  while (!posix_test::sleeps(receiver)) usleep(1000);
  CHECK(send(queue.number(), "y") == 0);
  CHECK(succeeded(receiver));
  CHECK(await_signal(info, 0) == 0);
  CHECK(send(queue.number(), "z") == 0);
  CHECK(await_signal(info, 0) == SIGUSR1);
}

TEST_CASE("one is registered at a time, until it is taken back, closed or dead") {
  const Queue queue;
  const auto event = by_signal();
  const auto other = mq_open(queue.name(), O_RDONLY);
  CHECK(mq_notify(queue.number(), &event) == 0);
  CHECK(error_of(mq_notify(queue.number(), &event)) == EBUSY);
  CHECK(error_of(mq_notify(other, &event)) == EBUSY);
  // Nothing of the child's own is taken away.
  const auto child = in_child([&] {
    return error_of(mq_notify(queue.number(), &event)) == EBUSY &&
           mq_notify(queue.number(), nullptr) == 0 &&
           error_of(mq_notify(queue.number(), &event)) == EBUSY;
  });
  CHECK(succeeded(child));
  CHECK(mq_notify(other, nullptr) == 0);
  CHECK(mq_notify(queue.number(), nullptr) == 0);
  CHECK(mq_notify(queue.number(), &event) == 0);
  CHECK(mq_close(other) == 0);
  const auto dies = in_child([&] { return mq_notify(queue.number(), &event) == 0; });
  CHECK(succeeded(dies));
  CHECK(mq_notify(queue.number(), &event) == 0);
}

TEST_CASE("a notification by a thread, and one that tells nobody") {
  const Queue queue;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = tell;
  event.sigev_value.sival_int = 7;
  pthread_attr_t attributes{};
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  event.sigev_notify_attributes = &attributes;
  CHECK(mq_notify(queue.number(), &event) == 0);
  pthread_attr_destroy(&attributes);
  CHECK(send(queue.number(), "x") == 0);
  for (int i = 0; i < 10'000 && told == 0; ++i) usleep(1000);
  CHECK(told == 7);
  CHECK(receive(queue.number()) == "x:0");

  event = {};
  event.sigev_notify = SIGEV_NONE;
  CHECK(mq_notify(queue.number(), &event) == 0);
  CHECK(error_of(mq_notify(queue.number(), &event)) == EBUSY);
  CHECK(send(queue.number(), "x") == 0);
  CHECK(mq_notify(queue.number(), &event) == 0);
}

TEST_CASE("what cannot be registered") {
  const Queue queue;
  sigevent event{};
  event.sigev_notify = 77;
  CHECK(error_of(mq_notify(-1, &event)) == EINVAL);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = 65;
  CHECK(error_of(mq_notify(queue.number(), &event)) == EINVAL);
  event.sigev_signo = SIGUSR1;
  CHECK(error_of(mq_notify(-1, &event)) == EBADF);
  CHECK(error_of(mq_notify(-1, nullptr)) == EBADF);
}
