#include <parley/os/sysv/shared_memory.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <csignal>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <utility>

#include <parley/os/pipe.hpp>

#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/sysv.hpp"

using parley::Deadline;
using parley::Error;
using parley::os::Pipe;
using parley::os::sysv::Key;
using parley::os::sysv::SharedMemory;
using parley::test::become_nobody;
using parley::test::can_become_another_user;
using parley::test::OwnKey;
using parley::test::Peer;
using parley::test::Scoped;
using parley::test::wait_until_asleep;

namespace {

auto new_segment() -> SharedMemory {
  return SharedMemory::create(Key::private_key(), 4096).value();
}

auto attachments(const SharedMemory& memory) -> std::size_t {
  return memory.status().value().attachment_count;
}

}  // namespace

TEST_CASE("a child inherits an attachment, which counts and is shared until the child ends") {
  const Scoped memory(new_segment());
  const auto attached = memory->attach().value();
  CHECK(attachments(*memory) == 1);
  const auto write_and_stay = [&] {
    attached.bytes()[0] = std::byte{1};
    for (;;) pause();
  };
  Peer one(write_and_stay);
  Peer two([&] {
    REQUIRE(attachments(*memory) >= 2);
    const auto again = memory->attach().value();
    again.bytes()[1] = std::byte{2};
  });
  CHECK(two.wait() == 0);
  wait_until_asleep(one.pid());
  CHECK(attached.bytes()[0] == std::byte{1});
  CHECK(attached.bytes()[1] == std::byte{2});
  CHECK(attachments(*memory) == 2);
  one.kill();
  CHECK(attachments(*memory) == 1);
  CHECK(memory->status()->last_process == one.pid());
}

TEST_CASE("a process that is killed is detached, and marked memory goes with the last one") {
  const Scoped memory(new_segment());
  Peer user([&] {
    const auto attached = memory->attach().value();
    const auto twice = memory->attach_read_only().value();
    for (;;) pause();
  });
  wait_until_asleep(user.pid());
  CHECK(attachments(*memory) == 2);
  CHECK(memory->remove());
  CHECK(memory->status()->marked_for_removal);
  user.kill();
  CHECK(memory->status().error() == Error::invalid);
}

TEST_CASE("exec detaches what a process had attached") {
  const Scoped memory(new_segment());
  auto input = Pipe::create().value();
  auto started = Pipe::create().value();
  Peer user([&] {
    const auto attached = memory->attach().value();
    REQUIRE(attachments(*memory) == 1);
    REQUIRE(set_nonblocking(input.reader.fd(), false));
    REQUIRE(dup2(input.reader.fd().number(), STDIN_FILENO) == STDIN_FILENO);
    static_cast<void>(std::move(input.writer).into_fd());
    execl("/bin/cat", "cat", nullptr);
    std::abort();
  });
  static_cast<void>(std::move(started.writer).into_fd());
  std::array<std::byte, 1> buffer{};
  REQUIRE(started.reader.read(buffer, Deadline::never()).value() == 0);  // closed by the exec
  CHECK(attachments(*memory) == 0);
  static_cast<void>(std::move(input.writer).into_fd());
}

TEST_CASE("a write through a read-only attachment is a fault") {
  const Scoped memory(new_segment());
  Peer writer([&] {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;  // a sanitizer has its own
    REQUIRE(sigaction(SIGSEGV, &action, nullptr) == 0);
    const auto attached = memory->attach_read_only().value();
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): forced, for the fault.
    *const_cast<volatile std::byte*>(attached.bytes().data()) = std::byte{1};
  });
  CHECK(writer.wait() == -SIGSEGV);
  CHECK(memory->attach_read_only()->bytes()[0] == std::byte{});
  CHECK(attachments(*memory) == 0);
}

TEST_CASE("who may not use shared memory is denied, and only its owner may change or remove it") {
  if (!can_become_another_user()) return;
  const OwnKey closed_key;
  const Scoped closed(SharedMemory::create(closed_key.key(), 4096).value());
  const Scoped readable(SharedMemory::create(Key::private_key(), 4096, {.mode = 0604}).value());
  Peer nobody([&] {
    become_nobody();
    REQUIRE(SharedMemory::open(closed_key.key()).error() == Error::access_denied);
    REQUIRE(SharedMemory::open_or_create(closed_key.key(), 1).error() == Error::access_denied);
    REQUIRE(SharedMemory::adopt(closed->id()).error() == Error::access_denied);
    REQUIRE(closed->attach_read_only().error() == Error::access_denied);
    REQUIRE(closed->status().error() == Error::access_denied);
    REQUIRE(closed->remove().error() == Error::not_permitted);
    REQUIRE(closed->lock().error() == Error::not_permitted);

    const auto memory = SharedMemory::adopt(readable->id()).value();
    REQUIRE(memory.attach_read_only());
    REQUIRE(memory.attach().error() == Error::access_denied);
    REQUIRE(memory.attach_read_only({.executable = true}).error() == Error::access_denied);
    REQUIRE(memory.set_access({.uid = 65534, .gid = 65534, .mode = 0666}).error() ==
            Error::not_permitted);
  });
}
