// Processes that die in semget(2), semop(2) and semctl(2) of the drop-in.
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "crash/compat/own_space.hpp"

namespace parley::test {
namespace {

constexpr Sample with_others{.of_instructions = 200, .of_instructions_in_full = 4000};

auto make_set(int count = 1) -> int {
  OwnSpace::get();
  const int id = semget(IPC_PRIVATE, count, 0600);
  REQUIRE(id >= 0);
  return id;
}

auto operate(int id, std::initializer_list<sembuf> operations) -> int {
  std::vector<sembuf> list(operations);
  return result_of(semop(id, list.data(), list.size()));
}

auto value(int id, int index = 0) -> int {
  return result_of(semctl(id, index, GETVAL));
}

void remove(int id) {
  CHECK(result_of(semctl(id, 0, IPC_RMID)) == 0);
  CHECK(OwnSpace::get().files("sysv-semaphores").empty());
}

}  // namespace

TEST_CASE("semop: all of a call's operations or none, and undone with its process") {
  crash_at_each_step([](Round& round) {
    const int id = make_set(2);
    REQUIRE(operate(id, {{0, 1, 0}}) == 0);
    Victim victim(
        round, [&] { REQUIRE(value(id) == 1); },
        [&] { REQUIRE(operate(id, {{0, -1, SEM_UNDO}, {1, 1, SEM_UNDO}}) == 0); });
    victim.strike();
    CHECK(value(id, 0) == 1);
    CHECK(value(id, 1) == 0);
    CHECK(operate(id, {{0, -1, IPC_NOWAIT}}) == 0);
    remove(id);
  });
}

TEST_CASE("semop: who waits is served by a process that dies, or waits on") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_set();
        Victim victim(
            round, [&] { REQUIRE(value(id) == 0); },
            [&] { REQUIRE(operate(id, {{0, 1, 0}}) == 0); });
        Blocked waiter([&] { REQUIRE(value(id) == 0); },
                       [&] { REQUIRE(operate(id, {{0, -1, 0}}) == 0); });
        victim.strike();
        if (result_of(semctl(id, 0, GETNCNT)) == 1) {
          CHECK_FALSE(round.lived(0));
          CHECK(operate(id, {{0, 1, 0}}) == 0);
        }
        waiter.must_finish();
        CHECK(value(id) == 0);
        remove(id);
      },
      with_others);
}

TEST_CASE("semget: a key has a whole set or none") {
  crash_at_each_step(
      [](Round& round) {
        OwnSpace::get();
        constexpr key_t key = 0x5041;
        Victim victim(
            round, [] {}, [&] { REQUIRE(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600) >= 0); });
        victim.strike();
        const int found = result_of(semget(key, 3, 0600));
        if (found >= 0) {
          CHECK(value(found, 2) == 0);
          CHECK(operate(found, {{2, 1, 0}}) == 0);
          remove(found);
        } else {
          CHECK(found == -ENOENT);
          CHECK_FALSE(round.lived(0));
        }
        const int id = result_of(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600));
        REQUIRE(id >= 0);
        CHECK(id != found);
        CHECK(value(id, 2) == 0);
        remove(id);
      },
      with_others);
}

TEST_CASE("semctl: a set is removed for all, or can be") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_set();
        Victim victim(
            round, [&] { REQUIRE(value(id) == 0); },
            [&] { REQUIRE(semctl(id, 0, IPC_RMID) == 0); });
        Blocked waiter([&] { REQUIRE(value(id) == 0); },
                       [&] { REQUIRE(operate(id, {{0, -1, 0}}) == -EIDRM); });
        victim.strike();
        const int again = result_of(semctl(id, 0, IPC_RMID));
        CHECK((again == 0 || again == -EINVAL));
        if (round.lived(0)) CHECK(again == -EINVAL);
        waiter.must_finish();
        CHECK(value(id) == -EINVAL);
        CHECK(OwnSpace::get().files("sysv-semaphores").empty());
      },
      with_others);
}

TEST_CASE("semctl: an owner and a mode are set together, and values are") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_set(2);
        Victim victim(
            round, [&] { REQUIRE(value(id) == 0); },
            [&] {
              semid_ds wanted{};
              wanted.sem_perm.uid = 0;
              wanted.sem_perm.gid = 4242;
              wanted.sem_perm.mode = 0640;
              REQUIRE(semctl(id, 0, IPC_SET, &wanted) == 0);
              std::array<unsigned short, 2> values{7, 9};
              REQUIRE(semctl(id, 0, SETALL, values.data()) == 0);
            });
        victim.strike();
        semid_ds status{};
        REQUIRE(semctl(id, 0, IPC_STAT, &status) == 0);
        const bool changed = status.sem_perm.mode == 0640;
        CHECK((changed || status.sem_perm.mode == 0600));
        CHECK((status.sem_perm.gid == 4242) == changed);
        const bool set = value(id, 0) == 7;
        CHECK(value(id, 1) == (set ? 9 : 0));
        CHECK((changed || !set));
        if (round.lived(0)) CHECK(set);
        remove(id);
      },
      with_others);
}

}  // namespace parley::test
