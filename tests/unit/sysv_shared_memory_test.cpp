#include <parley/os/sysv/shared_memory.hpp>

#include <doctest/doctest.h>

#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "support/skip.hpp"
#include "support/sysv.hpp"

using namespace std::chrono_literals;
using parley::Error;
using parley::os::sysv::Attachment;
using parley::os::sysv::Key;
using parley::os::sysv::SharedMemory;
using parley::os::sysv::SharedMemoryStatus;
using parley::test::OwnKey;
using parley::test::Scoped;
using parley::test::skip;

namespace {

auto new_segment(std::size_t size_bytes = 10'000) -> SharedMemory {
  return SharedMemory::create(Key::private_key(), size_bytes).value();
}

/// An address at which SHMLBA bytes, aligned to that, were mapped a moment ago.
auto free_address(const SharedMemory& memory) -> std::byte* {
  return memory.attach().value().bytes().data();
}

}  // namespace

TEST_CASE(
    "a new segment is of zeros, has the size that was asked for and is seen by all who attach") {
  const Scoped memory(new_segment());
  CHECK(memory->size_bytes() == 10'000);
  const auto one = memory->attach().value();
  const auto two = memory->attach_read_only().value();
  CHECK(one.bytes().size() == 10'000);
  CHECK(one.bytes().data() != two.bytes().data());
  CHECK(std::ranges::all_of(two.bytes(), [](std::byte byte) { return byte == std::byte{}; }));
  one.bytes()[9'999] = std::byte{42};
  CHECK(two.bytes()[9'999] == std::byte{42});
}

TEST_CASE("an attachment shows its bytes as items of a type, read-only where it is") {
  const Scoped memory(new_segment(18));
  const auto one = memory->attach().value();
  one.as<std::uint64_t>()[1] = 7;
  const auto two = memory->attach_read_only().value();
  CHECK(two.as<std::uint64_t>().size() == 2);
  CHECK(two.as<std::uint64_t>()[1] == 7);
  static_assert(std::is_same_v<decltype(one.as<int>()), std::span<int>>);
  static_assert(std::is_same_v<decltype(two.as<int>()), std::span<const int>>);
  static_assert(std::is_same_v<decltype(two.bytes()), std::span<const std::byte>>);
}

TEST_CASE("attachments are counted and end with their owner") {
  static_assert(!std::is_copy_constructible_v<Attachment>);
  const Scoped memory(new_segment());
  const auto count = [&] { return memory->status().value().attachment_count; };
  CHECK(count() == 0);
  {
    auto one = memory->attach().value();
    const auto two = memory->attach_read_only().value();
    CHECK(count() == 2);
    const Attachment moved = std::move(one);
    CHECK(one.bytes().empty());
    CHECK(count() == 2);
    auto third = memory->attach().value();
    third = memory->attach().value();
    CHECK(count() == 3);
  }
  CHECK(count() == 0);
}

TEST_CASE("detaching by hand tells whether something was attached") {
  const Scoped memory(new_segment());
  auto one = memory->attach().value();
  CHECK(std::move(one).detach());
  CHECK(memory->status()->attachment_count == 0);
  CHECK(std::move(one).detach().error() == Error::invalid);
}

TEST_CASE("memory is attached at an address that is aligned, free or to be replaced") {
  const Scoped memory(new_segment(4096));
  std::byte* const address = free_address(*memory);
  CHECK(memory->attach({.address = address + 1}).error() == Error::invalid);
  const auto there = memory->attach({.address = address + 1, .round_down = true}).value();
  CHECK(there.bytes().data() == address);
  CHECK(memory->attach({.address = address}).error() == Error::invalid);
  CHECK(memory->attach({.replace = true}).error() == Error::invalid);
  there.bytes()[0] = std::byte{1};

  const Scoped other(new_segment(4096));
  auto replaced = other->attach({.address = address, .replace = true}).value();
  CHECK(replaced.bytes().data() == address);
  CHECK(there.bytes()[0] == std::byte{});
  CHECK(memory->status()->attachment_count == 0);
  CHECK(std::move(replaced).detach());
}

TEST_CASE("memory that is marked for removal has no key and goes with its last attachment") {
  const OwnKey own;
  const Scoped memory(SharedMemory::create(own.key(), 4096).value());
  {
    const auto attached = memory->attach().value();
    CHECK_FALSE(memory->status()->marked_for_removal);
    CHECK(memory->remove());
    CHECK(SharedMemory::open(own.key()).error() == Error::not_found);
    CHECK(memory->status()->marked_for_removal);
    CHECK(memory->status()->permissions.key.is_private());
    attached.bytes()[0] = std::byte{5};
    CHECK(memory->attach().value().bytes()[0] == std::byte{5});  // Linux: by id, still
    CHECK(memory->status());
  }
  CHECK(memory->status().error() == Error::invalid);
  CHECK(memory->attach().error() == Error::invalid);
}

TEST_CASE("segments are created, opened, adopted and removed as their keys and ids say") {
  const OwnKey own;
  CHECK(SharedMemory::open(own.key()).error() == Error::not_found);
  CHECK(SharedMemory::open(Key::private_key()).error() == Error::invalid);
  CHECK(SharedMemory::create(own.key(), 0).error() == Error::invalid);
  CHECK(SharedMemory::create(own.key(), SIZE_MAX).error() == Error::invalid);
  const Scoped memory(SharedMemory::open_or_create(own.key(), 5000).value());
  CHECK(SharedMemory::create(own.key(), 5000).error() == Error::exists);
  CHECK(SharedMemory::open_or_create(own.key(), 5000).value().id() == memory->id());
  CHECK(SharedMemory::open_or_create(own.key(), 1).value().size_bytes() == 5000);
  CHECK(SharedMemory::open_or_create(own.key(), 5001).error() == Error::invalid);
  CHECK(SharedMemory::open(own.key(), {.needed_mode = 0600}).value().size_bytes() == 5000);
  CHECK(SharedMemory::adopt(memory->id()).value().size_bytes() == 5000);
  CHECK(memory->remove());
  CHECK(memory->remove().error() == Error::invalid);
  CHECK(memory->status().error() == Error::invalid);
  CHECK(memory->attach_read_only().error() == Error::invalid);
  CHECK(memory->lock().error() == Error::invalid);
  CHECK(SharedMemory::adopt(memory->id()).error() == Error::invalid);
}

TEST_CASE("the status of a segment tells its size, permissions, times and processes") {
  const OwnKey own;
  // The kernel tells whole seconds, of a clock that is a tick behind this one.
  const auto start = std::chrono::system_clock::now() - 2s;
  const Scoped memory(SharedMemory::create(own.key(), 123, {.mode = 0640}).value());
  const auto fresh = memory->status().value();
  CHECK(fresh.id == memory->id());
  CHECK(fresh.size_bytes == 123);
  CHECK(fresh.permissions.key == own.key());
  CHECK(fresh.permissions.access.mode == 0640);
  CHECK(fresh.permissions.access.uid == geteuid());
  CHECK(fresh.creator == getpid());
  CHECK(fresh.last_process == 0);
  CHECK_FALSE(fresh.last_attach.has_value());
  CHECK_FALSE(fresh.last_detach.has_value());
  CHECK(fresh.last_change >= start);
  CHECK_FALSE(fresh.locked);
  CHECK(memory->attach());
  const auto used = memory->status().value();
  CHECK(used.last_process == getpid());
  CHECK(used.last_attach >= start);
  CHECK(used.last_detach >= start);
  CHECK(memory->set_access({.uid = geteuid(), .gid = 12345, .mode = 0604}));
  CHECK(memory->status()->permissions.access.gid == 12345);
  CHECK(memory->status()->permissions.access.mode == 0604);
  CHECK(memory->status()->permissions.creator_gid == getegid());
}

TEST_CASE("a segment is locked into memory and unlocked") {
  const Scoped memory(new_segment());
  if (const auto locked = memory->lock(); !locked) {
    skip(parley::message(locked.error()).c_str());
    return;
  }
  CHECK(memory->status()->locked);
  CHECK(memory->unlock());
  CHECK_FALSE(memory->status()->locked);
}

TEST_CASE("a segment is made without reserve") {
  const Scoped memory(SharedMemory::create(Key::private_key(), 4096, {.no_reserve = true}).value());
  CHECK(memory->attach());
}

TEST_CASE("a segment is made of huge pages where the system has some") {
  const auto create = [](std::size_t page_bytes) {
    return SharedMemory::create(Key::private_key(), 4096, {.huge_page_bytes = page_bytes});
  };
  CHECK(create(3).error() == Error::invalid);
  CHECK(create(std::size_t{1} << 40).error() == Error::invalid);
  const auto huge = create(0);
  if (!huge) {
    skip(parley::message(huge.error()).c_str());
    return;
  }
  const Scoped removed(*huge);
  CHECK(removed->attach().value().bytes().size() == 4096);
}

TEST_CASE("the listing of segments has every segment and no removed one") {
  const Scoped memory(new_segment(777));
  const auto gone = new_segment();
  REQUIRE(gone.remove());
  const auto all = SharedMemory::list().value();
  const auto find = [&](int id) { return std::ranges::find(all, id, &SharedMemoryStatus::id); };
  REQUIRE(find(memory->id()) != all.end());
  CHECK(find(memory->id())->size_bytes == 777);
  CHECK(find(gone.id()) == all.end());
}

TEST_CASE("the limits of shared memory and what is in use of them can be read") {
  const auto limits = SharedMemory::limits().value();
  CHECK(limits.segments > 0);
  CHECK(limits.least_bytes == 1);
  CHECK(limits.most_bytes > 0);
  CHECK(limits.all_pages > 0);
  const Scoped memory(new_segment());
  memory->attach().value().bytes()[0] = std::byte{1};
  const auto usage = SharedMemory::usage().value();
  CHECK(usage.segments >= 1);
  CHECK(usage.all_pages >= 1);
  CHECK(usage.resident_pages + usage.swapped_pages >= 1);
}

TEST_CASE("memory is attached executable where its mode allows it") {
  const Scoped memory(SharedMemory::create(Key::private_key(), 4096, {.mode = 0700}).value());
  CHECK(memory->attach({.executable = true}));
  CHECK(memory->attach_read_only({.executable = true}));
}

TEST_CASE("a handle of shared memory is copied like a number") {
  static_assert(std::is_trivially_copyable_v<SharedMemory>);
  const Scoped memory(new_segment());
  {
    const SharedMemory copy = *memory;
    CHECK(copy.id() == memory->id());
  }
  CHECK(memory->status());
}
