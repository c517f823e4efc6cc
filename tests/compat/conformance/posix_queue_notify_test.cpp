#include <doctest/doctest.h>
#include <semaphore.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "posix_names.hpp"
#include "process.hpp"

namespace {

using conformance::Child;
using conformance::error_of;
using conformance::Link;
using conformance::NamedQueue;

// Blocks SIGUSR1, which is then waited for.
class Blocked {
 public:
  Blocked() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set_, &old_);
  }
  Blocked(const Blocked&) = delete;
  auto operator=(const Blocked&) -> Blocked& = delete;
  ~Blocked() {
    while (arrives(0)) {
    }
    sigprocmask(SIG_SETMASK, &old_, nullptr);
  }
  auto arrives(long seconds) -> bool {
    const timespec timeout{seconds, 0};
    return sigtimedwait(&set_, &info, &timeout) == SIGUSR1;
  }
  siginfo_t info{};

 private:
  sigset_t set_{};
  sigset_t old_{};
};

auto by_signal() -> sigevent {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = 4711;
  return event;
}

auto watch(const NamedQueue& queue, sigevent event = by_signal()) -> int {
  return error_of(mq_notify(queue.get(), &event));
}

sem_t thread_ran;
int thread_value;

}  // namespace

TEST_CASE("5.5 SIGEV_SIGNAL tells who sent, once") {
  Blocked signals;
  const NamedQueue queue;
  CHECK(watch(queue) == 0);
  Child sender([&] { return queue.send("a"); });
  const auto pid = sender.pid();
  CHECK(sender.result() == 0);
  REQUIRE(signals.arrives(10));
  CHECK(signals.info.si_code == SI_MESGQ);
  CHECK(signals.info.si_value.sival_int == 4711);
  CHECK(signals.info.si_pid == pid);
  CHECK(signals.info.si_uid == getuid());
  CHECK(queue.receive() == "a");
  CHECK(queue.send("b") == 0);
  CHECK_FALSE(signals.arrives(0));
}

TEST_CASE("5.5 it fires only when a message arrives at an empty queue") {
  Blocked signals;
  const NamedQueue queue;
  CHECK(queue.send("a") == 0);
  CHECK(watch(queue) == 0);
  CHECK(queue.send("b") == 0);
  CHECK_FALSE(signals.arrives(0));
  CHECK(queue.receive() == "a");
  CHECK(queue.receive() == "b");
  CHECK(queue.send("c") == 0);
  CHECK(signals.arrives(10));
}

TEST_CASE("5.5 it does not fire while somebody is blocked in receive, and stays") {
  Blocked signals;
  const NamedQueue queue(0);
  Child receiver([&] { return queue.receive() == "a" ? 0 : 1; });
  REQUIRE(receiver.blocks());
  CHECK(watch(queue) == 0);
  CHECK(queue.send("a") == 0);
  CHECK(receiver.result() == 0);
  CHECK_FALSE(signals.arrives(0));
  CHECK(queue.send("b") == 0);
  CHECK(signals.arrives(10));
}

TEST_CASE("5.5 there is one registration in a queue") {
  Blocked signals;
  const NamedQueue queue;
  CHECK(watch(queue) == 0);
  CHECK(watch(queue) == EBUSY);
  CHECK(Child([&] { return watch(queue); }).result() == EBUSY);
  CHECK(queue.send("a") == 0);
  CHECK(signals.arrives(10));
  CHECK(watch(queue) == 0);
}

TEST_CASE("5.5 NULL removes one's own registration and no other's") {
  Blocked signals;
  const NamedQueue queue;
  CHECK(mq_notify(queue.get(), nullptr) == 0);
  CHECK(watch(queue) == 0);
  CHECK(Child([&] { return error_of(mq_notify(queue.get(), nullptr)); }).result() == 0);
  CHECK(watch(queue) == EBUSY);
  CHECK(mq_notify(queue.get(), nullptr) == 0);
  CHECK(queue.send("a") == 0);
  CHECK_FALSE(signals.arrives(0));
  CHECK(watch(queue) == 0);
}

TEST_CASE("5.5 the registration ends with the death of its process") {
  Blocked signals;
  const NamedQueue queue;
  Child child([&](Link link) -> long {
    link.tell(watch(queue));
    return link.hear();
  });
  CHECK(child.hear() == 0);
  CHECK(watch(queue) == EBUSY);
  child.kill();
  CHECK(conformance::becomes_true([&] { return watch(queue) == 0; }));
}

TEST_CASE("5.5 the registration ends with close") {
  Blocked signals;
  const NamedQueue queue;
  conformance::QueueDescriptor other(mq_open(queue.name(), O_RDWR));
  auto event = by_signal();
  CHECK(mq_notify(other.get(), &event) == 0);
  CHECK(watch(queue) == EBUSY);
  other.close();
  CHECK(watch(queue) == 0);
}

TEST_CASE("5.5 SIGEV_NONE registers and tells nobody") {
  Blocked signals;
  const NamedQueue queue;
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  CHECK(watch(queue, event) == 0);
  CHECK(watch(queue) == EBUSY);
  CHECK(queue.send("a") == 0);
  CHECK_FALSE(signals.arrives(0));
  CHECK(watch(queue) == 0);  // it was used up
}

TEST_CASE("5.5 SIGEV_THREAD runs a function with the value") {
  const NamedQueue queue;
  REQUIRE(sem_init(&thread_ran, 0, 0) == 0);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_value.sival_int = 42;
  event.sigev_notify_function = [](sigval value) {
    thread_value = value.sival_int;
    sem_post(&thread_ran);
  };
  CHECK(watch(queue, event) == 0);
  CHECK(watch(queue, event) == EBUSY);
  CHECK(queue.send("a") == 0);
  timespec until{};
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 10;
  CHECK(sem_timedwait(&thread_ran, &until) == 0);
  CHECK(thread_value == 42);
}

TEST_CASE("5.5 a form or a signal that is none is EINVAL") {
  const NamedQueue queue;
  sigevent event{};
  event.sigev_notify = 77;
  CHECK(watch(queue, event) == EINVAL);
  event = by_signal();
  event.sigev_signo = 1000;
  CHECK(watch(queue, event) == EINVAL);
}
