#include <doctest/doctest.h>
#include <unistd.h>

#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::Argument;
using conformance::bad_address;
using conformance::becomes_true;
using conformance::Child;
using conformance::error_of;
using conformance::now_seconds;
using conformance::op;
using conformance::semaphore_limits;
using conformance::Set;
using Values = std::vector<std::uint16_t>;

}  // namespace

TEST_CASE("2.6 sempid is the process of the last operation on the semaphore, also of zero") {
  const Set set({0, 0, 0});
  CHECK(set.pid(0) == getpid());  // SETALL
  Child child([&] { return set.operate({op(0, 1), op(1, 0)}); });
  const auto pid = child.pid();
  CHECK(child.result() == 0);
  CHECK(set.pid(0) == pid);
  CHECK(set.pid(1) == pid);
  CHECK(set.pid(2) == getpid());
}

TEST_CASE("2.6 sempid is 0 at first, and set by SETVAL") {
  const auto id = semget(IPC_PRIVATE, 2, 0600);
  REQUIRE(id >= 0);
  CHECK(semctl(id, 0, GETPID) == 0);
  CHECK(semctl(id, 0, SETVAL, Argument{.value = 1}) == 0);
  CHECK(semctl(id, 0, GETPID) == getpid());
  CHECK(semctl(id, 1, GETPID) == 0);
  CHECK(semctl(id, 0, IPC_RMID) == 0);
}

TEST_CASE("2.6 sempid does not change by what fails, and is the sleeper's when he is served") {
  const Set set({0});
  Child fails([&] { return set.operate({op(0, 1), op(0, -2, IPC_NOWAIT)}); });
  CHECK(fails.result() == EAGAIN);
  CHECK(set.pid() == getpid());
  Child sleeps([&] { return set.add(-1); });
  REQUIRE(becomes_true([&] { return set.waiting_for_increase() == 1; }));
  CHECK(set.pid() == getpid());
  const auto pid = sleeps.pid();
  CHECK(set.add(1) == 0);
  CHECK(sleeps.result() == 0);
  CHECK(set.pid() == pid);
}

TEST_CASE("2.6 sempid is the process that ended, for an undo") {
  const Set set({0, 0});
  Child child([&](conformance::Link link) -> long {
    (void)set.add(2, SEM_UNDO);
    link.tell(0);
    return link.hear();
  });
  const auto pid = child.pid();
  CHECK(child.hear() == 0);
  CHECK(set.add(1) == 0);
  CHECK(set.pid() == getpid());
  child.kill();
  CHECK(becomes_true([&] { return set.value() == 1; }));
  CHECK(set.pid() == pid);
  CHECK(set.pid(1) == getpid());
}

TEST_CASE("2.6 sem_otime is the last operation that succeeded") {
  const Set set({0});
  CHECK(set.status().sem_otime == 0);
  CHECK(set.add(-1, IPC_NOWAIT) == EAGAIN);
  CHECK(set.status().sem_otime == 0);
  const auto before = now_seconds();
  CHECK(set.add(0) == 0);
  const auto first = set.status().sem_otime;
  CHECK(conformance::is_since(before, first));
  conformance::wait_past(first);
  CHECK(set.add(-1, IPC_NOWAIT) == EAGAIN);
  CHECK(set.value() == 0);
  CHECK(set.status().sem_otime == first);
  CHECK(set.add(1) == 0);
  CHECK(set.status().sem_otime > first);
}

TEST_CASE("2.6 sem_ctime is set by creation, SETVAL, SETALL and IPC_SET, and not by semop") {
  const auto before = now_seconds();
  const Set set({0});
  auto last = set.status().sem_ctime;
  CHECK(conformance::is_since(before, last));
  conformance::wait_past(last);
  CHECK(set.add(1) == 0);
  CHECK(set.status().sem_ctime == last);
  CHECK(set.set_value(0, 1) == 0);
  CHECK(set.status().sem_ctime > last);
  last = set.status().sem_ctime;
  conformance::wait_past(last);
  CHECK(set.set_values({1}) == 0);
  CHECK(set.status().sem_ctime > last);
  last = set.status().sem_ctime;
  conformance::wait_past(last);
  auto status = set.status();
  CHECK(semctl(set.id(), 0, IPC_SET, Argument{.status = &status}) == 0);
  CHECK(set.status().sem_ctime > last);
}

TEST_CASE("2.7 a number outside the set is EINVAL for every command that takes one") {
  const Set set({0, 0});
  for (const int command : {GETVAL, GETPID, GETNCNT, GETZCNT, SETVAL}) {
    CAPTURE(command);
    CHECK(error_of(semctl(set.id(), 2, command, Argument{.value = 0})) == EINVAL);
    CHECK(error_of(semctl(set.id(), -1, command, Argument{.value = 0})) == EINVAL);
  }
}

TEST_CASE("2.7 SETVAL and SETALL out of range are ERANGE, and nothing changes") {
  const auto most = semaphore_limits().semvmx;
  const Set set({1, 2});
  CHECK(set.set_value(0, -1) == ERANGE);
  CHECK(set.set_value(0, most + 1) == ERANGE);
  CHECK(set.set_values({3, static_cast<std::uint16_t>(most + 1)}) == ERANGE);
  CHECK(set.values() == Values{1, 2});
  CHECK(set.set_value(0, most) == 0);
  CHECK(set.value() == most);
}

TEST_CASE("2.7 SETVAL and SETALL wake who can now proceed") {
  const Set set({1, 1});
  Child zero([&] { return set.add(0); });
  REQUIRE(becomes_true([&] { return set.waiting_for_zero() == 1; }));
  CHECK(set.set_value(0, 0) == 0);
  CHECK(zero.result() == 0);
  Child both([&] { return set.operate({op(0, -1), op(1, -3)}); });
  REQUIRE(becomes_true([&] { return set.waiting_for_increase() == 1; }));
  CHECK(set.set_values({1, 3}) == 0);
  CHECK(both.result() == 0);
  CHECK(set.values() == Values{0, 0});
}

TEST_CASE("2.7 GETALL and SETALL take no number of a semaphore") {
  const Set set({1, 2});
  Values values{0, 0};
  CHECK(semctl(set.id(), 99, GETALL, Argument{.values = values.data()}) == 0);
  CHECK(values == Values{1, 2});
  values = {3, 4};
  CHECK(semctl(set.id(), -5, SETALL, Argument{.values = values.data()}) == 0);
  CHECK(set.values() == Values{3, 4});
}

TEST_CASE("2.7 a pointer that is none is EFAULT, and nothing changes") {
  const Set set({1, 2});
  for (const int command : {GETALL, SETALL, IPC_STAT, IPC_SET}) {
    CAPTURE(command);
    const Argument bad{.status = static_cast<semid_ds*>(bad_address())};
    CHECK(error_of(semctl(set.id(), 0, command, bad)) == EFAULT);
  }
  CHECK(error_of(semctl(0, 0, IPC_INFO, Argument{.info = static_cast<seminfo*>(bad_address())})) ==
        EFAULT);
  CHECK(set.values() == Values{1, 2});
  CHECK((set.status().sem_perm.mode & 0777) == 0600);
}

TEST_CASE("2.7 commands without an argument need none") {
  const Set set({3});
  CHECK(semctl(set.id(), 0, GETVAL) == 3);
  CHECK(semctl(set.id(), 0, GETPID) == getpid());
  CHECK(semctl(set.id(), 0, GETNCNT) == 0);
  CHECK(semctl(set.id(), 0, GETZCNT) == 0);
  CHECK(semctl(set.id(), 0, IPC_RMID) == 0);
  CHECK(error_of(semctl(set.id(), 0, IPC_RMID)) == EINVAL);
}

TEST_CASE("2.7 IPC_INFO tells the limits, SEM_INFO also what is used") {
  const Set set({0, 0, 0});
  const auto limits = semaphore_limits();
  CHECK(limits.semmni > 0);
  CHECK(limits.semmsl > 0);
  CHECK(limits.semmns > 0);
  CHECK(limits.semopm > 0);
  CHECK(limits.semvmx == 32767);
  CHECK(limits.semaem == 32767);
  seminfo used{};
  CHECK(semctl(0, 0, SEM_INFO, Argument{.info = &used}) >= conformance::index_of(set.id()));
  CHECK(used.semmni == limits.semmni);
  CHECK(used.semmsl == limits.semmsl);
  CHECK(used.semusz >= 1);
  CHECK(used.semaem >= 3);
}

TEST_CASE("2.7 SEM_STAT tells what IPC_STAT does") {
  const Set set({0, 0, 0});
  CHECK(set.add(1) == 0);
  semid_ds status{};
  const auto index = conformance::index_of(set.id());
  CHECK(semctl(index, 0, SEM_STAT, Argument{.status = &status}) == set.id());
  CHECK(status.sem_nsems == 3);
  CHECK(status.sem_otime == set.status().sem_otime);
  CHECK(status.sem_ctime == set.status().sem_ctime);
}
