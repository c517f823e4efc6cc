#include <parley/os/posix/shared_memory.hpp>

#include <doctest/doctest.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include <parley/os/posix/semaphore.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/posix_name.hpp"
#include "support/privileges.hpp"

using namespace parley::os;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::PosixName;
using parley::test::text_of;

TEST_CASE("one process writes to shared memory what another reads") {
  const PosixName name;
  const auto memory = SharedMemory::create(name, {.size_bytes = 4096}).value();
  Peer writer([&] {
    const auto mapping = SharedMemory::open(name).value().map().value();
    std::ranges::copy(bytes_of("from the child"), mapping.bytes().begin());
  });
  CHECK(writer.wait() == 0);
  CHECK(text_of(memory.map_read_only().value().bytes().first(14)) == "from the child");
}

TEST_CASE("shared memory of a killed process stays, whole, until it is unlinked") {
  const PosixName name;
  Peer maker([&] {
    const auto memory = SharedMemory::create(name, {.size_bytes = 4096}).value();
    for (;;) pause();
  });
  parley::test::wait_until_asleep(maker.pid());
  maker.kill();
  CHECK(SharedMemory::open(name).value().size_bytes().value() == 4096);
}

TEST_CASE("nobody who opens shared memory while it is made ever sees it unfinished") {
  constexpr int sightings_wanted = 300;
  constexpr std::size_t size_bytes = 12345;
  const PosixName name;
  const PosixName done_name;
  auto done = Semaphore::create(done_name).value();
  Peer finder([&] {
    for (int sightings = 0; sightings < sightings_wanted;) {
      const auto memory = SharedMemory::open(name);
      if (!memory) {
        REQUIRE(memory.error() == Error::not_found);
        continue;
      }
      REQUIRE(memory->map_read_only().value().size_bytes() == size_bytes);
      ++sightings;
    }
    REQUIRE(done.post());
  });
  while (!done.wait(Deadline::now())) {
    REQUIRE(SharedMemory::create(name, {.size_bytes = size_bytes}));
    REQUIRE(SharedMemory::unlink(name));
  }
  CHECK(finder.wait() == 0);
}

TEST_CASE("processes that race to open or create shared memory all get the same, whole") {
  constexpr int rounds = 50;
  const PosixName name;
  const auto race = [&](std::size_t own_size) {
    for (int round = 0; round < rounds; ++round) {
      const auto memory = SharedMemory::open_or_create(name, {.size_bytes = own_size}).value();
      const auto size = memory.size_bytes().value();
      REQUIRE((size == 1000 || size == 2000));
      const auto unlinked = SharedMemory::unlink(name);
      REQUIRE((unlinked || unlinked.error() == Error::not_found));
    }
  };
  Peer one([&] { race(1000); });
  Peer other([&] { race(2000); });
  CHECK(one.wait() == 0);
  CHECK(other.wait() == 0);
}

TEST_CASE("a full filesystem is no space when shared memory is made, and leaves no name") {
  constexpr int cannot_mount = 77;
  constexpr std::size_t megabyte = std::size_t{1} << 20;
  Peer peer([&] {
    if (unshare(CLONE_NEWNS) != 0) _exit(cannot_mount);
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/dev/shm", "tmpfs", 0, "size=1m,mode=1777") != 0) {
      _exit(cannot_mount);
    }
    const PosixName name;
    REQUIRE(SharedMemory::create(name, {.size_bytes = 2 * megabyte}).error() == Error::no_space);
    REQUIRE(!name.remove());
    auto sparse = SharedMemory::create(name, {.size_bytes = 2 * megabyte, .reserve = false});
    REQUIRE(sparse);
    REQUIRE(sparse->reserve().error() == Error::no_space);
    REQUIRE(sparse->reserve({.size_bytes = megabyte / 2}));
  });
  const int status = peer.wait();
  if (status == cannot_mount) return parley::test::skip("a filesystem cannot be mounted here");
  CHECK(status == 0);
}

TEST_CASE("another user gets shared memory only as its mode allows") {
  if (!parley::test::can_become_another_user()) return;
  const PosixName closed;
  const PosixName readable;
  REQUIRE(SharedMemory::create(closed, {.size_bytes = 1}));
  REQUIRE(SharedMemory::create(readable, {.size_bytes = 1, .mode = 0644}));
  Peer stranger([&] {
    parley::test::become_nobody();
    REQUIRE(SharedMemory::open_read_only(closed).error() == Error::access_denied);
    REQUIRE(SharedMemory::open(readable).error() == Error::access_denied);
    REQUIRE(SharedMemory::open_truncated(readable).error() == Error::access_denied);
    REQUIRE(SharedMemory::open_or_create(readable, {}).error() == Error::access_denied);
    auto memory = SharedMemory::open_read_only(readable).value();
    REQUIRE(memory.map_read_only());
    REQUIRE(memory.set_mode(0666).error() == Error::not_permitted);
    REQUIRE(memory.set_owner({.uid = geteuid(), .gid = getegid()}).error() == Error::not_permitted);
    REQUIRE(SharedMemory::unlink(readable).error() == Error::access_denied);
  });
  CHECK(stranger.wait() == 0);
}
