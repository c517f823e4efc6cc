#include <doctest/doctest.h>
#include <unistd.h>

#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::as;
using conformance::error_of;
using conformance::Identity;
using conformance::Kind;
using conformance::kinds;
using conformance::nobody;
using conformance::Object;
using conformance::op;
using conformance::Set;

auto stat_error(const Kind& kind, int id, int command = IPC_STAT) -> int {
  ipc_perm permissions{};
  long ctime = 0;
  return error_of(kind.status(id, command, &permissions, &ctime));
}

}  // namespace

TEST_CASE("1.2 the creator's effective ids are the owner's") {
  if (conformance::skipped_without_root()) return;
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = conformance::fresh_key();
    const auto id = as(nobody, [&] { return kind.get(key, 0600 | IPC_CREAT | IPC_EXCL); });
    const Object object(kind, key, 0);
    CHECK(object.id() == id);
    ipc_perm permissions{};
    long ctime = 0;
    CHECK(kind.status(object.id(), IPC_STAT, &permissions, &ctime) == 0);
    CHECK(permissions.uid == nobody.uid);
    CHECK(permissions.cuid == nobody.uid);
    CHECK(permissions.gid == nobody.gid);
    CHECK(permissions.cgid == nobody.gid);
  }
}

TEST_CASE("1.2 an open of an existing key asks for what its mode bits say") {
  if (conformance::skipped_without_root()) return;
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = conformance::fresh_key();
    const Object object(kind, key, 0604 | IPC_CREAT);
    REQUIRE(object.id() >= 0);
    const auto opened = [&](int flags) {
      return as(nobody, [&, flags] { return error_of(kind.get(key, flags)); });
    };
    CHECK(opened(0) == 0);
    CHECK(opened(0400) == 0);
    CHECK(opened(0004) == 0);
    CHECK(opened(0444) == 0);
    CHECK(opened(0600) == EACCES);
    CHECK(opened(0002) == EACCES);
    CHECK(opened(0666 | IPC_CREAT) == EACCES);
    CHECK(opened(0600 | IPC_CREAT | IPC_EXCL) == EEXIST);
  }
}

TEST_CASE("1.2 owner, then group, then other: the first match alone counts") {
  if (conformance::skipped_without_root()) return;
  const Identity grouped{4000, 4000, {4321, 5555}};
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0600);
    REQUIRE(object.id() >= 0);
    const auto stat = [&] { return stat_error(kind, object.id()); };
    REQUIRE(kind.set(object.id(), nobody.uid, 0, 0044) == 0);
    CHECK(as(nobody, stat) == EACCES);
    CHECK(as(grouped, stat) == 0);
    REQUIRE(kind.set(object.id(), 0, nobody.gid, 0404) == 0);
    CHECK(as(nobody, stat) == EACCES);
    CHECK(as(grouped, stat) == 0);
    REQUIRE(kind.set(object.id(), 0, nobody.gid, 0040) == 0);
    CHECK(as(nobody, stat) == 0);
    CHECK(as(grouped, stat) == EACCES);
    REQUIRE(kind.set(object.id(), 0, 5555, 0040) == 0);  // a supplementary group
    CHECK(as(nobody, stat) == EACCES);
    CHECK(as(grouped, stat) == 0);
    CHECK(stat() == 0);  // root, always
  }
}

TEST_CASE("1.2 the creator counts as the owner, whoever is that now") {
  if (conformance::skipped_without_root()) return;
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const auto key = conformance::fresh_key();
    CHECK(as(nobody, [&] { return kind.get(key, 0400 | IPC_CREAT); }) >= 0);
    const Object object(kind, key, 0);
    REQUIRE(kind.set(object.id(), 4000, 4000, 0400) == 0);
    CHECK(as(nobody, [&] { return stat_error(kind, object.id()); }) == 0);
    CHECK(as({4000, 1, {}}, [&] { return stat_error(kind, object.id()); }) == 0);
    CHECK(as({4001, 1, {}}, [&] { return stat_error(kind, object.id()); }) == EACCES);
    CHECK(as(nobody, [&] { return error_of(kind.set(object.id(), 4000, 4000, 0440)); }) == 0);
    CHECK(as({4000, 1, {}}, [&] { return error_of(kind.remove(object.id())); }) == 0);
  }
}

TEST_CASE("1.2 others may neither set nor remove, whatever the mode") {
  if (conformance::skipped_without_root()) return;
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0666);
    CHECK(as(nobody, [&] { return error_of(kind.set(object.id(), 0, 0, 0666)); }) == EPERM);
    CHECK(as(nobody, [&] { return error_of(kind.remove(object.id())); }) == EPERM);
    CHECK(stat_error(kind, object.id()) == 0);
  }
}

TEST_CASE("1.2 STAT by index needs read, and STAT_ANY does not") {
  if (conformance::skipped_without_root()) return;
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const Object object(kind, IPC_PRIVATE, 0660);
    const auto index = conformance::index_of(object.id());
    CHECK(as(nobody, [&] { return stat_error(kind, object.id()); }) == EACCES);
    CHECK(as(nobody, [&] { return stat_error(kind, index, kind.stat_by_index); }) == EACCES);
    CHECK(as(nobody, [&] { return stat_error(kind, index, kind.stat_any); }) == 0);
    alignas(16) char into[256];
    CHECK(as(nobody, [&] { return error_of(kind.command(0, IPC_INFO, into)); }) == 0);
  }
}

TEST_CASE("1.2 execute bits give nothing") {
  if (conformance::skipped_without_root()) return;
  const Set set({0}, 0601);
  CHECK(as(nobody, [&] { return error_of(set.value()); }) == EACCES);
  CHECK(as(nobody, [&] { return set.add(1); }) == EACCES);
}

TEST_CASE("1.2 semaphores: reading needs read, altering needs write") {
  if (conformance::skipped_without_root()) return;
  const Set readable({0}, 0604);
  for (const int command : {GETVAL, GETPID, GETNCNT, GETZCNT}) {
    CHECK(as(nobody, [&] { return error_of(semctl(readable.id(), 0, command)); }) == 0);
  }
  CHECK(as(nobody, [&] { return readable.add(0); }) == 0);
  CHECK(as(nobody, [&] { return readable.add(1); }) == EACCES);
  CHECK(as(nobody, [&] { return readable.operate({op(0, 0), op(0, 1)}); }) == EACCES);
  CHECK(as(nobody, [&] { return readable.set_value(0, 1); }) == EACCES);
  CHECK(as(nobody, [&] { return readable.set_values({1}); }) == EACCES);
  CHECK(readable.value() == 0);
  const Set writable({0}, 0602);
  for (const int command : {GETVAL, GETPID, GETNCNT, GETZCNT}) {
    CHECK(as(nobody, [&] { return error_of(semctl(writable.id(), 0, command)); }) == EACCES);
  }
  CHECK(as(nobody, [&] { return writable.add(0); }) == EACCES);
  CHECK(as(nobody, [&] { return writable.add(1); }) == 0);
  CHECK(as(nobody, [&] { return writable.set_value(0, 2); }) == 0);
  CHECK(as(nobody, [&] { return writable.set_values({3}); }) == 0);
  CHECK(writable.value() == 3);
}
