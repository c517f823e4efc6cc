#include <parley/shared_memory.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>
#include <parley/os/socket.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/signalled.hpp"
#include "support/small_filesystem.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::SharedMemory;
using parley::os::BorrowedFd;
using parley::os::Child;
using parley::os::OwnedFd;
using parley::os::Pipe;
using parley::os::Socket;
using parley::os::SocketType;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::TempDir;
using parley::test::text_of;

constexpr auto in_time = 20s;
constexpr std::size_t page = 4096;
constexpr std::size_t kilobyte = 1024;

void write_text(const SharedMemory& memory, std::string_view text) {
  std::ranges::copy(bytes_of(text), memory.map().value().bytes().begin());
}

auto read_text(const SharedMemory& memory, std::size_t size) -> std::string {
  return text_of(memory.map_read_only().value().bytes().first(size));
}

/// Starts the program that answers, with the memory at a number of its own.
auto run_adopting(const SharedMemory& memory) -> parley::os::ExitStatus {
  auto child = Child::start({.program = PARLEY_ADOPTING_PROGRAM,
                             .arguments = {"5"},
                             .descriptors = {{.fd = memory.descriptor(), .number = 5}},
                             .standard_io = parley::os::StandardIo::inherited})
                   .value();
  return child.wait(Deadline::after(in_time)).value();
}

void hand_on(Socket& socket, BorrowedFd fd) {
  const std::array<BorrowedFd, 1> descriptors{fd};
  REQUIRE(socket.send_message({.bytes = bytes_of("m"), .attachments = {.descriptors = descriptors}},
                              Deadline::after(in_time)));
}

auto receive_memory(Socket& socket) -> SharedMemory {
  std::array<std::byte, 1> byte{};
  auto message = socket.receive_message({.into = byte}, Deadline::after(in_time)).value();
  REQUIRE(message.ancillary.descriptors.size() == 1);
  return SharedMemory::adopt(std::move(message.ancillary.descriptors[0])).value();
}

auto reopened_for_writing(const SharedMemory& memory) -> parley::Result<SharedMemory> {
  const auto path = "/proc/self/fd/" + std::to_string(memory.descriptor().number());
  return SharedMemory::adopt(OwnedFd::from_number(open(path.c_str(), O_RDWR | O_CLOEXEC)));
}

/// Fills what is left of the filesystem.
void fill(const std::string& dir) {
  const auto file = OwnedFd::from_number(open((dir + "/fill").c_str(), O_CREAT | O_WRONLY, 0600));
  const std::string block(page, 'x');
  while (write(file.number(), block.data(), block.size()) > 0) {
  }
  REQUIRE(errno == ENOSPC);
}

}  // namespace

TEST_CASE("what a forked child writes to inherited memory is read by its parent") {
  const auto memory = SharedMemory::create({.size_bytes = 100}).value();
  const auto mapping = memory.map_read_only().value();
  Peer child([&] { write_text(memory, "child"); });
  CHECK(child.wait() == 0);
  CHECK(text_of(mapping.bytes().first(5)) == "child");
}

TEST_CASE("a program that exec starts adopts the memory that it inherits") {
  const auto memory = SharedMemory::create({.size_bytes = 100}).value();
  write_text(memory, "question");
  CHECK(run_adopting(memory.reopen_read_only().value()).value == 3);
  CHECK(read_text(memory, 8) == "question");
  CHECK(run_adopting(memory).value == 0);
  CHECK(read_text(memory, 8) == "answered");
}

TEST_CASE("memory received over a socket is the same memory") {
  auto [ours, theirs] = Socket::pair(SocketType::seqpacket).value();
  Peer receiver([&, &there = theirs] { write_text(receive_memory(there), "received"); });
  const auto memory = SharedMemory::create({.size_bytes = 100}).value();
  hand_on(ours, memory.descriptor());
  CHECK(receiver.wait() == 0);
  CHECK(read_text(memory, 8) == "received");
}

TEST_CASE("a read-only descriptor keeps a receiver from writing who does not open it anew") {
  auto [ours, theirs] = Socket::pair(SocketType::seqpacket).value();
  Peer receiver([&, &there = theirs] {
    const auto memory = receive_memory(there);
    REQUIRE(memory.is_read_only());
    REQUIRE(memory.map().error() == Error::access_denied);
    REQUIRE(read_text(memory, 4) == "look");
    write_text(reopened_for_writing(memory).value(), "anew");
  });
  const auto memory = SharedMemory::create({.size_bytes = 100}).value();
  write_text(memory, "look");
  hand_on(ours, memory.reopen_read_only().value().descriptor());
  CHECK(receiver.wait() == 0);
  CHECK(read_text(memory, 4) == "anew");
}

TEST_CASE("a receiver of sealed memory does not write to it, whatever it opens") {
  auto [ours, theirs] = Socket::pair(SocketType::seqpacket).value();
  Peer receiver([&, &there = theirs] {
    const auto memory = receive_memory(there);
    REQUIRE(memory.is_sealed().value());
    REQUIRE(memory.map().error() == Error::not_permitted);
    REQUIRE(reopened_for_writing(memory).value().map().error() == Error::not_permitted);
    REQUIRE(read_text(memory, 5) == "final");
  });
  auto memory = SharedMemory::create({.size_bytes = 100}).value();
  write_text(memory, "final");
  REQUIRE(memory.seal());
  hand_on(ours, memory.descriptor());
  CHECK(receiver.wait() == 0);
}

TEST_CASE("memory is not sealed while another process has it mapped") {
  auto memory = SharedMemory::create({.size_bytes = 100}).value();
  auto ready = Pipe::create().value();
  Peer mapper([&] {
    const auto mapping = memory.map().value();
    REQUIRE(ready.writer.write(bytes_of("m"), Deadline::never()));
    pause();
  });
  std::byte byte{};
  REQUIRE(ready.reader.read({&byte, 1}, Deadline::after(in_time)));
  CHECK(memory.seal().error() == Error::busy);
  mapper.kill();
  CHECK(memory.seal());
}

TEST_CASE("named memory that its users left is as the killed one wrote it") {
  const TempDir dir;
  const auto path = dir / "memory";
  auto ready = Pipe::create().value();
  Peer writer([&] {
    const auto memory = SharedMemory::create(path, {.size_bytes = 100}).value();
    write_text(memory, "left");
    REQUIRE(ready.writer.write(bytes_of("w"), Deadline::never()));
    pause();
  });
  std::byte byte{};
  REQUIRE(ready.reader.read({&byte, 1}, Deadline::after(in_time)));
  writer.kill();
  CHECK(read_text(SharedMemory::open(path).value(), 4) == "left");
}

TEST_CASE("what one process lets grow, another sees grown when it maps again") {
  for (const bool named : {false, true}) {
    CAPTURE(named);
    const TempDir dir;
    const parley::SharedMemoryOptions options{.size_bytes = 10, .growable = true};
    auto memory = named ? SharedMemory::create(dir / "memory", options).value()
                        : SharedMemory::create(options).value();
    const auto before = memory.map().value();
    Peer grower([&] {
      auto same = named ? SharedMemory::open(dir / "memory").value() : std::move(memory);
      REQUIRE(same.grow(10'000));
      same.map().value().bytes()[9'999] = std::byte{9};
    });
    CHECK(grower.wait() == 0);
    CHECK(before.size_bytes() == 10);
    CHECK(memory.size_bytes().value() == 10'000);
    CHECK(memory.map().value().bytes()[9'999] == std::byte{9});
  }
}

TEST_CASE("processes that make memory grow at once lose nothing, and who opens it finds it whole") {
  constexpr int rounds = 100;
  const TempDir dir;
  const auto path = dir / "memory";
  const auto memory = SharedMemory::create(path, {.size_bytes = 1, .growable = true}).value();
  const auto grow = [&](std::size_t step) {
    auto same = SharedMemory::open(path).value();
    for (int round = 0; round < rounds; ++round) {
      const auto wanted = same.size_bytes().value() + step;
      REQUIRE(same.grow(wanted));
      REQUIRE(same.map().value().size_bytes() >= wanted);
      REQUIRE(same.map().value().check());
    }
  };
  Peer one([&] { grow(100); });
  Peer other([&] { grow(5'000); });
  for (std::size_t last = 0; last < std::size_t{5'000} * rounds;) {
    const auto size = SharedMemory::open(path).value().size_bytes().value();
    REQUIRE(size >= last);
    last = size;
  }
  CHECK(one.wait() == 0);
  CHECK(other.wait() == 0);
}

TEST_CASE("memory that another process truncates is an error to its users, never a signal") {
  const TempDir dir;
  const auto path = dir / "memory";
  const auto memory = SharedMemory::create(path, {.size_bytes = 64 * page}).value();
  auto ready = Pipe::create().value();
  const auto use_until_lost = [&](bool writes) {
    const auto same = SharedMemory::open(path).value();
    const auto reading = same.map_read_only().value();
    const auto writing = same.map().value();
    REQUIRE(ready.writer.write(bytes_of("u"), Deadline::never()));
    const auto in_use = [&] { return writes ? writing.check() : reading.check(); };
    unsigned sum = 0;
    while (in_use()) {
      for (std::size_t at = 0; at < 64 * page; at += page / 2) {
        if (writes) {
          writing.bytes()[at] = std::byte{1};
        } else {
          sum +=
              static_cast<unsigned>(*static_cast<const volatile std::byte*>(&reading.bytes()[at]));
        }
      }
    }
    REQUIRE(in_use().error() == Error::corrupt);
    REQUIRE(same.map().error() == Error::corrupt);
    REQUIRE(sum < 1'000'000'000U);
  };
  Peer reader([&] { use_until_lost(false); });
  Peer writer([&] { use_until_lost(true); });
  std::byte byte{};
  REQUIRE(ready.reader.read({&byte, 1}, Deadline::after(in_time)));
  REQUIRE(ready.reader.read({&byte, 1}, Deadline::after(in_time)));
  REQUIRE(truncate(path.c_str(), 5000) == 0);
  CHECK(reader.wait() == 0);
  CHECK(writer.wait() == 0);
}

TEST_CASE("memory that does not fit its filesystem is no space, and leaves no name") {
  parley::test::with_small_filesystem([](const std::string& dir) {
    const auto path = dir + "/memory";
    REQUIRE(SharedMemory::create(path, {.size_bytes = 2048 * kilobyte}).error() == Error::no_space);
    REQUIRE(std::filesystem::is_empty(dir));
    const auto memory = SharedMemory::create(path, {.size_bytes = 512 * kilobyte}).value();
    fill(dir);
    REQUIRE(SharedMemory::create(dir + "/second", {.size_bytes = 1}).error() == Error::no_space);
    // All of it was there from the start.
    const auto mapping = memory.map().value();
    std::ranges::fill(mapping.bytes(), std::byte{1});
    REQUIRE(mapping.check());
  });
}

TEST_CASE("growing into a full filesystem is no space, and nothing has changed") {
  parley::test::with_small_filesystem([](const std::string& dir) {
    auto memory =
        SharedMemory::create(dir + "/memory", {.size_bytes = 100 * kilobyte, .growable = true})
            .value();
    struct stat before{};
    REQUIRE(fstat(memory.descriptor().number(), &before) == 0);
    REQUIRE(memory.grow(2048 * kilobyte).error() == Error::no_space);
    struct stat after{};
    REQUIRE(fstat(memory.descriptor().number(), &after) == 0);
    REQUIRE(after.st_size == before.st_size);
    REQUIRE(after.st_blocks == before.st_blocks);
    REQUIRE(memory.grow(200 * kilobyte));
    fill(dir);
    const auto mapping = memory.map().value();
    std::ranges::fill(mapping.bytes(), std::byte{1});
    REQUIRE(mapping.check());
    REQUIRE(memory.size_bytes().value() == 200 * kilobyte);
  });
}

TEST_CASE("who fails to make memory grow takes nothing from who succeeded") {
  parley::test::with_small_filesystem([](const std::string& dir) {
    constexpr int rounds = 300;
    const auto path = dir + "/memory";
    Peer greedy([&] {
      for (;;) {
        auto memory = SharedMemory::open(path);
        if (memory && memory->size_bytes().value() == 1) {
          REQUIRE(memory->grow(2048 * kilobyte).error() == Error::no_space);
        }
      }
    });
    for (int round = 0; round < rounds; ++round) {
      auto memory = SharedMemory::create(path, {.size_bytes = 1, .growable = true}).value();
      REQUIRE(memory.grow(64 * kilobyte));
      struct stat status{};
      REQUIRE(fstat(memory.descriptor().number(), &status) == 0);
      REQUIRE(status.st_blocks * 512 >= status.st_size);
      REQUIRE(SharedMemory::unlink(path));
    }
    kill(greedy.pid(), SIGKILL);
    REQUIRE(greedy.wait() == -SIGKILL);
  });
}

TEST_CASE("signals do not keep memory from being made or from growing") {
  parley::test::run_among_signals([] {
    for (int round = 0; round < 10; ++round) {
      auto memory = SharedMemory::create({.size_bytes = 1 << 22, .growable = true});
      REQUIRE(memory);
      REQUIRE(memory->grow(1 << 23));
    }
  });
}

TEST_CASE("another user reads or writes named memory only as its mode allows") {
  if (!parley::test::can_become_another_user()) return;
  const TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms(0755));
  const auto make = [&](const std::string& name, mode_t mode) {
    return SharedMemory::create(dir / name, {.size_bytes = 10, .mode = mode}).value();
  };
  const auto closed = make("closed", 0600);
  const auto readable = make("readable", 0644);
  const auto open_to_all = make("open_to_all", 0666);
  Peer stranger([&] {
    parley::test::become_nobody();
    REQUIRE(SharedMemory::open_read_only(dir / "closed").error() == Error::access_denied);
    REQUIRE(SharedMemory::open(dir / "readable").error() == Error::access_denied);
    const auto reader = SharedMemory::open_read_only(dir / "readable").value();
    REQUIRE(reader.map_read_only());
    REQUIRE(reader.map().error() == Error::access_denied);
    REQUIRE_FALSE(reopened_for_writing(reader));
    REQUIRE(SharedMemory::open(dir / "open_to_all").value().map());
    REQUIRE(SharedMemory::unlink(dir / "open_to_all").error() == Error::access_denied);
    // The descriptor gives what it was opened for, and no more.
    REQUIRE(closed.map());
    REQUIRE(closed.reopen_read_only().error() == Error::access_denied);
  });
  CHECK(stranger.wait() == 0);
}
