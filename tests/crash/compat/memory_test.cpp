// Processes that die in shmget(2), shmat(2), shmdt(2) and shmctl(2) of the drop-in.
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "crash/compat/own_space.hpp"

namespace parley::test {
namespace {

constexpr Sample sample{.of_instructions = 200, .of_instructions_in_full = 4000};

auto make_segment() -> int {
  OwnSpace::get();
  const int id = shmget(IPC_PRIVATE, 5000, 0600);
  REQUIRE(id >= 0);
  return id;
}

auto attach(int id) -> char* {
  void* const address = shmat(id, nullptr, 0);
  REQUIRE(address != reinterpret_cast<void*>(-1));  // NOLINT(performance-no-int-to-ptr)
  return static_cast<char*>(address);
}

auto status(int id) -> shmid_ds {
  shmid_ds told{};
  REQUIRE(shmctl(id, IPC_STAT, &told) == 0);
  return told;
}

void remove(int id) {
  CHECK(result_of(shmctl(id, IPC_RMID, nullptr)) == 0);
  CHECK(OwnSpace::get().files("sysv-memory").empty());
}

}  // namespace

TEST_CASE("shmat: who dies is not counted, and what others attached is") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_segment();
        char* const mine = attach(id);
        Victim victim(
            round, [&] { REQUIRE(status(id).shm_nattch >= 1); }, [&] { attach(id)[1] = 'x'; });
        victim.strike();
        CHECK(status(id).shm_nattch == 1);
        if (round.lived(0)) CHECK(mine[1] == 'x');
        char* const again = attach(id);
        CHECK(status(id).shm_nattch == 2);
        CHECK(shmdt(again) == 0);
        CHECK(shmdt(mine) == 0);
        CHECK(status(id).shm_nattch == 0);
        remove(id);
      },
      sample);
}

TEST_CASE("shmdt: who dies is not counted, and a marked segment goes with the last") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_segment();
        char* address = nullptr;
        Victim victim(
            round,
            [&] {
              address = attach(id);
              REQUIRE(shmctl(id, IPC_RMID, nullptr) == 0);
            },
            [&] { REQUIRE(shmdt(address) == 0); });
        victim.strike();
        shmid_ds told{};
        CHECK(result_of(shmctl(id, IPC_STAT, &told)) == -EINVAL);
        CHECK(OwnSpace::get().files("sysv-memory").empty());
      },
      sample);
}

TEST_CASE("shmctl: a segment in use is marked, or can be, and goes with who has it attached") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_segment();
        char* const mine = attach(id);
        Victim victim(
            round, [&] { REQUIRE(status(id).shm_nattch >= 1); },
            [&] { REQUIRE(shmctl(id, IPC_RMID, nullptr) == 0); });
        victim.strike();
        const auto told = status(id);
        CHECK(told.shm_nattch == 1);
        if (round.lived(0)) CHECK((told.shm_perm.mode & SHM_DEST) != 0);
        CHECK(result_of(shmctl(id, IPC_RMID, nullptr)) == 0);
        CHECK(shmdt(mine) == 0);
        CHECK(OwnSpace::get().files("sysv-memory").empty());
      },
      sample);
}

TEST_CASE("shmget: a key has a whole segment or none") {
  crash_at_each_step(
      [](Round& round) {
        OwnSpace::get();
        constexpr key_t key = 0x5041;
        Victim victim(
            round, [] {}, [&] { REQUIRE(shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0600) >= 0); });
        victim.strike();
        const int found = result_of(shmget(key, 5000, 0600));
        if (found >= 0) {
          char* const address = attach(found);
          CHECK(address[4999] == 0);
          CHECK(shmdt(address) == 0);
          remove(found);
        } else {
          CHECK(found == -ENOENT);
          CHECK_FALSE(round.lived(0));
        }
        const int id = result_of(shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0600));
        REQUIRE(id >= 0);
        CHECK(id != found);
        CHECK(status(id).shm_nattch == 0);
        remove(id);
      },
      sample);
}

TEST_CASE("fork: a child counts what it inherits, until it is killed") {
  const int id = make_segment();
  char* const mine = attach(id);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      mine[0] = 'c';
      for (;;) pause();
    }
    CHECK(status(id).shm_nattch == 2);
    CHECK(status(id).shm_lpid == getpid());
    kill(child, SIGKILL);
    CHECK(waitpid(child, nullptr, 0) == child);
    CHECK(status(id).shm_nattch == 1);
    CHECK(status(id).shm_lpid == child);
  }
  CHECK(shmdt(mine) == 0);
  remove(id);
}

}  // namespace parley::test
