#include "sysv_kinds.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "process.hpp"

namespace conformance {
namespace {

auto set_semaphores(int id, uid_t uid, gid_t gid, int mode) -> int {
  semid_ds status{};
  status.sem_perm.uid = uid;
  status.sem_perm.gid = gid;
  status.sem_perm.mode = static_cast<decltype(status.sem_perm.mode)>(mode);
  return semctl(id, 0, IPC_SET, Argument{.status = &status});
}

auto set_queue(int id, uid_t uid, gid_t gid, int mode) -> int {
  msqid_ds status{};
  status.msg_perm.uid = uid;
  status.msg_perm.gid = gid;
  status.msg_perm.mode = static_cast<decltype(status.msg_perm.mode)>(mode);
  status.msg_qbytes = 1024;
  return msgctl(id, IPC_SET, &status);
}

auto set_segment(int id, uid_t uid, gid_t gid, int mode) -> int {
  shmid_ds status{};
  status.shm_perm.uid = uid;
  status.shm_perm.gid = gid;
  status.shm_perm.mode = static_cast<decltype(status.shm_perm.mode)>(mode);
  return shmctl(id, IPC_SET, &status);
}

auto semaphores_status(int id, int command, ipc_perm* permissions, long* ctime) -> int {
  semid_ds status{};
  const auto result = semctl(id, 0, command, Argument{.status = &status});
  *permissions = status.sem_perm;
  *ctime = status.sem_ctime;
  return result;
}

auto queue_status(int id, int command, ipc_perm* permissions, long* ctime) -> int {
  msqid_ds status{};
  const auto result = msgctl(id, command, &status);
  *permissions = status.msg_perm;
  *ctime = status.msg_ctime;
  return result;
}

auto segment_status(int id, int command, ipc_perm* permissions, long* ctime) -> int {
  shmid_ds status{};
  const auto result = shmctl(id, command, &status);
  *permissions = status.shm_perm;
  *ctime = status.shm_ctime;
  return result;
}

}  // namespace

const std::array<Kind, 3> kinds{{
    {"semaphores", [](key_t key, int flags) { return semget(key, 2, flags); },
     [](int id) { return semctl(id, 0, IPC_RMID); }, semaphores_status, set_semaphores,
     [](int id, int command, void* argument) {
       return semctl(id, 0, command, Argument{.status = static_cast<semid_ds*>(argument)});
     },
     SEM_STAT, SEM_STAT_ANY, SEM_INFO},
    {"messages", [](key_t key, int flags) { return msgget(key, flags); },
     [](int id) { return msgctl(id, IPC_RMID, nullptr); }, queue_status, set_queue,
     [](int id, int command, void* argument) {
       return msgctl(id, command, static_cast<msqid_ds*>(argument));
     },
     MSG_STAT, MSG_STAT_ANY, MSG_INFO},
    {"memory", [](key_t key, int flags) { return shmget(key, 5000, flags); },
     [](int id) { return shmctl(id, IPC_RMID, nullptr); }, segment_status, set_segment,
     [](int id, int command, void* argument) {
       return shmctl(id, command, static_cast<shmid_ds*>(argument));
     },
     SHM_STAT, SHM_STAT_ANY, SHM_INFO},
}};

auto fresh_key() -> key_t {
  static int count;
  return 0x40000000 + getpid() * 64 + count++;
}

Set::Set(std::vector<std::uint16_t> values, int mode, key_t key)
    : id_(semget(key, static_cast<int>(values.size()), mode | IPC_CREAT | IPC_EXCL)),
      count_(values.size()) {
  REQUIRE(id_ >= 0);
  REQUIRE(set_values(std::move(values)) == 0);
}

auto Set::operate(std::vector<sembuf> operations) const -> int {
  return error_of(semop(id_, operations.data(), operations.size()));
}

auto Set::add(int by, int flags, int index) const -> int {
  return operate({op(index, by, flags)});
}

auto Set::operate_within(std::vector<sembuf> operations, long milliseconds) const -> int {
  const timespec timeout{milliseconds / 1000, milliseconds % 1000 * 1000000};
  return error_of(semtimedop(id_, operations.data(), operations.size(), &timeout));
}

auto Set::values() const -> std::vector<std::uint16_t> {
  std::vector<std::uint16_t> all(count_);
  CHECK(semctl(id_, 0, GETALL, Argument{.values = all.data()}) == 0);
  return all;
}

auto Set::set_value(int index, int value) const -> int {
  return error_of(semctl(id_, index, SETVAL, Argument{.value = value}));
}

auto Set::set_values(std::vector<std::uint16_t> values) const -> int {
  return error_of(semctl(id_, 0, SETALL, Argument{.values = values.data()}));
}

auto Set::status() const -> semid_ds {
  semid_ds status{};
  CHECK(semctl(id_, 0, IPC_STAT, Argument{.status = &status}) == 0);
  return status;
}

auto op(int index, int by, int flags) -> sembuf {
  return {static_cast<unsigned short>(index), static_cast<short>(by), static_cast<short>(flags)};
}

auto semaphore_limits() -> seminfo {
  seminfo limits{};
  CHECK(semctl(0, 0, IPC_INFO, Argument{.info = &limits}) >= 0);
  return limits;
}

}  // namespace conformance
