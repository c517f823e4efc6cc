#include <parley/os/mapping.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <parley/os/memfd.hpp>

#include "support/descriptors.hpp"
#include "support/posix_name.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::bytes_of;
using parley::test::mappings_of;
using parley::test::skip;
using parley::test::text_of;

namespace {

const std::size_t page = static_cast<std::size_t>(getpagesize());

template <class Memory>
concept CanWrite = requires(Memory memory) { memory.bytes()[0] = std::byte{1}; };

auto memory_of(std::size_t pages) -> Memfd {
  return Memfd::create("parley-test-mapping", {.size_bytes = pages * page}).value();
}

void put(const Mapping& mapping, std::string_view text, std::size_t offset_bytes = 0) {
  std::ranges::copy(bytes_of(text), mapping.bytes().subspan(offset_bytes).begin());
}

auto get(const auto& mapping, std::size_t size_bytes, std::size_t offset_bytes = 0) -> std::string {
  return text_of(mapping.bytes().subspan(offset_bytes, size_bytes));
}

/// The letters that /proc/self/maps shows for the page at `address`: "rw-s".
auto permissions_of(const void* address) -> std::string {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::size_t dash = 0;
    const auto start = std::stoull(line, &dash, 16);
    const auto end = std::stoull(line.substr(dash + 1), nullptr, 16);
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (at >= start && at < end) return line.substr(line.find(' ') + 1, 4);
  }
  return "none";
}

/// The sanitizers take munlock(2) away from the program.
#ifdef __SANITIZE_ADDRESS__
constexpr bool unlocks = false;
#else
constexpr bool unlocks = true;
#endif

auto locked_kib() -> long {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmLck:")) return std::stol(line.substr(6));
  }
  return -1;
}

}  // namespace

TEST_CASE("writing through a read-only mapping does not compile") {
  static_assert(CanWrite<Mapping> && !CanWrite<ReadMapping>);
  static_assert(!std::is_copy_constructible_v<Mapping>);
}

TEST_CASE("what is written to a shared mapping is seen in every other mapping of the object") {
  const auto memory = memory_of(2);
  const auto writer = memory.map().value();
  const auto reader = memory.map_read_only().value();
  CHECK(reader.size_bytes() == 2 * page);
  put(writer, "shared", page);
  CHECK(get(reader, 6, page) == "shared");
}

TEST_CASE("what is written to a private copy is not in the object") {
  const auto memory = memory_of(1);
  const auto copy = memory.map({.sharing = MapSharing::private_copy}).value();
  put(copy, "mine");
  CHECK(get(copy, 4) == "mine");
  CHECK(get(memory.map_read_only().value(), 4) == std::string(4, '\0'));
}

TEST_CASE("a mapping of a part begins at its offset, which is a multiple of the page size") {
  const auto memory = memory_of(3);
  put(memory.map().value(), "here", page);
  const auto rest = memory.map_read_only({.range = {.offset_bytes = page}}).value();
  CHECK(rest.size_bytes() == 2 * page);
  CHECK(get(rest, 4) == "here");
  const auto part =
      memory.map_read_only({.range = {.offset_bytes = page, .size_bytes = 4}}).value();
  CHECK(part.size_bytes() == 4);
  CHECK(memory.map({.range = {.offset_bytes = 1}}).error() == Error::invalid);
}

TEST_CASE("an empty object, and a range that begins at its end, cannot be mapped") {
  const auto memory = memory_of(0);
  CHECK(memory.map().error() == Error::invalid);
  const auto one = memory_of(1);
  CHECK(one.map({.range = {.offset_bytes = page}}).error() == Error::invalid);
  CHECK(one.map({.range = {.size_bytes = 0}}).error() == Error::invalid);
}

TEST_CASE("what a descriptor may not do, its shared mapping may not either") {
  const parley::test::TempDir directory;
  const std::string path = directory / "file";
  const auto writer =
      OwnedFd::from_number(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(ftruncate(writer.number(), 10) == 0);
  const auto reader = OwnedFd::from_number(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(ReadMapping::of(writer).error() == Error::access_denied);
  CHECK(Mapping::of(reader).error() == Error::access_denied);
  CHECK(Mapping::of(reader, {.sharing = MapSharing::private_copy}));
  CHECK(ReadMapping::of(reader).value().protect({.write = true}).error() == Error::access_denied);
  CHECK(ReadMapping::of(BorrowedFd::from_number(-1)).error() == Error::bad_descriptor);
}

TEST_CASE("anonymous memory is zeroed and needs a size") {
  const auto memory = Mapping::anonymous(2 * page).value();
  CHECK(memory.size_bytes() == 2 * page);
  CHECK(get(memory, 2 * page) == std::string(2 * page, '\0'));
  CHECK(permissions_of(memory.bytes().data()) == "rw-s");
  const auto own = Mapping::anonymous(page, {.sharing = MapSharing::private_copy}).value();
  CHECK(permissions_of(own.bytes().data()) == "rw-p");
  CHECK(Mapping::anonymous(0).error() == Error::invalid);
}

TEST_CASE("a mapping at an address replaces nothing that is there") {
  auto first = Mapping::anonymous(page).value();
  put(first, "kept");
  void* const address = first.bytes().data();
  CHECK(Mapping::anonymous(page, {.address = address}).error() == Error::exists);
  CHECK(get(first, 4) == "kept");
  {
    const auto gone = std::move(first);
  }
  const auto there = Mapping::anonymous(page, {.address = address}).value();
  CHECK(there.bytes().data() == address);
}

TEST_CASE("a mapping is unmapped once: at its end, by the one that it was moved to") {
  const auto memory = memory_of(1);
  {
    auto first = memory.map().value();
    CHECK(mappings_of("parley-test-mapping") == 1);
    auto second = std::move(first);
    CHECK(first.size_bytes() == 0);
    CHECK(mappings_of("parley-test-mapping") == 1);
    second = memory.map_read_only().value().size_bytes() == page ? memory.map().value()
                                                                 : std::move(second);
    CHECK(mappings_of("parley-test-mapping") == 1);
  }
  CHECK(mappings_of("parley-test-mapping") == 0);
}

TEST_CASE("populating makes every page present at once") {
  const auto memory = memory_of(16);
  const auto lazy = memory.map().value();
  CHECK(memory.status().value().allocated_bytes == 0);
  const auto populated = memory.map({.populate = true}).value();
  CHECK(memory.status().value().allocated_bytes == 16 * page);
}

TEST_CASE("a mapping can be made executable, locked and without a promise of swap space") {
  const auto memory = memory_of(1);
  const auto code = memory.map_read_only({.execute = true, .no_reserve = true}).value();
  CHECK(permissions_of(code.bytes().data()) == "r-xs");
  const auto before = locked_kib();
  const auto locked = memory.map({.locked = true}).value();
  CHECK(locked_kib() == before + static_cast<long>(page / 1024));
}

TEST_CASE("a mapping grows after its object and keeps what it held") {
  auto memory = memory_of(1);
  auto mapping = memory.map().value();
  put(mapping, "kept");
  REQUIRE(memory.resize(64 * page));
  REQUIRE(mapping.resize(64 * page));
  CHECK(mapping.size_bytes() == 64 * page);
  CHECK(get(mapping, 4) == "kept");
  put(mapping, "new", 63 * page);
  CHECK(get(memory.map_read_only().value(), 3, 63 * page) == "new");
  REQUIRE(mapping.resize(page));
  CHECK(mapping.size_bytes() == page);
  CHECK(mapping.resize(0).error() == Error::invalid);
  CHECK(mapping.size_bytes() == page);
}

TEST_CASE("a mapping grows in place only where nothing is in the way") {
  auto memory = memory_of(4);
  auto mapping = memory.map().value();
  REQUIRE(mapping.resize_in_place(page));
  REQUIRE(mapping.resize_in_place(2 * page));
  const auto in_the_way =
      Mapping::anonymous(page, {.address = mapping.bytes().data() + 2 * page}).value();
  CHECK(mapping.resize_in_place(3 * page).error() == Error::out_of_memory);
  CHECK(mapping.size_bytes() == 2 * page);
}

TEST_CASE("protection is changed page by page") {
  auto mapping = Mapping::anonymous(3 * page).value();
  const std::byte* const start = mapping.bytes().data();
  REQUIRE(mapping.protect({.read = false}, {.offset_bytes = page, .size_bytes = page}));
  CHECK(permissions_of(start) == "rw-s");
  CHECK(permissions_of(start + page) == "---s");
  CHECK(permissions_of(start + 2 * page) == "rw-s");
  REQUIRE(mapping.protect({.execute = true}));
  CHECK(permissions_of(start + page) == "r-xs");
  REQUIRE(mapping.protect({.write = true}));
  CHECK(permissions_of(start) == "rw-s");
  CHECK(mapping.protect({}, {.offset_bytes = 1}).error() == Error::invalid);
}

TEST_CASE("a range outside of the mapping is out of range for every call") {
  auto mapping = Mapping::anonymous(page).value();
  const ByteRange past{.offset_bytes = page + 1};
  const ByteRange long_one{.offset_bytes = 0, .size_bytes = page + 1};
  for (const ByteRange& range : {past, long_one}) {
    CHECK(mapping.sync({}, range).error() == Error::out_of_range);
    CHECK(mapping.advise(Advice::normal, range).error() == Error::out_of_range);
    CHECK(mapping.protect({}, range).error() == Error::out_of_range);
    CHECK(mapping.lock(LockWhen::now, range).error() == Error::out_of_range);
    CHECK(mapping.unlock(range).error() == Error::out_of_range);
  }
}

TEST_CASE("advice is taken, and what the pages cannot do is invalid") {
  auto own = Mapping::anonymous(page, {.sharing = MapSharing::private_copy}).value();
  put(own, "gone");
  REQUIRE(own.advise(Advice::dont_need));
  CHECK(get(own, 4) == std::string(4, '\0'));
  for (const Advice advice :
       {Advice::normal, Advice::random, Advice::sequential, Advice::will_need, Advice::free,
        Advice::dont_fork, Advice::do_fork, Advice::wipe_on_fork, Advice::keep_on_fork,
        Advice::dont_dump, Advice::do_dump, Advice::cold, Advice::page_out}) {
    CAPTURE(static_cast<int>(advice));
    CHECK(own.advise(advice));
  }
  const auto memory = memory_of(4);
  auto shared = memory.map().value();
  CHECK(shared.advise(Advice::wipe_on_fork).error() == Error::invalid);
  CHECK(shared.advise(Advice{12345}).error() == Error::invalid);
  CHECK(shared.advise(Advice::normal, {.offset_bytes = 1}).error() == Error::invalid);
  put(shared, "hole");
  CHECK(memory.status().value().allocated_bytes == page);
  REQUIRE(shared.advise(Advice::remove));
  CHECK(memory.status().value().allocated_bytes == 0);
  CHECK(get(shared, 4) == std::string(4, '\0'));
}

TEST_CASE("advice makes pages present before they are touched") {
  const auto memory = memory_of(4);
  auto shared = memory.map().value();
  const auto populated = shared.advise(Advice::populate_write);
  if (!populated && populated.error() == Error::invalid) {
    skip("this kernel has no MADV_POPULATE_WRITE (before Linux 5.14)");
    return;
  }
  REQUIRE(populated);
  CHECK(memory.status().value().allocated_bytes == 4 * page);
}

TEST_CASE("pages are locked at once or from their first touch, and unlocked again") {
  const auto memory = memory_of(8);
  auto mapping = memory.map().value();
  const auto before = locked_kib();
  const auto all_kib = static_cast<long>(8 * page / 1024);
  REQUIRE(mapping.lock(LockWhen::on_fault));
  CHECK(locked_kib() == before + all_kib);
  CHECK(memory.status().value().allocated_bytes == 0);
  REQUIRE(mapping.lock());
  CHECK(memory.status().value().allocated_bytes == 8 * page);
  CHECK(mapping.sync({.invalidate = true}).error() == Error::busy);
  REQUIRE(mapping.unlock({.size_bytes = 4 * page}));
  if (unlocks) CHECK(locked_kib() == before + all_kib / 2);
  REQUIRE(mapping.unlock());
  if (unlocks) CHECK(locked_kib() == before);
}

TEST_CASE("a file's mapping is written back to the file") {
  const parley::test::TempDir directory;
  const std::string path = directory / "file";
  const auto fd = OwnedFd::from_number(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(ftruncate(fd.number(), 8) == 0);
  auto mapping = Mapping::of(fd).value();
  put(mapping, "contents");
  CHECK(mapping.sync());
  CHECK(mapping.sync({.wait = false}));
  CHECK(mapping.sync({.invalidate = true}));
  std::string read;
  std::getline(std::ifstream(path), read);
  CHECK(read == "contents");
}
