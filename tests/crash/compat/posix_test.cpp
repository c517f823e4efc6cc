// Processes that die in sem_open(3), mq_open(3), mq_send(3) and mq_notify(3) of the drop-in.
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/compat/own_space.hpp"

namespace parley::test {
namespace {

constexpr Sample few{.of_instructions = 150, .of_instructions_in_full = 4000};

auto make_queue() -> mqd_t {
  OwnSpace::get();
  mq_attr attributes{};
  attributes.mq_maxmsg = 3;
  attributes.mq_msgsize = 16;
  const auto queue = mq_open("/q", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attributes);
  REQUIRE(queue >= 0);
  return queue;
}

auto receive(mqd_t queue) -> std::string {
  std::array<char, 16> text{};
  const auto size = mq_receive(queue, text.data(), text.size(), nullptr);
  return size < 0 ? "none" : std::string(text.data(), static_cast<std::size_t>(size));
}

}  // namespace

TEST_CASE("sem_open: a name has a whole semaphore or none") {
  crash_at_each_step(
      [](Round& round) {
        OwnSpace::get();
        Victim victim(
            round, [] {}, [] { REQUIRE(sem_open("/s", O_CREAT | O_EXCL, 0600, 3) != SEM_FAILED); });
        victim.strike();
        sem_t* const found = sem_open("/s", 0);
        if (found == SEM_FAILED) {
          CHECK(errno == ENOENT);
          CHECK_FALSE(round.lived(0));
        } else {
          int value = 0;
          CHECK(sem_getvalue(found, &value) == 0);
          CHECK(value == 3);
          CHECK(sem_close(found) == 0);
          CHECK(sem_unlink("/s") == 0);
        }
        CHECK(OwnSpace::get().files("posix-semaphores").empty());
      },
      few);
}

TEST_CASE("mq_open: a name has a whole queue or none") {
  crash_at_each_step(
      [](Round& round) {
        OwnSpace::get();
        Victim victim(round, [] {}, [] { make_queue(); });
        victim.strike();
        const auto found = mq_open("/q", O_RDWR | O_NONBLOCK);
        if (found < 0) {
          CHECK(errno == ENOENT);
          CHECK_FALSE(round.lived(0));
        } else {
          CHECK(mq_send(found, "whole", 5, 0) == 0);
          CHECK(receive(found) == "whole");
          CHECK(mq_close(found) == 0);
          CHECK(mq_unlink("/q") == 0);
        }
        CHECK(OwnSpace::get().files("posix-queues").empty());
      },
      few);
}

TEST_CASE("mq_send: through an inherited descriptor whose name is gone, whole or not at all") {
  crash_at_each_step(
      [](Round& round) {
        const auto queue = make_queue();
        REQUIRE(mq_unlink("/q") == 0);
        Victim victim(round, [] {}, [&] { REQUIRE(mq_send(queue, "text", 4, 1) == 0); });
        victim.strike();
        const auto found = receive(queue);
        CHECK((found == "text" || (found == "none" && !round.lived(0))));
        CHECK(mq_send(queue, "next", 4, 0) == 0);
        CHECK(receive(queue) == "next");
        CHECK(mq_close(queue) == 0);
      },
      few);
}

TEST_CASE("mq_notify: what a process has registered ends with it") {
  crash_at_each_step(
      [](Round& round) {
        const auto queue = make_queue();
        sigevent event{};
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = SIGURG;  // which is ignored
        Victim victim(round, [] {}, [&] { REQUIRE(mq_notify(queue, &event) == 0); });
        victim.strike();
        CHECK(mq_notify(queue, &event) == 0);
        CHECK(mq_notify(queue, nullptr) == 0);
        CHECK(mq_close(queue) == 0);
        CHECK(mq_unlink("/q") == 0);
      },
      few);
}

}  // namespace parley::test
