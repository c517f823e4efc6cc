#include <parley/inspect.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>

#include <string>
#include <thread>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>
#include <parley/shared_memory.hpp>
#include <parley/stream.hpp>

#include "support/peer.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace parley;
using parley::test::Peer;
using parley::test::TempDir;
using namespace std::chrono_literals;

template <class What>
auto seen(os::BorrowedFd fd) -> What {
  const auto inspection = inspect(fd).value();
  REQUIRE(std::holds_alternative<What>(inspection.what));
  return std::get<What>(inspection.what);
}

auto bytes_of(const std::string& path) -> std::string {
  const auto fd = os::OwnedFd::from_number(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  REQUIRE(fstat(fd.number(), &status) == 0);
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  REQUIRE(pread(fd.number(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

}  // namespace

TEST_CASE("an inspection tells a set's values, who waits for what, and what would be undone") {
  auto set = SemaphoreSet::create(std::vector<std::uint16_t>{3, 0, 5}, {.waiters = 4}).value();
  REQUIRE(set.operate({.index = 0, .delta = -2, .undo = true}, Deadline::now()));
  std::thread more([&] {
    const std::vector<SemaphoreOperation> both{{.index = 0, .delta = -1},
                                               {.index = 1, .delta = -1}};
    static_cast<void>(set.operate(both, Deadline::never()));
  });
  std::thread zero(
      [&] { static_cast<void>(set.operate({.index = 2, .delta = 0}, Deadline::never())); });
  while (set.status().value().waiting != 2) {
  }
  const auto inspection = inspect(set.descriptor()).value();
  CHECK(inspection.is_steady);
  CHECK_FALSE(inspection.is_locked_by_the_dead);
  CHECK(inspection.participants_at_most == 64);
  REQUIRE(inspection.participants.size() == 1);
  const auto& who = inspection.participants.front();
  CHECK(who.is_alive);
  CHECK(who.process == static_cast<std::uint32_t>(getpid()));
  CHECK(who.adjustments == 1);
  CHECK(who.waiting == 2);
  const auto& what = std::get<SemaphoreSetInspection>(inspection.what);
  CHECK(what.has_undo);
  CHECK(what.waiters_at_most == 4);
  REQUIRE(what.semaphores.size() == 3);
  CHECK(what.semaphores[0].value == 1);
  CHECK(what.semaphores[0].last_process == static_cast<std::uint32_t>(getpid()));
  CHECK(what.semaphores[1].waiting_for_increase == 1);
  CHECK(what.semaphores[2].waiting_for_zero == 1);
  CHECK(what.semaphores[0].waiting_for_increase + what.semaphores[2].waiting_for_increase == 0);
  REQUIRE(set.remove());
  more.join();
  zero.join();
  CHECK(seen<SemaphoreSetInspection>(set.descriptor()).is_removed);
}

TEST_CASE("an inspection tells what a killed participant has left, and cleans nothing up") {
  const TempDir directory;
  const std::string path = directory / "set";
  auto set = SemaphoreSet::create(path, std::vector<std::uint16_t>{1}).value();
  Peer peer([&] {
    auto own = SemaphoreSet::open(path).value();
    REQUIRE(own.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
    raise(SIGKILL);
  });
  REQUIRE(peer.wait() == -SIGKILL);
  const auto before = bytes_of(path);
  const auto inspection = inspect(path).value();
  CHECK(bytes_of(path) == before);
  REQUIRE(inspection.participants.size() == 2);
  CHECK(inspection.participants[0].is_alive);
  CHECK_FALSE(inspection.participants[1].is_alive);
  CHECK(inspection.participants[1].keeper_thread == 0);
  CHECK(inspection.participants[1].adjustments == 1);
  CHECK(set.value(0).value() == 1);
  CHECK(inspect(path).value().participants.size() == 1);
}

TEST_CASE("an inspection tells who holds a mutex, and that its last holder died") {
  auto mutex = Mutex::create().value();
  CHECK_FALSE(seen<MutexInspection>(mutex.descriptor()).holder);
  Peer peer([&] {
    REQUIRE(mutex.acquire(Deadline::now()));
    raise(SIGKILL);
  });
  REQUIRE(peer.wait() == -SIGKILL);
  CHECK(inspect(mutex.descriptor()).value().is_locked_by_the_dead);
  REQUIRE(mutex.acquire(Deadline::now()));
  const auto inspection = inspect(mutex.descriptor()).value();
  CHECK(std::get<MutexInspection>(inspection.what).holder == 1);
  CHECK(std::get<MutexInspection>(inspection.what).peer_died);
  CHECK_FALSE(inspection.is_locked_by_the_dead);
}

TEST_CASE("an inspection tells the depth of each tag, what is held, and the bounds of a queue") {
  auto queue = MessageQueue::create({.messages = 10, .bytes = 1000}).value();
  const auto text = std::as_bytes(std::span("12345678"));
  for (const std::uint64_t tag : {7U, 3U, 7U, 7U}) {
    REQUIRE(queue.send(text.first(8), {.tag = tag}, Deadline::now()));
  }
  const auto taken = queue.take(Selection::tag(7), Deadline::now()).value();
  const auto reserved = queue.reserve(100, Deadline::now()).value();
  const auto inspection = inspect(queue.descriptor()).value();
  const auto& what = std::get<MessageQueueInspection>(inspection.what);
  CHECK(what.messages == 5);
  CHECK(what.bytes == 132);
  CHECK(what.taken == 1);
  CHECK(what.reserved == 1);
  CHECK(what.sent == 4);
  CHECK(what.messages_at_most == 10);
  CHECK(what.bytes_at_most == 1000);
  REQUIRE(what.depths.size() == 2);
  CHECK(what.depths[0].tag == 3);
  CHECK(what.depths[0].messages == 1);
  CHECK(what.depths[1].tag == 7);
  CHECK(what.depths[1].messages == 2);
  CHECK(what.last_sender == static_cast<std::uint32_t>(getpid()));
  CHECK(what.last_send);
  CHECK(inspection.participants.front().holding == 2);
}

TEST_CASE("an inspection tells the size of shared memory, and whether it may grow or is sealed") {
  const auto memory = SharedMemory::create({.size_bytes = 5000, .growable = true}).value();
  const auto inspection = inspect(memory.descriptor()).value();
  CHECK(inspection.participants_at_most == 0);
  const auto& what = std::get<SharedMemoryInspection>(inspection.what);
  CHECK(what.size_bytes == 5000);
  CHECK(what.is_growable);
  REQUIRE(what.seals);
  CHECK(what.seals->shrink);
  CHECK_FALSE(what.seals->write);
}

TEST_CASE("a descriptor that only reads is enough for an inspection, and a mode without writing") {
  const TempDir directory;
  const std::string path = directory / "mutex";
  const auto mutex = Mutex::create(path, {.mode = 0440}).value();
  const auto fd = os::OwnedFd::from_number(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fd.is_open());
  const auto inspection = inspect(os::BorrowedFd(fd)).value();
  CHECK(inspection.mode == 0440);
  CHECK(inspection.owner == geteuid());
  CHECK(inspect(path));
}

TEST_CASE("what is no object is invalid, and what is not there is not found") {
  const TempDir directory;
  CHECK(inspect(directory / "none").error() == Error::not_found);
  CHECK(inspect("/dev/null").error() == Error::invalid);
  CHECK(inspect(directory.path().string()).error() == Error::invalid);
  CHECK(inspect("").error() == Error::invalid);
}

TEST_CASE("an inspection tells who is at the ends of a stream, and how far they have come") {
  auto stream = Stream::create({.capacity_bytes = 4096}).value();
  {
    auto writer = stream.writer().value();
    REQUIRE(writer.write(std::as_bytes(std::span("12345", 5)), Deadline::now()));
    const auto what = seen<StreamInspection>(stream.descriptor());
    CHECK(what.capacity_bytes == 4096);
    REQUIRE(what.rings.size() == 1);
    CHECK(what.rings[0].writer.holder.has_value());
    CHECK_FALSE(what.rings[0].reader.holder);
    CHECK(what.rings[0].written_bytes == 5);
    CHECK(what.rings[0].read_bytes == 0);
  }
  CHECK(seen<StreamInspection>(stream.descriptor()).rings[0].writer.was_closed);
}
