#include <parley/os/posix/shared_memory.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <parley/os/pipe.hpp>

#include "support/descriptors.hpp"
#include "support/posix_name.hpp"
#include "support/skip.hpp"

using namespace parley::os;
using parley::Error;
using parley::os::posix::SharedMemory;
using parley::test::bytes_of;
using parley::test::PosixName;
using parley::test::text_of;

namespace {

void put(const WritableMemory& memory, std::string_view text) {
  std::ranges::copy(bytes_of(text), memory.map().value().bytes().begin());
}

auto get(const MemoryObject& memory, std::size_t size_bytes) -> std::string {
  return text_of(memory.map_read_only().value().bytes().first(size_bytes));
}

}  // namespace

TEST_CASE("shared memory is found by its name, of its size, zeroed, with memory behind it") {
  const PosixName name;
  const auto memory = SharedMemory::create(name, {.size_bytes = 100'000}).value();
  const auto same = SharedMemory::open(name).value();
  const auto status = same.status().value();
  CHECK(status.size_bytes == 100'000);
  CHECK(status.allocated_bytes >= 100'000);
  CHECK(status.owner == Owner{.uid = geteuid(), .gid = getegid()});
  CHECK(status.name_count == 1);
  CHECK(get(same, 100'000) == std::string(100'000, '\0'));
  put(memory, "both");
  CHECK(get(same, 4) == "both");
  CHECK(closes_on_exec(memory.fd()).value());
  CHECK(closes_on_exec(same.fd()).value());
}

TEST_CASE("shared memory that is not to be reserved has no memory behind it until it is touched") {
  const auto memory =
      SharedMemory::create_unnamed({.size_bytes = 100'000, .reserve = false}).value();
  CHECK(memory.status().value().allocated_bytes == 0);
}

TEST_CASE("a name that is taken is not made again, and one that is not there is not found") {
  const PosixName name;
  CHECK(SharedMemory::open(name).error() == Error::not_found);
  CHECK(SharedMemory::open_read_only(name).error() == Error::not_found);
  CHECK(SharedMemory::unlink(name).error() == Error::not_found);
  const auto first = SharedMemory::open_or_create(name, {.size_bytes = 1}).value();
  CHECK(SharedMemory::create(name, {.size_bytes = 2}).error() == Error::exists);
  CHECK(SharedMemory::open_or_create(name, {.size_bytes = 2}).value().size_bytes().value() == 1);
}

TEST_CASE("shared memory has the mode that was asked for, less the umask") {
  const PosixName name;
  const mode_t before = umask(027);
  const auto memory = SharedMemory::create(name, {.size_bytes = 1, .mode = 0666});
  umask(before);
  CHECK(memory.value().status().value().mode == 0640);
}

TEST_CASE("unnamed shared memory is filled first and found, whole, once it is published") {
  const PosixName name;
  auto memory = SharedMemory::create_unnamed({.size_bytes = 16}).value();
  CHECK(memory.status().value().name_count == 0);
  put(memory, "complete");
  CHECK(SharedMemory::open(name).error() == Error::not_found);
  REQUIRE(memory.publish(name));
  CHECK(get(SharedMemory::open_read_only(name).value(), 8) == "complete");
}

TEST_CASE("publishing under a name that is taken leaves both objects as they were") {
  const PosixName name;
  const PosixName other;
  const auto first = SharedMemory::create(name, {.size_bytes = 1}).value();
  auto second = SharedMemory::create_unnamed({.size_bytes = 2}).value();
  CHECK(second.publish(name).error() == Error::exists);
  CHECK(SharedMemory::open(name).value().size_bytes().value() == 1);
  REQUIRE(second.publish(other));
  CHECK(SharedMemory::open(other).value().size_bytes().value() == 2);
}

TEST_CASE("shared memory that was opened read-only cannot be mapped writable") {
  const PosixName name;
  const auto memory = SharedMemory::create(name, {.size_bytes = 1}).value();
  const auto reader = SharedMemory::open_read_only(name).value();
  CHECK(Mapping::of(reader.fd()).error() == Error::access_denied);
  CHECK(reader.map_read_only().value().protect({.write = true}).error() == Error::access_denied);
}

TEST_CASE("opening truncated empties the object for all") {
  const PosixName name;
  const auto memory = SharedMemory::create(name, {.size_bytes = 8}).value();
  CHECK(SharedMemory::open_truncated(name).value().size_bytes().value() == 0);
  CHECK(memory.size_bytes().value() == 0);
  CHECK(memory.map().error() == Error::invalid);
}

TEST_CASE("what another program has named and not yet sized can be opened, but not mapped") {
  const PosixName name;
  const auto theirs =
      OwnedFd::from_number(shm_open(name.text().c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  const auto ours = SharedMemory::open_or_create(name, {.size_bytes = 10}).value();
  CHECK(ours.size_bytes().value() == 0);
  CHECK(ours.map().error() == Error::invalid);
  REQUIRE(ftruncate(theirs.number(), 10) == 0);
  CHECK(ours.map().value().size_bytes() == 10);
}

TEST_CASE("unlinked shared memory is used on by who has it, and its name is free") {
  const PosixName name;
  const auto memory = SharedMemory::create(name, {.size_bytes = 8}).value();
  const auto opened = SharedMemory::open(name).value();
  REQUIRE(SharedMemory::unlink(name));
  CHECK(SharedMemory::open(name).error() == Error::not_found);
  put(memory, "alive");
  CHECK(get(opened, 5) == "alive");
  CHECK(opened.status().value().name_count == 0);
  CHECK(SharedMemory::create(name, {.size_bytes = 8}));
}

TEST_CASE("shared memory is resized") {
  auto memory = SharedMemory::create_unnamed({.size_bytes = 8}).value();
  put(memory, "12345678");
  REQUIRE(memory.resize(4));
  REQUIRE(memory.resize(8));
  CHECK(get(memory, 8) == std::string("1234\0\0\0\0", 8));
  REQUIRE(memory.set_mode(0400));
  CHECK(memory.status().value().mode == 0400);
}

TEST_CASE("the limits of shared memory are readable, and more than them is no space") {
  const auto limits = SharedMemory::limits().value();
  if (limits.size_bytes == 0) return parley::test::skip("/dev/shm has no limit");
  CHECK(limits.size_bytes >= limits.available_bytes);
  CHECK(SharedMemory::create_unnamed({.size_bytes = limits.size_bytes + 1}).error() ==
        Error::no_space);
}

TEST_CASE("adopting shared memory takes a file that is open for both and nothing else") {
  const PosixName name;
  const auto memory = SharedMemory::create(name, {.size_bytes = 3}).value();
  CHECK(SharedMemory::adopt(duplicate(memory.fd()).value()).value().size_bytes().value() == 3);
  auto reader = SharedMemory::open_read_only(name).value();
  CHECK(SharedMemory::adopt(std::move(reader).into_fd()).error() == Error::invalid);
  auto pipe = Pipe::create().value();
  CHECK(SharedMemory::adopt(std::move(pipe.reader).into_fd()).error() == Error::invalid);
}
