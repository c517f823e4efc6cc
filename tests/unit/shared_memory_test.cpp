#include <parley/shared_memory.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

#include <parley/mutex.hpp>
#include <parley/os/memfd.hpp>
#include <parley/semaphore_set.hpp>

#include "support/descriptors.hpp"
#include "support/posix_name.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

namespace {

using parley::Error;
using parley::Mutex;
using parley::SharedMemory;
using parley::os::HugePages;
using parley::os::Memfd;
using parley::test::bytes_of;
using parley::test::mappings_of;
using parley::test::TempDir;
using parley::test::text_of;

constexpr std::size_t page = 4096;

auto another(const SharedMemory& memory) -> parley::Result<SharedMemory> {
  return SharedMemory::adopt(parley::os::duplicate(memory.descriptor()).value());
}

void write_text(const SharedMemory& memory, std::string_view text) {
  std::ranges::copy(bytes_of(text), memory.map().value().bytes().begin());
}

auto read_text(const SharedMemory& memory, std::size_t size) -> std::string {
  return text_of(memory.map_read_only().value().bytes().first(size));
}

/// An object whose 8 bytes at `offset` say `value`.
auto forged(std::size_t offset, std::uint64_t value, bool growable = false)
    -> parley::Result<SharedMemory> {
  const TempDir dir;
  const auto path = dir / "memory";
  REQUIRE(SharedMemory::create(path, {.size_bytes = 10'000, .growable = growable}));
  const auto fd = parley::os::OwnedFd::from_number(::open(path.c_str(), O_RDWR));
  REQUIRE(pwrite(fd.number(), &value, sizeof value, static_cast<off_t>(offset)) == 8);
  return SharedMemory::open(path);
}

struct Point {
  std::int32_t x;
  std::int32_t y;
};

struct alignas(8192) Coarse {
  std::byte first;
};

}  // namespace

TEST_CASE("new shared memory has the size that was asked for, and is zeros") {
  for (const std::size_t size : {std::size_t{1}, page - 1, page, 3 * page + 5}) {
    CAPTURE(size);
    const auto memory = SharedMemory::create({.size_bytes = size}).value();
    CHECK(memory.size_bytes().value() == size);
    const auto mapping = memory.map().value();
    CHECK(mapping.size_bytes() == size);
    CHECK(std::ranges::all_of(mapping.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  }
}

TEST_CASE("what is written through one handle is read through another") {
  const auto memory = SharedMemory::create({.size_bytes = 100}).value();
  const auto same = another(memory).value();
  write_text(memory, "once");
  CHECK(read_text(same, 4) == "once");
}

TEST_CASE("memory starts with what its creator fills it with") {
  const TempDir dir;
  const parley::SharedMemoryOptions options{.size_bytes = 5,
                                            .fill = [](std::span<std::byte> bytes) {
                                              CHECK(bytes.size() == 5);
                                              std::ranges::copy(bytes_of("first"), bytes.begin());
                                            }};
  CHECK(read_text(SharedMemory::create(options).value(), 5) == "first");
  REQUIRE(SharedMemory::create(dir / "memory", options));
  CHECK(read_text(SharedMemory::open(dir / "memory").value(), 5) == "first");
}

TEST_CASE("memory of no bytes, or of more than there can be, is not made") {
  constexpr auto most = std::numeric_limits<std::size_t>::max();
  const TempDir dir;
  CHECK(SharedMemory::create({}).error() == Error::invalid);
  CHECK(SharedMemory::create(dir / "memory", {}).error() == Error::invalid);
  for (const std::size_t size :
       {most, most - page, most / 2, most / 2 - page, std::size_t{1} << 50U}) {
    CAPTURE(size);
    CHECK(SharedMemory::create({.size_bytes = size}).error() == Error::no_space);
    CHECK(SharedMemory::create(dir / "memory", {.size_bytes = size}).error() == Error::no_space);
    auto growable = SharedMemory::create({.size_bytes = 1, .growable = true}).value();
    CHECK(growable.grow(size).error() == Error::no_space);
    CHECK(growable.size_bytes().value() == 1);
  }
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a mapping is seen as values of a type, where they fit") {
  const auto memory = SharedMemory::create({.size_bytes = 100}).value();
  const auto mapping = memory.map().value();
  CHECK(mapping.as<std::byte>().value().size() == 100);
  CHECK(mapping.as<std::uint32_t>().value().size() == 25);
  CHECK(mapping.as<std::uint64_t>().error() == Error::invalid);
  const auto points = mapping.as<Point>({.offset_bytes = 4, .size_bytes = 16}).value();
  CHECK(points.size() == 2);
  points[1] = {.x = 7, .y = 8};
  CHECK(mapping.as<std::int32_t>().value()[3] == 7);
  CHECK(memory.map_read_only()
            .value()
            .as<Point>({.offset_bytes = 12, .size_bytes = 8})
            .value()[0]
            .y == 8);
}

TEST_CASE("values that are not aligned, not whole or not there are refused") {
  const auto memory = SharedMemory::create({.size_bytes = 3 * page}).value();
  const auto mapping = memory.map().value();
  CHECK(mapping.as<std::uint32_t>({.offset_bytes = 2, .size_bytes = 8}).error() == Error::invalid);
  CHECK(mapping.as<std::uint32_t>({.size_bytes = 6}).error() == Error::invalid);
  CHECK(mapping.as<std::uint32_t>({.size_bytes = 3 * page + 4}).error() == Error::out_of_range);
  CHECK(mapping.as<std::uint32_t>({.offset_bytes = 3 * page + 4}).error() == Error::out_of_range);
  CHECK(mapping.as<std::byte>({.offset_bytes = 3 * page}).value().empty());
  // One page of these two begins at a multiple of its alignment.
  const bool first = mapping.as<Coarse>({.offset_bytes = 0, .size_bytes = 0}).has_value();
  const bool second = mapping.as<Coarse>({.offset_bytes = page, .size_bytes = 0}).has_value();
  CHECK(first != second);
}

TEST_CASE("memory without a name cannot be shrunk by anybody, nor grown unless it may grow") {
  const auto fixed = SharedMemory::create({.size_bytes = page}).value();
  const auto growable = SharedMemory::create({.size_bytes = page, .growable = true}).value();
  CHECK(ftruncate(fixed.descriptor().number(), 1) == -1);
  CHECK(errno == EPERM);
  CHECK(ftruncate(fixed.descriptor().number(), 100 * page) == -1);
  CHECK(ftruncate(growable.descriptor().number(), 1) == -1);
  CHECK(ftruncate(growable.descriptor().number(), 100 * page) == 0);
  CHECK(growable.size_bytes().value() == 99 * page);
}

TEST_CASE("memory grows to at least what was asked for, where that was asked for at creation") {
  const TempDir dir;
  for (const bool named : {false, true}) {
    CAPTURE(named);
    const parley::SharedMemoryOptions options{.size_bytes = 10, .growable = true};
    auto memory = named ? SharedMemory::create(dir / "memory", options).value()
                        : SharedMemory::create(options).value();
    CHECK(memory.is_growable());
    write_text(memory, "kept");
    const auto old_mapping = memory.map().value();
    CHECK(memory.grow(10'000));
    CHECK(memory.grow(10'000));
    CHECK(memory.grow(1));
    CHECK(memory.size_bytes().value() == 10'000);
    CHECK(old_mapping.size_bytes() == 10);
    CHECK(read_text(memory, 5) == std::string_view("kept\0", 5));
    const auto mapping = memory.map().value();
    CHECK(mapping.bytes()[9'999] == std::byte{0});
    CHECK(another(memory).value().size_bytes().value() == 10'000);
    struct stat status{};
    REQUIRE(fstat(memory.descriptor().number(), &status) == 0);
    CHECK(status.st_blocks * 512 >= status.st_size);
  }
  auto fixed = SharedMemory::create({.size_bytes = 10}).value();
  CHECK_FALSE(fixed.is_growable());
  CHECK(fixed.grow(20).error() == Error::not_permitted);
  CHECK(fixed.size_bytes().value() == 10);
}

TEST_CASE("sealed memory is written and grown by nobody any more") {
  auto memory = SharedMemory::create({.size_bytes = 100, .growable = true}).value();
  write_text(memory, "final");
  CHECK_FALSE(memory.is_sealed().value());
  CHECK(memory.seal());
  CHECK(memory.seal());
  CHECK(memory.is_sealed().value());
  CHECK(memory.map().error() == Error::not_permitted);
  CHECK(memory.grow(1000).error() == Error::not_permitted);
  CHECK(memory.size_bytes().value() == 100);
  CHECK(write(memory.descriptor().number(), "x", 1) == -1);
  CHECK(ftruncate(memory.descriptor().number(), 9000) == -1);
  const auto same = another(memory).value();
  CHECK(same.is_sealed().value());
  CHECK(read_text(same, 5) == "final");
}

TEST_CASE("memory is not sealed while it is mapped, unless through a descriptor that only reads") {
  auto memory = SharedMemory::create({.size_bytes = 100}).value();
  {
    const auto mapping = memory.map().value();
    CHECK(memory.seal().error() == Error::busy);
  }
  {
    const auto mapping = memory.map_read_only().value();
    CHECK(memory.seal().error() == Error::busy);
  }
  const auto reader = memory.reopen_read_only().value();
  const auto mapping = reader.map_read_only().value();
  write_text(memory, "seen");
  CHECK(memory.seal());
  CHECK(text_of(mapping.bytes().first(4)) == "seen");
}

TEST_CASE("memory with a name is not sealed") {
  const TempDir dir;
  auto memory = SharedMemory::create(dir / "memory", {.size_bytes = 1}).value();
  CHECK(memory.seal().error() == Error::not_permitted);
  CHECK_FALSE(memory.is_sealed().value());
  const auto in_memory = "/dev/shm" + parley::test::PosixName().text();
  auto other = SharedMemory::create(in_memory, {.size_bytes = 1}).value();
  CHECK(SharedMemory::unlink(in_memory));
  CHECK(other.seal().error() == Error::not_permitted);
  CHECK_FALSE(other.is_sealed().value());
}

TEST_CASE("through a descriptor that only reads, memory is only read") {
  auto memory = SharedMemory::create({.size_bytes = 100, .growable = true}).value();
  write_text(memory, "read");
  CHECK_FALSE(memory.is_read_only());
  auto reader = memory.reopen_read_only().value();
  CHECK(reader.is_read_only());
  CHECK(read_text(reader, 4) == "read");
  CHECK(reader.map().error() == Error::access_denied);
  CHECK(reader.grow(1000).error() == Error::access_denied);
  CHECK(reader.seal().error() == Error::not_permitted);
  CHECK(another(reader).value().is_read_only());
  CHECK(memory.grow(1000));
  CHECK(reader.size_bytes().value() == 1000);
}

TEST_CASE("named memory is opened by its path, and its name goes alone") {
  const TempDir dir;
  const auto path = dir / "memory";
  CHECK(SharedMemory::open(path).error() == Error::not_found);
  const auto memory = SharedMemory::create(path, {.size_bytes = 10, .mode = 0640}).value();
  CHECK(SharedMemory::create(path, {.size_bytes = 10}).error() == Error::exists);
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 0640);
  write_text(memory, "named");
  CHECK(read_text(SharedMemory::open(path).value(), 5) == "named");
  CHECK(SharedMemory::open_or_create(path, {.size_bytes = 99}).value().size_bytes().value() == 10);
  const auto reader = SharedMemory::open_read_only(path).value();
  CHECK(reader.is_read_only());
  CHECK(reader.map().error() == Error::access_denied);
  CHECK(SharedMemory::unlink(path));
  CHECK(SharedMemory::open(path).error() == Error::not_found);
  CHECK(SharedMemory::unlink(path).error() == Error::not_found);
  CHECK(read_text(reader, 5) == "named");
  CHECK(SharedMemory::open_or_create(path, {.size_bytes = 99}).value().size_bytes().value() == 99);
  CHECK(SharedMemory::create("", {.size_bytes = 1}).error() == Error::invalid);
}

TEST_CASE("what is no shared memory is not adopted") {
  const TempDir dir;
  const auto adopt = [](const char* path, int flags) {
    return SharedMemory::adopt(parley::os::OwnedFd::from_number(::open(path, flags)));
  };
  const auto path = dir / "file";
  std::ofstream(path) << "short";
  CHECK(adopt(path.c_str(), O_RDWR).error() == Error::invalid);
  std::ofstream(path) << std::string(3 * page, 'x');
  CHECK(adopt(path.c_str(), O_RDWR).error() == Error::invalid);
  CHECK(adopt(path.c_str(), O_WRONLY).error() == Error::invalid);
  CHECK(adopt(path.c_str(), O_PATH).error() == Error::invalid);
  CHECK(adopt("/dev/null", O_RDWR).error() == Error::invalid);
  CHECK(adopt("/", O_RDONLY).error() == Error::invalid);
  CHECK(
      SharedMemory::adopt(Memfd::create("x", {.size_bytes = 3 * page}).value().into_fd()).error() ==
      Error::invalid);
  CHECK(SharedMemory::adopt(parley::os::OwnedFd()).error() == Error::bad_descriptor);
}

TEST_CASE("objects of one kind are not opened as another") {
  const auto memory = SharedMemory::create({.size_bytes = 9000}).value();
  const auto mutex = Mutex::create().value();
  const auto copy = [](const auto& object) {
    return parley::os::duplicate(object.descriptor()).value();
  };
  CHECK(Mutex::adopt(copy(memory)).error() == Error::wrong_kind);
  CHECK(parley::SemaphoreSet::adopt(copy(memory)).error() == Error::wrong_kind);
  CHECK(SharedMemory::adopt(copy(mutex)).error() == Error::wrong_kind);
}

TEST_CASE("a header that contradicts itself or the file is not believed") {
  CHECK(forged(8192, 1));  // in the body
  CHECK(forged(0, 1).error() == Error::invalid);
  CHECK(forged(8, 2 | std::uint64_t{3} << 32U).error() == Error::not_supported);
  CHECK(forged(8, 1 | std::uint64_t{1} << 32U).error() == Error::wrong_kind);
  CHECK(forged(16, 2).error() == Error::not_supported);
  CHECK(forged(16, 1 | std::uint64_t{2} << 32U).error() == Error::corrupt);
  CHECK(forged(24, 1).error() == Error::not_supported);
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{4096}, std::uint64_t{14'095},
                                    std::uint64_t{14'097}, most}) {
    CAPTURE(bytes);
    CHECK(forged(32, bytes).error() == Error::corrupt);
  }
  CHECK(forged(32, 14'095, true).value().size_bytes().value() == 10'000);
  CHECK(forged(32, 14'097, true).error() == Error::corrupt);
  CHECK(forged(32, 4096, true).error() == Error::corrupt);
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{128},
                                     std::uint64_t{12'288}, std::uint64_t{16'384}, most}) {
    CAPTURE(offset);
    CHECK(forged(40, offset).error() == Error::corrupt);
  }
  CHECK(forged(40, 8192).value().size_bytes().value() == 14'096 - 8192);
  CHECK(forged(128, 2).error() == Error::corrupt);
}

TEST_CASE("named memory that is truncated while it is mapped is corrupt, and zeros to the reader") {
  const TempDir dir;
  const auto path = dir / "memory";
  auto memory = SharedMemory::create(path, {.size_bytes = 3 * page, .growable = true}).value();
  auto mapping = memory.map().value();
  auto reader = memory.reopen_read_only().value().map_read_only().value();
  CHECK(mapping.check());
  REQUIRE(truncate(path.c_str(), 10) == 0);
  mapping.bytes()[2 * page] = std::byte{1};
  CHECK(mapping.check().error() == Error::corrupt);
  CHECK(reader.check());
  CHECK(reader.bytes()[2 * page] == std::byte{0});
  CHECK(reader.check().error() == Error::corrupt);
  const auto moved = std::move(reader);
  CHECK(moved.check().error() == Error::corrupt);
  CHECK(memory.size_bytes().error() == Error::corrupt);
  CHECK(memory.map().error() == Error::corrupt);
  CHECK(memory.map_read_only().error() == Error::corrupt);
  CHECK(memory.grow(9 * page).error() == Error::corrupt);
  CHECK(SharedMemory::open(path).error() == Error::invalid);
  REQUIRE(truncate(path.c_str(), 0) == 0);
  CHECK(memory.grow(9 * page).error() == Error::corrupt);
}

TEST_CASE("memory that is shorter than it once was is corrupt") {
  const TempDir dir;
  const auto path = dir / "memory";
  auto memory = SharedMemory::create(path, {.size_bytes = page, .growable = true}).value();
  CHECK(memory.grow(9 * page));
  REQUIRE(truncate(path.c_str(), 5 * page) == 0);
  CHECK(SharedMemory::open(path).error() == Error::corrupt);
  CHECK(memory.grow(20 * page).error() == Error::corrupt);
}

TEST_CASE("memory of huge pages is made of whole ones, where the machine has any") {
  const auto made = SharedMemory::create(
      {.size_bytes = std::size_t{1} << 21U, .growable = true, .huge_pages = HugePages::mib_2});
  if (!made) {
    CHECK((made.error() == Error::no_space || made.error() == Error::out_of_memory));
    return parley::test::skip("the pool of huge pages is empty");
  }
  CHECK(made->map().value().bytes().size() == std::size_t{1} << 21U);
  write_text(*made, "huge");
  CHECK(read_text(another(*made).value(), 4) == "huge");
  CHECK(another(*made).value().grow(std::size_t{3} << 20U).error() == Error::invalid);
}

TEST_CASE("huge pages are for memory without a name, and for whole pages") {
  const TempDir dir;
  CHECK(SharedMemory::create(dir / "memory",
                             {.size_bytes = std::size_t{1} << 21U, .huge_pages = HugePages::mib_2})
            .error() == Error::invalid);
  CHECK(SharedMemory::create({.size_bytes = 1, .huge_pages = HugePages::mib_2}).error() ==
        Error::invalid);
}

TEST_CASE("handles and mappings that go leave no descriptor and no memory") {
  const auto before = parley::test::open_descriptors();
  {
    auto memory = SharedMemory::create({.size_bytes = page}).value();
    auto mapping = memory.map().value();
    auto reader = memory.map_read_only().value();
    mapping = memory.map().value();
    memory = SharedMemory::create({.size_bytes = 2 * page}).value();
    CHECK(memory.size_bytes().value() == 2 * page);
    const auto moved = std::move(memory);
    CHECK(moved.size_bytes().value() == 2 * page);
    CHECK(mappings_of("memfd:parley") == 2);
  }
  CHECK(parley::test::open_descriptors() == before);
  CHECK(mappings_of("memfd:parley") == 0);
}
