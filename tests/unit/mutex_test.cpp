#include <parley/mutex.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Mutex;

auto second_handle(const Mutex& mutex) -> Mutex {
  return Mutex::adopt(parley::os::duplicate(mutex.descriptor()).value()).value();
}

}  // namespace

TEST_CASE("a mutex is held by one") {
  auto mutex = Mutex::create().value();
  auto other = second_handle(mutex);
  CHECK(mutex.acquire(Deadline::now()));
  CHECK(other.acquire(Deadline::now()).error() == Error::would_block);
  CHECK(other.acquire(Deadline::after(10ms)).error() == Error::timed_out);
  CHECK(other.release().error() == Error::not_permitted);
  CHECK(mutex.release());
  CHECK(mutex.release().error() == Error::not_permitted);
  CHECK(other.acquire(Deadline::now()));
  CHECK_FALSE(other.peer_died());
  CHECK(other.release());
}

TEST_CASE("a mutex whose holder went away says so to the next") {
  auto mutex = Mutex::create().value();
  CHECK(second_handle(mutex).acquire(Deadline::now()));
  CHECK(mutex.acquire(Deadline::after(5s)));
  CHECK(mutex.peer_died());
  CHECK(mutex.release());
  CHECK_FALSE(mutex.peer_died());
  CHECK(mutex.acquire(Deadline::now()));
  CHECK_FALSE(mutex.peer_died());
  CHECK(mutex.release());
}

TEST_CASE("a mutex serves std::scoped_lock and std::unique_lock") {
  auto mutex = Mutex::create().value();
  {
    const std::scoped_lock lock(mutex);
    CHECK_FALSE(mutex.try_lock());
  }
  std::unique_lock lock(mutex, std::defer_lock);
  CHECK(lock.try_lock_for(10ms));
  CHECK_FALSE(second_handle(mutex).try_lock_until(std::chrono::system_clock::now() + 5ms));
}

TEST_CASE("a mutex excludes threads that share a handle, and those that do not") {
  auto mutex = Mutex::create().value();
  auto other = second_handle(mutex);
  int counter = 0;
  constexpr int rounds = 20'000;
  const auto count = [&](Mutex& handle) {
    for (int i = 0; i < rounds; ++i) {
      const std::scoped_lock lock(handle);
      ++counter;
    }
  };
  std::thread first([&] { count(mutex); });
  std::thread second([&] { count(mutex); });
  std::thread third([&] { count(other); });
  first.join();
  second.join();
  third.join();
  CHECK(counter == 3 * rounds);
}

TEST_CASE("a named mutex is opened by its path, and not as something else") {
  const parley::test::TempDir dir;
  const auto path = dir / "mutex";
  auto mutex = Mutex::create(path).value();
  CHECK(Mutex::create(path).error() == Error::exists);
  CHECK(Mutex::open(path)->acquire(Deadline::now()));
  CHECK(Mutex::open_or_create(path)->acquire(Deadline::now()));
  CHECK(Mutex::unlink(path));
  CHECK(Mutex::open(path).error() == Error::not_found);
}
