#include <parley/os/memfd.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <parley/os/pipe.hpp>
#include <parley/os/posix/shared_memory.hpp>

#include "support/descriptors.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::bytes_of;
using parley::test::text_of;

namespace {

const std::size_t page = static_cast<std::size_t>(getpagesize());

auto write_at_start(BorrowedFd fd) -> bool {
  return pwrite(fd.number(), "x", 1, 0) == 1;
}

auto can_decide_execution() -> bool {
  const auto memory = Memfd::create("parley-test", {.execution = MemfdExecution::never});
  if (memory || memory.error() != Error::invalid) return true;
  parley::test::skip("the kernel has no say in whether a memfd may be executed");
  return false;
}

auto open_anew(BorrowedFd fd, int flags) -> OwnedFd {
  const auto path = "/proc/self/fd/" + std::to_string(fd.number());
  return OwnedFd::from_number(open(path.c_str(), flags | O_CLOEXEC));
}

}  // namespace

TEST_CASE("a memfd has its size, is zeroed, and is closed on exec") {
  const auto memory = Memfd::create("parley-test", {.size_bytes = 10}).value();
  CHECK(memory.size_bytes().value() == 10);
  CHECK(closes_on_exec(memory.fd()).value());
  CHECK(text_of(memory.map_read_only().value().bytes()) == std::string(10, '\0'));
  const auto status = memory.status().value();
  CHECK(status.owner == Owner{.uid = geteuid(), .gid = getegid()});
  CHECK(status.name_count == 0);
}

TEST_CASE("a memfd's name has at most 249 bytes and no NUL, and need not be its own") {
  using namespace std::string_view_literals;
  CHECK(Memfd::create(std::string(249, 'n')));
  CHECK(Memfd::create(std::string(250, 'n')).error() == Error::invalid);
  CHECK(Memfd::create("parley\0test"sv).error() == Error::invalid);
  const auto one = Memfd::create("").value();
  CHECK(Memfd::create(""));
}

TEST_CASE("memory is resized, reserved and given back") {
  auto memory = Memfd::create("parley-test", {.size_bytes = page}).value();
  CHECK(memory.status().value().allocated_bytes == 0);
  REQUIRE(memory.reserve());
  CHECK(memory.status().value().allocated_bytes == page);
  REQUIRE(memory.resize(4 * page));
  CHECK(memory.status().value().allocated_bytes == page);
  REQUIRE(memory.reserve({.offset_bytes = 6 * page, .size_bytes = page}));
  CHECK(memory.size_bytes().value() == 7 * page);
  CHECK(memory.status().value().allocated_bytes == 2 * page);
  REQUIRE(memory.discard({}));
  CHECK(memory.status().value().allocated_bytes == 0);
  CHECK(memory.size_bytes().value() == 7 * page);
  REQUIRE(memory.resize(0));
  CHECK(memory.reserve());
  CHECK(memory.size_bytes().value() == 0);
  CHECK(memory.resize(std::size_t{1} << 63).error() == Error::invalid);
}

TEST_CASE("each seal refuses what it is against, and nothing else") {
  auto memory = Memfd::create("parley-test", {.size_bytes = 2 * page}).value();
  SUBCASE("shrink") {
    REQUIRE(memory.add_seals({.shrink = true}));
    CHECK(memory.resize(page).error() == Error::not_permitted);
    CHECK(memory.resize(3 * page));
    CHECK(memory.map());
  }
  SUBCASE("grow") {
    REQUIRE(memory.add_seals({.grow = true}));
    CHECK(memory.resize(3 * page).error() == Error::not_permitted);
    CHECK(memory.reserve({.size_bytes = 3 * page}).error() == Error::not_permitted);
    CHECK(memory.reserve());
    CHECK(memory.resize(page));
  }
  SUBCASE("write") {
    REQUIRE(memory.add_seals({.write = true}));
    CHECK(memory.map().error() == Error::not_permitted);
    CHECK_FALSE(write_at_start(memory.fd()));
    CHECK(errno == EPERM);
    CHECK(memory.discard({}).error() == Error::not_permitted);
    CHECK(memory.reopen_read_only().value().map_read_only());
    CHECK(memory.map({.sharing = MapSharing::private_copy}));
    CHECK(memory.resize(page));
  }
  SUBCASE("future write") {
    REQUIRE(memory.add_seals({.future_write = true}));
    CHECK(memory.map().error() == Error::not_permitted);
    CHECK_FALSE(write_at_start(memory.fd()));
    CHECK(errno == EPERM);
    CHECK(memory.map_read_only());
  }
  SUBCASE("seal") {
    REQUIRE(memory.add_seals({.seal = true}));
    CHECK(memory.add_seals({.shrink = true}).error() == Error::not_permitted);
    CHECK(memory.resize(page));
    CHECK(write_at_start(memory.fd()));
  }
}

TEST_CASE("the seal against writing is busy while a writable shared mapping exists") {
  auto memory = Memfd::create("parley-test", {.size_bytes = page}).value();
  const auto copy = memory.map({.sharing = MapSharing::private_copy}).value();
  const auto reader = memory.reopen_read_only().value().map_read_only().value();
  {
    const auto writer = memory.map().value();
    CHECK(memory.add_seals({.write = true}).error() == Error::busy);
    CHECK(memory.seals().value() == Seals{});
  }
  {
    const auto could_be_made_writable = memory.map_read_only().value();
    CHECK(memory.add_seals({.write = true}).error() == Error::busy);
  }
  CHECK(memory.add_seals({.write = true}));
}

TEST_CASE("sealing the execute permission of an executable memfd seals its contents too") {
  if (!can_decide_execution()) return;
  auto memory = Memfd::create("parley-test", {.execution = MemfdExecution::allowed}).value();
  REQUIRE(memory.add_seals({.exec = true}));
  CHECK(memory.seals().value() ==
        Seals{.shrink = true, .grow = true, .write = true, .future_write = true, .exec = true});
}

TEST_CASE("the seal against future writes leaves the existing mappings writable") {
  auto memory = Memfd::create("parley-test", {.size_bytes = page}).value();
  const auto writer = memory.map().value();
  REQUIRE(memory.add_seals({.future_write = true}));
  auto reader = memory.map_read_only().value();
  std::ranges::copy(bytes_of("still"), writer.bytes().begin());
  CHECK(text_of(reader.bytes().first(5)) == "still");
  CHECK(reader.protect({.write = true}).error() == Error::access_denied);
  CHECK(memory.map().error() == Error::not_permitted);
}

TEST_CASE("seals add up, belong to the memory and show in every descriptor of it") {
  auto memory = Memfd::create("parley-test").value();
  const auto other = Memfd::adopt(duplicate(memory.fd()).value()).value();
  CHECK(memory.seals().value() == Seals{});
  REQUIRE(memory.add_seals({.shrink = true}));
  REQUIRE(memory.add_seals({.grow = true, .seal = true}));
  CHECK(other.seals().value() == Seals{.shrink = true, .grow = true, .seal = true});
}

TEST_CASE("a memfd that is not sealable is sealed against seals") {
  auto memory = Memfd::create("parley-test", {.sealable = false}).value();
  CHECK(memory.seals().value() == Seals{.seal = true});
  CHECK(memory.add_seals({.grow = true}).error() == Error::not_permitted);
}

TEST_CASE("whether a memfd may be executed is in its mode, and can be sealed for ever") {
  if (!can_decide_execution()) return;
  auto never = Memfd::create("parley-test", {.execution = MemfdExecution::never}).value();
  CHECK(never.status().value().mode == 0666);
  CHECK(never.seals().value() == Seals{.exec = true});
  CHECK(never.set_mode(0777).error() == Error::not_permitted);
  CHECK(never.set_mode(0600));
  CHECK(never.resize(page));
  const auto allowed = Memfd::create("parley-test", {.execution = MemfdExecution::allowed}).value();
  CHECK(allowed.status().value().mode == 0777);
  CHECK(allowed.seals().value() == Seals{});
}

TEST_CASE("mode and owner are changed as a file's are") {
  auto memory = Memfd::create("parley-test").value();
  REQUIRE(memory.set_mode(0640));
  CHECK(memory.status().value().mode == 0640);
  const Owner same = memory.status().value().owner;
  CHECK(memory.set_owner(same));
  CHECK(memory.status().value().owner == same);
}

TEST_CASE("a read-only descriptor does not write, but its user can open a writable one anew") {
  auto memory = Memfd::create("parley-test", {.size_bytes = page}).value();
  const auto reader = memory.reopen_read_only().value();
  CHECK(closes_on_exec(reader.fd()).value());
  CHECK_FALSE(write_at_start(reader.fd()));
  CHECK(Mapping::of(reader.fd()).error() == Error::access_denied);
  auto mapping = reader.map_read_only().value();
  CHECK(mapping.protect({.write = true}).error() == Error::access_denied);

  const auto anew = open_anew(reader.fd(), O_RDWR);
  CHECK(Mapping::of(anew));
  REQUIRE(memory.add_seals({.write = true}));
  CHECK(Mapping::of(anew).error() == Error::not_permitted);
  CHECK_FALSE(write_at_start(anew));
}

TEST_CASE("adopting takes memory of the right access and nothing else") {
  const auto memory = Memfd::create("parley-test", {.size_bytes = 1}).value();
  const auto copy = [](BorrowedFd fd) { return duplicate(fd).value(); };
  CHECK(Memfd::adopt(copy(memory.fd())).value().size_bytes().value() == 1);
  CHECK(ReadOnlyMemory::adopt(copy(memory.fd())).error() == Error::invalid);
  const auto reader = memory.reopen_read_only().value();
  CHECK(ReadOnlyMemory::adopt(copy(reader.fd())).value().size_bytes().value() == 1);
  CHECK(Memfd::adopt(copy(reader.fd())).error() == Error::invalid);

  const auto named = posix::SharedMemory::create_unnamed({}).value();
  CHECK(Memfd::adopt(copy(named.fd())));
  const auto pipe = Pipe::create().value();
  CHECK(Memfd::adopt(copy(pipe.reader.fd())).error() == Error::invalid);
  CHECK(ReadOnlyMemory::adopt(copy(pipe.reader.fd())).error() == Error::invalid);
  const parley::test::TempDir directory;
  const std::string path = directory / "file";
  CHECK(Memfd::adopt(OwnedFd::from_number(open("/dev/null", O_RDWR))).error() == Error::invalid);
  auto file = OwnedFd::from_number(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct statfs filesystem{};
  REQUIRE(fstatfs(file.number(), &filesystem) == 0);
  const bool on_disk = static_cast<unsigned long>(filesystem.f_type) != 0x01021994UL;  // tmpfs
  CHECK(Memfd::adopt(std::move(file)).has_value() == !on_disk);
  CHECK(Memfd::adopt(OwnedFd{}).error() == Error::bad_descriptor);
}

TEST_CASE("secret memory is mapped, but not read, sealed or sized twice") {
  auto memory = Memfd::create_secret(page);
  if (!memory && memory.error() == Error::no_such_call) {
    parley::test::skip("the kernel has no secret memory");
    return;
  }
  REQUIRE(memory.has_value());
  CHECK(closes_on_exec(memory->fd()).value());
  CHECK(memory->size_bytes().value() == page);
  const auto mapping = memory->map().value();
  std::ranges::copy(bytes_of("secret"), mapping.bytes().begin());
  CHECK(text_of(memory->map_read_only().value().bytes().first(6)) == "secret");
  std::array<char, 6> buffer{};
  CHECK(pread(memory->fd().number(), buffer.data(), buffer.size(), 0) < 0);
  CHECK(memory->seals().error() == Error::invalid);
  CHECK(memory->add_seals({.grow = true}).error() == Error::invalid);
  CHECK(memory->resize(2 * page).error() == Error::invalid);
  CHECK(memory->map({.sharing = MapSharing::private_copy}).error() == Error::invalid);
  CHECK(Memfd::adopt(duplicate(memory->fd()).value()));
}

TEST_CASE("a size of huge pages that the kernel does not have is refused") {
  const auto odd = Memfd::create("parley-test", {.huge_pages = HugePages{13}});
  CHECK_FALSE(odd.has_value());
}

TEST_CASE("huge pages come from the kernel's pool, and an empty pool is out of memory") {
  constexpr std::size_t huge_page = std::size_t{1} << 21;
  auto memory = Memfd::create("parley-test", {.huge_pages = HugePages::mib_2});
  if (!memory && (memory.error() == Error::no_such_call || memory.error() == Error::invalid)) {
    parley::test::skip("the kernel has no huge pages of 2 MiB");
    return;
  }
  REQUIRE(memory.has_value());
  CHECK(memory->resize(page).error() == Error::invalid);
  REQUIRE(memory->resize(huge_page));
  const auto mapping = memory->map();
  if (!mapping) {
    CHECK(mapping.error() == Error::out_of_memory);
    CHECK(Mapping::anonymous(huge_page, {.huge_pages = HugePages::mib_2}).error() ==
          Error::out_of_memory);
    return;
  }
  mapping->bytes().back() = std::byte{1};
  CHECK(memory->status().value().allocated_bytes == huge_page);
  CHECK(Mapping::anonymous(huge_page, {.huge_pages = HugePages::mib_2}));
}
