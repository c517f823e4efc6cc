// The three System V kinds: what removes an object with its handle, and what they have in common.
#pragma once

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace conformance {

/// A key that no other process of these tests uses, and this one only once.
auto fresh_key() -> key_t;

/// One kind's calls, in one shape.
struct Kind {
  std::string name;
  int (*get)(key_t key, int flags);
  int (*remove)(int id);
  int (*status)(int id, int command, ipc_perm* permissions, long* ctime);
  int (*set)(int id, uid_t uid, gid_t gid, int mode);
  int (*command)(int id, int command, void* argument);
  int stat_by_index;
  int stat_any;
  int info;
};
extern const std::array<Kind, 3> kinds;

/// The index is what remains of an id without its sequence number.
inline auto index_of(int id) -> int {
  return id & 0x7fff;
}

/// Removes an object of a kind with it.
class Object {
 public:
  Object(const Kind& kind, key_t key, int flags) : kind_(kind), id_(kind.get(key, flags)) {}
  Object(const Object&) = delete;
  auto operator=(const Object&) -> Object& = delete;
  ~Object() {
    if (id_ >= 0) kind_.remove(id_);
  }
  [[nodiscard]] auto id() const { return id_; }

 private:
  const Kind& kind_;
  int id_;
};

union Argument {
  int value;
  semid_ds* status;
  std::uint16_t* values;
  seminfo* info;
};

/// A set of semaphores that is removed with it.
class Set {
 public:
  explicit Set(std::vector<std::uint16_t> values, int mode = 0600, key_t key = IPC_PRIVATE);
  Set(const Set&) = delete;
  auto operator=(const Set&) -> Set& = delete;
  ~Set() { remove(); }

  [[nodiscard]] auto id() const { return id_; }
  void remove() const { semctl(id_, 0, IPC_RMID); }
  /// 0, or errno.
  [[nodiscard]] auto operate(std::vector<sembuf> operations) const -> int;
  [[nodiscard]] auto add(int by, int flags = 0, int index = 0) const -> int;
  [[nodiscard]] auto operate_within(std::vector<sembuf> operations, long milliseconds) const -> int;
  [[nodiscard]] auto value(int index = 0) const { return semctl(id_, index, GETVAL); }
  [[nodiscard]] auto values() const -> std::vector<std::uint16_t>;
  [[nodiscard]] auto set_value(int index, int value) const -> int;
  [[nodiscard]] auto set_values(std::vector<std::uint16_t> values) const -> int;
  [[nodiscard]] auto pid(int index = 0) const { return semctl(id_, index, GETPID); }
  [[nodiscard]] auto waiting_for_increase(int index = 0) const {
    return semctl(id_, index, GETNCNT);
  }
  [[nodiscard]] auto waiting_for_zero(int index = 0) const { return semctl(id_, index, GETZCNT); }
  [[nodiscard]] auto status() const -> semid_ds;

 private:
  int id_;
  std::size_t count_;
};

/// An operation on a semaphore.
auto op(int index, int by, int flags = 0) -> sembuf;

/// The limits of the kind.
auto semaphore_limits() -> seminfo;

}  // namespace conformance
