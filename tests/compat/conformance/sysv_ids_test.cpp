#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::bad_address;
using conformance::Child;
using conformance::error_of;
using conformance::fresh_key;
using conformance::index_of;
using conformance::Kind;
using conformance::kinds;
using conformance::Object;

struct Status {
  int result;
  ipc_perm permissions;
  long ctime;
};

auto status_of(const Kind& kind, int id, int command = IPC_STAT) -> Status {
  Status status{};
  status.result = kind.status(id, command, &status.permissions, &status.ctime);
  return status;
}

}  // namespace

TEST_CASE("1.1 IPC_PRIVATE always makes a new object") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object first(kind, IPC_PRIVATE, 0600);
    const Object second(kind, IPC_PRIVATE, 0600 | IPC_CREAT | IPC_EXCL);
    CHECK(first.id() >= 0);
    CHECK(second.id() >= 0);
    CHECK(first.id() != second.id());
  }
}

TEST_CASE("1.1 a key is missing, made, found, and not made again") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = fresh_key();
    CHECK(error_of(kind.get(key, 0600)) == ENOENT);
    CHECK(error_of(kind.get(key, 0600 | IPC_EXCL)) == ENOENT);
    const Object made(kind, key, 0600 | IPC_CREAT | IPC_EXCL);
    REQUIRE(made.id() >= 0);
    CHECK(kind.get(key, 0600) == made.id());
    CHECK(kind.get(key, 0) == made.id());
    CHECK(kind.get(key, 0600 | IPC_CREAT) == made.id());
    CHECK(kind.get(key, 0600 | IPC_EXCL) == made.id());
    CHECK(error_of(kind.get(key, 0600 | IPC_CREAT | IPC_EXCL)) == EEXIST);
  }
}

TEST_CASE("1.1 an existing key of a smaller size is EINVAL, of a larger one is found") {
  const auto key = fresh_key();
  const Object set(kinds[0], key, 0600 | IPC_CREAT);
  CHECK(semget(key, 1, 0600) == set.id());
  CHECK(error_of(semget(key, 3, 0600 | IPC_CREAT)) == EINVAL);
  CHECK(error_of(semget(key, 3, 0600 | IPC_CREAT | IPC_EXCL)) == EEXIST);
  const Object segment(kinds[2], key, 0600 | IPC_CREAT);
  CHECK(shmget(key, 1, 0600) == segment.id());
  CHECK(shmget(key, 0, 0600) == segment.id());
  CHECK(error_of(shmget(key, 5001, 0600)) == EINVAL);
  CHECK(error_of(shmget(key, 5001, 0600 | IPC_CREAT | IPC_EXCL)) == EEXIST);
}

TEST_CASE("1.1 the kinds have their keys each for itself, and a removed key is free") {
  const auto key = fresh_key();
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object first(kind, key, 0600 | IPC_CREAT | IPC_EXCL);
    REQUIRE(first.id() >= 0);
    CHECK(kind.remove(first.id()) == 0);
    CHECK(error_of(kind.get(key, 0600)) == ENOENT);
    const Object second(kind, key, 0600 | IPC_CREAT | IPC_EXCL);
    CHECK(second.id() >= 0);
    CHECK(second.id() != first.id());
    for (const auto& other : kinds) {
      if (other.name != kind.name) CHECK(error_of(other.get(key, 0600)) == ENOENT);
    }
  }
}

TEST_CASE("1.3 an id names one life of an object") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    REQUIRE(object.id() >= 0);
    CHECK(status_of(kind, object.id()).result == 0);
    CHECK(kind.remove(object.id()) == 0);
    CHECK(error_of(status_of(kind, object.id()).result) == EINVAL);
    CHECK(error_of(kind.set(object.id(), 0, 0, 0600)) == EINVAL);
    CHECK(error_of(kind.remove(object.id())) == EINVAL);
  }
}

TEST_CASE("1.3 ids are not negative, and not soon given out again") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    std::set<int> ids;
    for (int count = 0; count < 300; ++count) {
      const Object object(kind, IPC_PRIVATE, 0600);
      REQUIRE(object.id() >= 0);
      CHECK(ids.insert(object.id()).second);
    }
  }
}

TEST_CASE("1.3 an id that is none is EINVAL") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    CHECK(error_of(status_of(kind, -1).result) == EINVAL);
    CHECK(error_of(kind.remove(-1)) == EINVAL);
    CHECK(error_of(kind.remove(0x7fffffff)) == EINVAL);
  }
}

TEST_CASE("1.3 an id is an index and a sequence number, and STAT by index returns it") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = fresh_key();
    const Object object(kind, key, 0640 | IPC_CREAT);
    REQUIRE(object.id() >= 0);
    const auto status = status_of(kind, object.id());
    CHECK(status.permissions.__seq == object.id() >> 15);
    for (const int command : {kind.stat_by_index, kind.stat_any}) {
      const auto by_index = status_of(kind, index_of(object.id()), command);
      CHECK(by_index.result == object.id());
      CHECK(by_index.permissions.__key == key);
      CHECK((by_index.permissions.mode & 0777) == 0640);
    }
  }
}

TEST_CASE("1.3 STAT of an index that is not used is EINVAL") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    REQUIRE(object.id() >= 0);
    CHECK(kind.remove(object.id()) == 0);
    for (const int command : {kind.stat_by_index, kind.stat_any}) {
      const auto status = status_of(kind, index_of(object.id()), command);
      CHECK((status.result == -1 || status.result != object.id()));
      CHECK(error_of(status_of(kind, -1, command).result) == EINVAL);
    }
  }
}

TEST_CASE("1.3 the information commands return the highest used index") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    alignas(16) char into[256];
    CHECK(kind.command(0, IPC_INFO, into) >= index_of(object.id()));
    CHECK(kind.command(0, kind.info, into) >= index_of(object.id()));
  }
}

TEST_CASE("1.4 IPC_STAT fills all of ipc_perm") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = fresh_key();
    const auto before = conformance::now_seconds();
    const Object object(kind, key, 0753 | IPC_CREAT);
    REQUIRE(object.id() >= 0);
    const auto status = status_of(kind, object.id());
    CHECK(status.result == 0);
    CHECK(status.permissions.__key == key);
    CHECK(status.permissions.uid == geteuid());
    CHECK(status.permissions.cuid == geteuid());
    CHECK(status.permissions.gid == getegid());
    CHECK(status.permissions.cgid == getegid());
    CHECK(status.permissions.mode == 0753);
    CHECK(conformance::is_since(before, status.ctime));
  }
}

TEST_CASE("1.4 IPC_SET takes uid, gid and nine bits of the mode, and sets ctime") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    REQUIRE(object.id() >= 0);
    const auto before = status_of(kind, object.id());
    conformance::wait_past(before.ctime);
    CHECK(kind.set(object.id(), geteuid(), getegid(), 07421) == 0);
    const auto after = status_of(kind, object.id());
    CHECK(after.permissions.mode == 0421);
    CHECK(after.permissions.__key == before.permissions.__key);
    CHECK(after.permissions.__seq == before.permissions.__seq);
    CHECK(after.ctime > before.ctime);
  }
}

TEST_CASE("1.4 IPC_SET changes the owner and not the creator") {
  if (conformance::skipped_without_root()) return;
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    CHECK(kind.set(object.id(), 1234, 2345, 0600) == 0);
    const auto status = status_of(kind, object.id());
    CHECK(status.permissions.uid == 1234);
    CHECK(status.permissions.gid == 2345);
    CHECK(status.permissions.cuid == 0);
    CHECK(status.permissions.cgid == getegid());
    CHECK(error_of(kind.set(object.id(), static_cast<uid_t>(-1), 2345, 0644)) == EINVAL);
    CHECK(error_of(kind.set(object.id(), 1234, static_cast<gid_t>(-1), 0644)) == EINVAL);
    CHECK(status_of(kind, object.id()).permissions.mode == 0600);
  }
}

TEST_CASE("1.5 a bad pointer is EFAULT and changes nothing") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0640);
    const auto index = index_of(object.id());
    CHECK(error_of(kind.command(object.id(), IPC_STAT, bad_address())) == EFAULT);
    CHECK(error_of(kind.command(object.id(), IPC_SET, bad_address())) == EFAULT);
    CHECK(error_of(kind.command(index, kind.stat_by_index, bad_address())) == EFAULT);
    CHECK(error_of(kind.command(index, kind.stat_any, bad_address())) == EFAULT);
    CHECK(error_of(kind.command(0, IPC_INFO, bad_address())) == EFAULT);
    CHECK(error_of(kind.command(0, kind.info, bad_address())) == EFAULT);
    CHECK(status_of(kind, object.id()).permissions.mode == 0640);
  }
}

TEST_CASE("1.5 a bad command is EINVAL") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    CHECK(error_of(kind.command(object.id(), 99, nullptr)) == EINVAL);
    CHECK(error_of(kind.command(object.id(), -1, nullptr)) == EINVAL);
    CHECK(status_of(kind, object.id()).result == 0);
  }
}

TEST_CASE("1.5 ftok makes a key of a file and a number") {
  struct stat file{};
  REQUIRE(stat("/proc/self/exe", &file) == 0);
  const auto expected = 0x5aU << 24U | (file.st_dev & 0xffU) << 16U | (file.st_ino & 0xffffU);
  CHECK(ftok("/proc/self/exe", 0x35a) == static_cast<key_t>(expected));
  CHECK(error_of(ftok("/nowhere/at/all", 1)) == ENOENT);
}

TEST_CASE("1.7 objects outlive who made them") {
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = fresh_key();
    Child child([&] { return kind.get(key, 0600 | IPC_CREAT | IPC_EXCL); });
    const auto id = child.result();
    REQUIRE(id >= 0);
    const Object object(kind, key, 0600);
    CHECK(object.id() == id);
  }
}
