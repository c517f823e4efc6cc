#include <doctest/doctest.h>

#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::Argument;
using conformance::bad_address;
using conformance::Child;
using conformance::error_of;
using conformance::op;
using conformance::semaphore_limits;
using conformance::Set;
using Values = std::vector<std::uint16_t>;

}  // namespace

TEST_CASE("2.1 semget refuses negative numbers and those over SEMMSL") {
  CHECK(error_of(semget(IPC_PRIVATE, -1, 0600)) == EINVAL);
  CHECK(error_of(semget(IPC_PRIVATE, semaphore_limits().semmsl + 1, 0600)) == EINVAL);
}

TEST_CASE("2.1 no semaphores are enough only to open a set") {
  const auto key = conformance::fresh_key();
  CHECK(error_of(semget(IPC_PRIVATE, 0, 0600)) == EINVAL);
  CHECK(error_of(semget(key, 0, 0600 | IPC_CREAT)) == EINVAL);
  CHECK(error_of(semget(key, 0, 0600)) == ENOENT);
  const Set set({0, 0}, 0600, key);
  CHECK(semget(key, 0, 0600) == set.id());
  CHECK(semget(key, 2, 0600) == set.id());
  CHECK(error_of(semget(key, 3, 0600)) == EINVAL);
}

TEST_CASE("2.1 new semaphores are zero, and as many as were asked for") {
  const auto id = semget(IPC_PRIVATE, 3, 0600);
  REQUIRE(id >= 0);
  Values values{7, 7, 7, 7};
  CHECK(semctl(id, 0, GETALL, Argument{.values = values.data()}) == 0);
  semid_ds status{};
  CHECK(semctl(id, 0, IPC_STAT, Argument{.status = &status}) == 0);
  CHECK(semctl(id, 0, IPC_RMID) == 0);
  CHECK(values == Values{0, 0, 0, 7});
  CHECK(status.sem_nsems == 3);
}

TEST_CASE("2.1 the largest set can be made") {
  const auto count = semaphore_limits().semmsl;
  const auto id = semget(IPC_PRIVATE, count, 0600);
  REQUIRE(id >= 0);
  CHECK(semctl(id, count - 1, SETVAL, Argument{.value = 5}) == 0);
  CHECK(semctl(id, count - 1, GETVAL) == 5);
  CHECK(semctl(id, 0, IPC_RMID) == 0);
}

TEST_CASE("2.2 no operations are EINVAL and too many are E2BIG") {
  const Set set({0});
  sembuf one = op(0, 1);
  CHECK(error_of(semop(set.id(), &one, 0)) == EINVAL);
  const auto most = static_cast<std::size_t>(semaphore_limits().semopm);
  CHECK(set.operate(std::vector(most + 1, op(0, 1))) == E2BIG);
  CHECK(set.value() == 0);
  CHECK(set.operate(std::vector(most, op(0, 1))) == 0);
  CHECK(set.value() == static_cast<int>(most));
}

TEST_CASE("2.2 a number outside the set is EFBIG before anything happens") {
  const Set set({0, 0});
  CHECK(set.operate({op(0, 1), op(2, 1)}) == EFBIG);
  CHECK(set.operate({op(0, -1), op(2, 1)}) == EFBIG);
  CHECK(set.operate({op(0, 1), op(65535, 0)}) == EFBIG);
  CHECK(set.values() == Values{0, 0});
  CHECK(set.status().sem_otime == 0);
}

TEST_CASE("2.2 an id that is none is EINVAL") {
  sembuf one = op(0, 1);
  CHECK(error_of(semop(-1, &one, 1)) == EINVAL);
  const Set set({0});
  set.remove();
  CHECK(set.add(1) == EINVAL);
}

TEST_CASE("2.2 operations that cannot be read are EFAULT") {
  const Set set({0});
  CHECK(error_of(semop(set.id(), static_cast<sembuf*>(bad_address()), 1)) == EFAULT);
  CHECK(set.value() == 0);
}

TEST_CASE("2.2 all operations happen or none") {
  const Set set({3, 0});
  CHECK(set.operate({op(0, -2), op(1, -1, IPC_NOWAIT)}) == EAGAIN);
  CHECK(set.values() == Values{3, 0});
  CHECK(set.operate({op(0, -2), op(1, 4)}) == 0);
  CHECK(set.values() == Values{1, 4});
}

TEST_CASE("2.2 operations are tried in the order of the array, and see the earlier ones") {
  const Set set({0});
  CHECK(set.operate({op(0, 2), op(0, -1), op(0, -1), op(0, 0)}) == 0);
  CHECK(set.value() == 0);
  CHECK(set.operate({op(0, -1, IPC_NOWAIT), op(0, 1)}) == EAGAIN);
  CHECK(set.operate({op(0, 0), op(0, 1), op(0, 0, IPC_NOWAIT)}) == EAGAIN);
  CHECK(set.value() == 0);
}

TEST_CASE("2.3 over SEMVMX is ERANGE, and nothing changes") {
  const auto most = semaphore_limits().semvmx;
  const Set set({0, static_cast<std::uint16_t>(most)});
  CHECK(set.operate({op(0, 1), op(1, 1)}) == ERANGE);
  CHECK(set.values() == Values{0, static_cast<std::uint16_t>(most)});
  CHECK(set.operate({op(1, -1), op(1, 1)}) == 0);
  CHECK(set.operate({op(0, 1), op(1, 1, IPC_NOWAIT)}) == ERANGE);
}

TEST_CASE("2.3 the first operation that cannot proceed decides, with its own IPC_NOWAIT") {
  const Set set({0, 0});
  CHECK(set.operate({op(0, -1, IPC_NOWAIT), op(1, -1)}) == EAGAIN);
  Child waits([&] { return set.operate({op(0, -1), op(1, -1, IPC_NOWAIT)}); });
  CHECK(conformance::becomes_true([&] { return set.waiting_for_increase() == 1; }));
  CHECK(set.add(1) == 0);  // now the second decides
  CHECK(waits.result() == EAGAIN);
  CHECK(set.values() == Values{1, 0});
}

TEST_CASE("2.3 a decrement that is covered, and zero that is there, do not wait") {
  const Set set({5, 0});
  CHECK(set.operate({op(0, -5), op(0, 0), op(1, 0)}) == 0);
  CHECK(set.values() == Values{0, 0});
  CHECK(set.add(-1, IPC_NOWAIT) == EAGAIN);
  CHECK(set.add(1) == 0);
  CHECK(set.add(0, IPC_NOWAIT) == EAGAIN);
}
