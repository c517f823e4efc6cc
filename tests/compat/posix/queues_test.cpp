// mq_open(3), mq_send(3), mq_receive(3) and their kin.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <ctime>

#include "process.hpp"

namespace {

using posix_test::error_of;
using posix_test::in_child;
using posix_test::own_name;
using posix_test::Queue;
using posix_test::receive;
using posix_test::send;
using posix_test::succeeded;

constexpr timespec past{.tv_sec = 1, .tv_nsec = 0};

auto now_and(long seconds, long nanoseconds) -> timespec {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  time.tv_sec += seconds;
  time.tv_nsec += nanoseconds;
  if (time.tv_nsec >= 1'000'000'000) {
    time.tv_nsec -= 1'000'000'000;
    ++time.tv_sec;
  }
  return time;
}

auto attributes_of(mqd_t queue) -> mq_attr {
  mq_attr attributes{};
  REQUIRE(mq_getattr(queue, &attributes) == 0);
  return attributes;
}

/// Runs a body as another user.
auto as_nobody(const std::function<bool()>& body) -> pid_t {
  return in_child([&] { return setgid(65534) == 0 && setuid(65534) == 0 && body(); });
}

/// Where the queues are files, others must be let into their directory.
void let_others_in() {
  const char* const space = getenv("PARLEY_SPACE");
  if (space == nullptr) return;
  REQUIRE(chmod(space, 0711) == 0);
  REQUIRE(chmod((std::string(space) + "/posix-queues").c_str(), 0711) == 0);
}

int handled = -1;  // where a handler says that it has run

void say_so(int /*signal*/) {
  static_cast<void>(write(handled, "h", 1));
}

auto error_of_attributes(mqd_t queue) -> int {
  mq_attr attributes{};
  return error_of(mq_getattr(queue, &attributes));
}

}  // namespace

TEST_CASE("the highest priority comes first, and the oldest of it") {
  const Queue queue;
  CHECK(send(queue.number(), "low", 1) == 0);
  CHECK(send(queue.number(), "high", 7) == 0);
  CHECK(send(queue.number(), "", 7) == 0);
  CHECK(receive(queue.number()) == "high:7");
  CHECK(receive(queue.number()) == ":7");
  CHECK(receive(queue.number()) == "low:1");
}

TEST_CASE("what is asked for at creation, and what is not allowed") {
  const auto name = own_name();
  mq_attr wrong{};
  wrong.mq_maxmsg = 0;
  wrong.mq_msgsize = 8;
  CHECK(error_of(mq_open(name.c_str(), O_RDWR, 0600, nullptr)) == ENOENT);
  CHECK(error_of(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &wrong)) == EINVAL);
  wrong.mq_maxmsg = 8;
  wrong.mq_msgsize = -1;
  CHECK(error_of(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &wrong)) == EINVAL);
  wrong.mq_maxmsg = 70'000;
  wrong.mq_msgsize = 8;
  CHECK(error_of(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &wrong)) == EINVAL);
  auto* const nowhere = reinterpret_cast<mq_attr*>(1);
  CHECK(error_of(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, nowhere)) == EFAULT);
  const auto usual = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr);
  REQUIRE(usual >= 0);
  CHECK(attributes_of(usual).mq_maxmsg == 10);
  CHECK(attributes_of(usual).mq_msgsize == 8192);
  CHECK(error_of(mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &wrong)) == EEXIST);
  CHECK(error_of(mq_open(name.c_str(), O_ACCMODE)) == EINVAL);
  // What exists is opened as it is.
  const auto again = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &wrong);
  CHECK(again >= 0);
  CHECK(mq_close(again) == 0);
  CHECK(mq_unlink(name.c_str()) == 0);
  CHECK(mq_close(usual) == 0);
}

TEST_CASE("a queue is closed on exec, and its number with it") {
  const Queue queue;
  CHECK((fcntl(queue.number(), F_GETFD) & FD_CLOEXEC) != 0);
  const auto other = mq_open(queue.name(), O_RDWR);
  REQUIRE(other >= 0);
  CHECK(mq_close(other) == 0);
  CHECK(error_of(fcntl(other, F_GETFD)) == EBADF);
  CHECK(error_of(mq_close(other)) == EBADF);
  CHECK(send(other, "x") == EBADF);
  CHECK(receive(other) == std::to_string(EBADF));
  CHECK(error_of_attributes(other) == EBADF);
  CHECK(send(0, "x") == EBADF);
}

TEST_CASE("a queue that was closed by close(2) is not one any more") {
  const Queue queue;
  const auto other = mq_open(queue.name(), O_RDWR);
  CHECK(close(other) == 0);
  CHECK(error_of_attributes(other) == EBADF);
  const auto again = mq_open(queue.name(), O_RDONLY);
  CHECK(again == other);
  CHECK(send(again, "x") == EBADF);
  CHECK(close(again) == 0);
  const int file = open("/dev/null", O_RDONLY);
  CHECK(file == again);
  CHECK(error_of_attributes(file) == EBADF);
  CHECK(close(file) == 0);
}

TEST_CASE("a queue is used in the directions that it was opened for") {
  const Queue queue(O_WRONLY);
  CHECK(send(queue.number(), "x") == 0);
  CHECK(receive(queue.number()) == std::to_string(EBADF));
  const auto reader = mq_open(queue.name(), O_RDONLY);
  CHECK(send(reader, "x") == EBADF);
  CHECK(receive(reader) == "x:0");
  CHECK(mq_close(reader) == 0);
}

TEST_CASE("sizes and priorities have their limits") {
  const Queue queue;
  char text[32]{};
  CHECK(send(queue.number(), std::string(17, 'x')) == EMSGSIZE);
  CHECK(send(queue.number(), "x", 32768) == EINVAL);
  CHECK(send(-1, "x", 32768) == EINVAL);
  CHECK(send(queue.number(), "x", 32767) == 0);
  CHECK(error_of(mq_receive(queue.number(), text, 15, nullptr)) == EMSGSIZE);
  CHECK(mq_receive(queue.number(), text, 32, nullptr) == 1);
  CHECK(error_of(mq_send(queue.number(), reinterpret_cast<char*>(1), 1, 0)) == EFAULT);
}

TEST_CASE("a full queue and an empty one: EAGAIN without waiting, else until the time") {
  const Queue queue;
  const auto try_again = mq_open(queue.name(), O_RDWR | O_NONBLOCK);
  CHECK(receive(try_again) == std::to_string(EAGAIN));
  char text[16];
  CHECK(error_of(mq_timedreceive(queue.number(), text, 16, nullptr, &past)) == ETIMEDOUT);
  for (int i = 0; i < 3; ++i) CHECK(mq_timedsend(queue.number(), "x", 1, 0, &past) == 0);
  CHECK(send(try_again, "x") == EAGAIN);
  CHECK(error_of(mq_timedsend(queue.number(), "x", 1, 0, &past)) == ETIMEDOUT);
  const auto soon = now_and(0, 50'000'000);
  CHECK(error_of(mq_timedsend(queue.number(), "x", 1, 0, &soon)) == ETIMEDOUT);
  const auto now = now_and(0, 0);
  CHECK((now.tv_sec > soon.tv_sec || (now.tv_sec == soon.tv_sec && now.tv_nsec >= soon.tv_nsec)));
  const timespec wrong{.tv_sec = 1, .tv_nsec = 1'000'000'000};
  CHECK(error_of(mq_timedreceive(queue.number(), text, 16, nullptr, &wrong)) == EINVAL);
  const timespec negative{.tv_sec = -1, .tv_nsec = 0};
  CHECK(error_of(mq_timedreceive(queue.number(), text, 16, nullptr, &negative)) == EINVAL);
  CHECK(mq_timedreceive(queue.number(), text, 16, nullptr, &past) == 1);
  CHECK(mq_close(try_again) == 0);
}

TEST_CASE("who waits for a message or for room gets it") {
  const Queue queue;
  const auto receiver = in_child([&] { return receive(queue.number()) == "x:3"; });
  while (!posix_test::sleeps(receiver)) usleep(1000);
  CHECK(send(queue.number(), "x", 3) == 0);
  CHECK(succeeded(receiver));
  for (int i = 0; i < 3; ++i) CHECK(send(queue.number(), "y") == 0);
  const auto sender = in_child([&] { return send(queue.number(), "z") == 0; });
  while (!posix_test::sleeps(sender)) usleep(1000);
  for (int i = 0; i < 3; ++i) CHECK(receive(queue.number()) == "y:0");
  CHECK(receive(queue.number()) == "z:0");
  CHECK(succeeded(sender));
}

TEST_CASE("a handler ends a wait, unless it was installed with SA_RESTART") {
  for (const int flags : {0, SA_RESTART}) {
    const Queue queue;
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    handled = ends[1];
    const auto child = in_child([&] {
      struct sigaction action{};
      action.sa_handler = say_so;
      action.sa_flags = flags;
      if (sigaction(SIGUSR2, &action, nullptr) != 0) return false;
      static_cast<void>(write(handled, "b", 1));
      return receive(queue.number()) == (flags == 0 ? std::to_string(EINTR) : "x:0");
    });
    char byte = 0;
    CHECK(read(ends[0], &byte, 1) == 1);
    while (!posix_test::sleeps(child)) usleep(1000);
    CHECK(kill(child, SIGUSR2) == 0);
    CHECK(read(ends[0], &byte, 1) == 1);
    CHECK(byte == 'h');
    if (flags != 0) CHECK(send(queue.number(), "x") == 0);
    CHECK(succeeded(child));
    close(ends[0]);
    close(ends[1]);
  }
}

TEST_CASE("only O_NONBLOCK can be changed, and for all who share the open description") {
  const Queue queue;
  mq_attr wanted{};
  mq_attr old{};
  wanted.mq_flags = O_NONBLOCK | 1;
  CHECK(error_of(mq_setattr(queue.number(), &wanted, nullptr)) == EINVAL);
  wanted.mq_flags = O_NONBLOCK;
  wanted.mq_maxmsg = 99;
  const auto other = mq_open(queue.name(), O_RDWR);
  const auto child = in_child([&] { return mq_setattr(queue.number(), &wanted, nullptr) == 0; });
  CHECK(succeeded(child));
  CHECK(attributes_of(queue.number()).mq_flags == O_NONBLOCK);
  CHECK(attributes_of(other).mq_flags == 0);
  wanted.mq_flags = 0;
  CHECK(mq_setattr(queue.number(), &wanted, &old) == 0);
  CHECK(old.mq_flags == O_NONBLOCK);
  CHECK(old.mq_maxmsg == 3);
  CHECK(send(queue.number(), "x") == 0);
  CHECK(attributes_of(queue.number()).mq_curmsgs == 1);
  CHECK(attributes_of(queue.number()).mq_flags == 0);
  CHECK(error_of(mq_getattr(queue.number(), reinterpret_cast<mq_attr*>(1))) == EFAULT);
  CHECK(mq_close(other) == 0);
}

TEST_CASE("a child uses the descriptor that it inherited, also when the name is gone") {
  const Queue queue;
  CHECK(mq_unlink(queue.name()) == 0);
  CHECK(error_of(mq_open(queue.name(), O_RDWR)) == ENOENT);
  const auto child = in_child([&] {
    return send(queue.number(), "from it", 2) == 0 && mq_close(queue.number()) == 0 &&
           send(queue.number(), "x") == EBADF;
  });
  CHECK(succeeded(child));
  CHECK(receive(queue.number()) == "from it:2");
}

TEST_CASE("the mode less the umask says who may open a queue, and how") {
  if (geteuid() != 0) {
    MESSAGE("skipped: only root can be another user");
    return;
  }
  const auto before = umask(020);
  const Queue queue(O_RDWR, 0664);
  umask(before);
  let_others_in();
  const auto nobody = [&](int flags) {
    return as_nobody([&, flags] { return mq_open(queue.name(), flags) >= 0; });
  };
  CHECK(succeeded(nobody(O_RDONLY)));
  CHECK_FALSE(succeeded(nobody(O_WRONLY)));
  CHECK_FALSE(succeeded(nobody(O_RDWR)));
}
