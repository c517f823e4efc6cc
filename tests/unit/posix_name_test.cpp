#include <parley/os/posix/name.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include <parley/os/posix/message_queue.hpp>
#include <parley/os/posix/semaphore.hpp>
#include <parley/os/posix/shared_memory.hpp>

#include "support/posix_name.hpp"

using namespace parley::os::posix;
using namespace std::string_view_literals;
using parley::Error;

namespace {

auto name_of_length(std::size_t bytes_after_slash) -> std::string {
  return "/parley-test-" + std::string(bytes_after_slash - 12, 'n');
}

/// What each way of making or finding an object of that name ends with, where all agree.
void check_refused(std::string_view name, Error error) {
  CAPTURE(name);
  CHECK(Semaphore::create(name).error() == error);
  CHECK(Semaphore::open_or_create(name).error() == error);
  CHECK(Semaphore::open(name).error() == error);
  CHECK(Semaphore::unlink(name).error() == error);
  CHECK(MessageQueue::create(name).error() == error);
  CHECK(MessageSender::open_or_create(name).error() == error);
  CHECK(MessageReceiver::open(name).error() == error);
  CHECK(MessageQueue::unlink(name).error() == error);
  CHECK(SharedMemory::create(name, {.size_bytes = 1}).error() == error);
  CHECK(SharedMemory::open_or_create(name, {.size_bytes = 1}).error() == error);
  CHECK(SharedMemory::open(name).error() == error);
  CHECK(SharedMemory::open_truncated(name).error() == error);
  CHECK(SharedMemory::open_read_only(name).error() == error);
  CHECK(SharedMemory::unlink(name).error() == error);
}

}  // namespace

TEST_CASE("a POSIX name without one slash at the start and something after it is invalid") {
  check_refused("", Error::invalid);
  check_refused("/", Error::invalid);
  check_refused("jobs", Error::invalid);
  check_refused("//jobs", Error::invalid);
  check_refused("/jobs/today", Error::invalid);
  check_refused("/jobs/", Error::invalid);
  check_refused("/.", Error::invalid);
  check_refused("/..", Error::invalid);
  check_refused("/jobs\0hidden"sv, Error::invalid);
}

TEST_CASE("a name of 256 characters is too long for every POSIX object") {
  check_refused(name_of_length(256), Error::name_too_long);
}

TEST_CASE("a name of 255 characters is good for a queue and for shared memory") {
  const auto name = name_of_length(255);
  CHECK(MessageQueue::create(name));
  CHECK(MessageQueue::unlink(name));
  CHECK(SharedMemory::create(name, {.size_bytes = 1}));
  CHECK(SharedMemory::unlink(name));
}

TEST_CASE("a semaphore's name has at most 251 characters") {
  const auto name = name_of_length(251);
  CHECK(Semaphore::create(name));
  CHECK(Semaphore::unlink(name));
  CHECK(Semaphore::create(name_of_length(252)).error() == Error::name_too_long);
}

TEST_CASE("the kinds of POSIX objects do not share their names") {
  const parley::test::PosixName name;
  CHECK(Semaphore::create(name));
  CHECK(MessageQueue::create(name));
  CHECK(SharedMemory::create(name, {.size_bytes = 1}));
}
