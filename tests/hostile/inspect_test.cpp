// Inspection of objects that lie, change and shrink.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include <parley/inspect.hpp>
#include <parley/message_queue.hpp>
#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>
#include <parley/shared_memory.hpp>
#include <parley/stream.hpp>

#include "hostile/harness.hpp"
#include "shm/layout/segment.hpp"
#include "support/long_run.hpp"

using namespace std::chrono_literals;
using namespace parley;
using namespace parley::test;

namespace {

auto memory_of(const Image& image) -> os::OwnedFd {
  auto fd = os::OwnedFd::from_number(memfd_create("image", MFD_CLOEXEC));
  REQUIRE(write(fd.number(), image.data(), image.size()) == static_cast<ssize_t>(image.size()));
  return fd;
}

/// Small objects of every kind, with something in them.
auto images() -> std::vector<Image> {
  std::vector<Image> all;
  auto set = SemaphoreSet::create(std::vector<std::uint16_t>{1, 2},
                                  {.participants = 3, .operations = 2, .waiters = 2})
                 .value();
  REQUIRE(set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::now()));
  all.push_back(image_of(set.descriptor()));
  auto mutex = Mutex::create({.participants = 3}).value();
  REQUIRE(mutex.acquire(Deadline::now()));
  all.push_back(image_of(mutex.descriptor()));
  all.push_back(image_of(SharedMemory::create({.size_bytes = 100}).value().descriptor()));
  all.push_back(image_of(Stream::create({.capacity_bytes = 4096}).value().descriptor()));
  auto queue =
      MessageQueue::create(
          {.participants = 3, .waiters = 2, .messages = 4, .bytes = 256, .message_bytes = 64})
          .value();
  for (const std::uint64_t tag : {1U, 1U, 2U}) {
    REQUIRE(queue.send(std::as_bytes(std::span("text")), {.tag = tag}, Deadline::now()));
  }
  const auto held = queue.take(Selection::oldest(), Deadline::now()).value();
  all.push_back(image_of(queue.descriptor()));
  return all;
}

/// Says something or fails as documented; under AddressSanitizer, touching nothing else.
void check_inspected(os::BorrowedFd fd) {
  const auto seen = inspect(fd);
  if (seen) return;
  const auto error = seen.error();
  const bool documented =
      error == Error::invalid || error == Error::not_supported || error == Error::corrupt;
  CAPTURE(message(error));
  CHECK(documented);
}

}  // namespace

TEST_CASE("whatever stands in any one word, an inspection says something or says that it cannot") {
  constexpr std::array<std::uint64_t, 6> values{
      0, 1, 0x8000'0000, 0xffff'ffff, ~std::uint64_t{0}, 0xffff'ffff'0000'0007};
  for (const auto& image : images()) {
    const auto fd = memory_of(image);
    REQUIRE(inspect(fd));
    for (std::size_t at = 0; at + 8 <= image.size(); at += 8) {
      for (const auto value : values) {
        REQUIRE(pwrite(fd.number(), &value, 8, static_cast<off_t>(at)) == 8);
        check_inspected(fd);
      }
      REQUIRE(pwrite(fd.number(), image.data() + at, 8, static_cast<off_t>(at)) == 8);
    }
  }
}

TEST_CASE("random bytes behind a sound beginning are no trouble for an inspection") {
  std::mt19937_64 random(seed());
  const auto all = images();
  for (int round = 0; round < 400; ++round) {
    auto image = all[random() % all.size()];
    const auto kept = random() % 2 == 0 ? sizeof(shm::SegmentHeader) : random() % image.size();
    for (auto at = kept; at < image.size(); ++at) image[at] = static_cast<std::byte>(random());
    check_inspected(memory_of(image));
  }
}

TEST_CASE("an object that others write to and truncate meanwhile is no trouble for an inspection") {
  for (const auto& image : images()) {
    const auto fd = memory_of(image);
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> strikes = 0;
    std::thread peer([&, start = seed()] {
      std::mt19937_64 random(start);
      while (!stop) {
        const auto value = random() % 4 == 0 ? random() : random() % 16;
        const auto at = random() % (image.size() / 8) * 8;
        static_cast<void>(pwrite(fd.number(), &value, 8, static_cast<off_t>(at)));
        if (random() % 8 == 0) {
          static_cast<void>(ftruncate(fd.number(), static_cast<off_t>(random() % image.size())));
        }
        if (random() % 4 == 0) {
          static_cast<void>(pwrite(fd.number(), image.data(), image.size(), 0));
        }
        ++strikes;
      }
    });
    const auto end = Deadline::after(time_budget(1s, 20s));
    while (!end.has_passed()) check_inspected(fd);
    stop = true;
    peer.join();
    CHECK(strikes > 0);
  }
}
