#include <parley/os/mapping.hpp>

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>
#include <cstddef>
#include <string>

#include <parley/os/memfd.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/privileges.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::text_of;

namespace {

const std::size_t page = static_cast<std::size_t>(getpagesize());

/// In a peer: reads the byte. Where that is a signal, it ends the peer, and no sanitizer looks on.
void touch(const std::byte* byte) {
  signal(SIGSEGV, SIG_DFL);
  signal(SIGBUS, SIG_DFL);
  static_cast<void>(*static_cast<const volatile std::byte*>(byte));
}

}  // namespace

TEST_CASE("anonymous shared memory is one with the children, a private copy is not") {
  const auto shared = Mapping::anonymous(page).value();
  const auto own = Mapping::anonymous(page, {.sharing = MapSharing::private_copy}).value();
  Peer child([&] {
    std::ranges::copy(bytes_of("child"), shared.bytes().begin());
    std::ranges::copy(bytes_of("child"), own.bytes().begin());
  });
  CHECK(child.wait() == 0);
  CHECK(text_of(shared.bytes().first(5)) == "child");
  CHECK(text_of(own.bytes().first(5)) == std::string(5, '\0'));
}

TEST_CASE("a memfd that a child inherits is the same memory") {
  const auto memory = Memfd::create("parley-test", {.size_bytes = page}).value();
  Peer child([&] { std::ranges::copy(bytes_of("child"), memory.map().value().bytes().begin()); });
  CHECK(child.wait() == 0);
  CHECK(text_of(memory.map_read_only().value().bytes().first(5)) == "child");
}

TEST_CASE("touching a guard page is a segmentation fault") {
  auto memory = Mapping::anonymous(2 * page).value();
  REQUIRE(memory.protect({.read = false}, {.offset_bytes = page}));
  Peer beside([&] { touch(&memory.bytes()[page - 1]); });
  CHECK(beside.wait() == 0);
  Peer on_it([&] { touch(&memory.bytes()[page]); });
  CHECK(on_it.wait() == -SIGSEGV);
}

TEST_CASE("touching what was cut off the object is a bus error") {
  auto memory = Memfd::create("parley-test", {.size_bytes = 2 * page}).value();
  const auto mapping = memory.map().value();
  REQUIRE(memory.resize(page));
  Peer peer([&] { touch(&mapping.bytes()[page]); });
  CHECK(peer.wait() == -SIGBUS);
}

TEST_CASE("advice decides what a forked child finds: the same, zeros or nothing") {
  auto memory = Mapping::anonymous(page, {.sharing = MapSharing::private_copy}).value();
  memory.bytes()[0] = std::byte{7};
  Peer same([&] { REQUIRE(memory.bytes()[0] == std::byte{7}); });
  CHECK(same.wait() == 0);
  REQUIRE(memory.advise(Advice::wipe_on_fork));
  Peer wiped([&] { REQUIRE(memory.bytes()[0] == std::byte{0}); });
  CHECK(wiped.wait() == 0);
  REQUIRE(memory.advise(Advice::dont_fork));
  Peer without([&] { touch(memory.bytes().data()); });
  CHECK(without.wait() == -SIGSEGV);
  CHECK(memory.bytes()[0] == std::byte{7});
}

TEST_CASE("locking more than the user may lock is refused, secret memory too") {
  if (!parley::test::can_become_another_user()) return;
  Peer limited([&] {
    auto memory = Mapping::anonymous(4 * page).value();
    const rlimit some{.rlim_cur = page, .rlim_max = page};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &some) == 0);
    parley::test::become_nobody();
    REQUIRE(memory.lock().error() == Error::out_of_memory);
    REQUIRE(memory.lock(LockWhen::now, {.size_bytes = page}));
    REQUIRE(Mapping::anonymous(4 * page, {.locked = true}).error() == Error::would_block);
    const auto secret = Memfd::create_secret(4 * page);
    if (secret) REQUIRE(secret->map().error() == Error::would_block);
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    REQUIRE(memory.lock().error() == Error::not_permitted);
  });
  CHECK(limited.wait() == 0);
}

TEST_CASE("a sealed memfd holds against another user, a read-only descriptor by its mode") {
  if (!parley::test::can_become_another_user()) return;
  auto memory = Memfd::create("parley-test", {.size_bytes = page}).value();
  REQUIRE(memory.set_mode(0600));
  const auto reader = memory.reopen_read_only().value();
  Peer stranger([&] {
    // What was inherited goes on working; to open anew takes the permission.
    parley::test::become_nobody();
    REQUIRE(reader.map_read_only());
    REQUIRE(memory.reopen_read_only().error() == Error::access_denied);
  });
  CHECK(stranger.wait() == 0);
}
