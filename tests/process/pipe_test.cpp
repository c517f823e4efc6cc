#include <parley/os/pipe.hpp>

#include <doctest/doctest.h>

#include <climits>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <utility>
#include <vector>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/signalled.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::wait_until_asleep;

TEST_CASE("writes of at most PIPE_BUF bytes from many writers never interleave") {
  constexpr int writer_count = 8;
  constexpr int writes_each = 400;
  auto pipe = Pipe::create().value();
  std::list<Peer> writers;
  for (int who = 0; who < writer_count; ++who) {
    writers.emplace_back([&] {
      const std::vector<std::byte> block(PIPE_BUF, static_cast<std::byte>('a' + who));
      for (int i = 0; i < writes_each; ++i) REQUIRE(pipe.writer.write(block, Deadline::never()));
    });
  }
  static_cast<void>(std::move(pipe.writer).into_fd());
  std::array<int, writer_count> blocks{};
  std::vector<std::byte> block(PIPE_BUF);
  while (pipe.reader.read_all(block, Deadline::never()).value() == PIPE_BUF) {
    CHECK(block == std::vector<std::byte>(PIPE_BUF, block.front()));
    ++blocks.at(static_cast<std::size_t>(block.front()) - 'a');
  }
  for (const int count : blocks) CHECK(count == writes_each);
}

TEST_CASE("a writer that is killed leaves what it wrote, and then the end") {
  auto pipe = Pipe::create().value();
  Peer writer([&] {
    REQUIRE(pipe.writer.write(bytes_of("last words"), Deadline::never()));
    for (;;) pause();
  });
  static_cast<void>(std::move(pipe.writer).into_fd());
  std::array<std::byte, 4> first{};
  REQUIRE(pipe.reader.read_all(first, Deadline::never()).value() == first.size());
  writer.kill();
  std::array<std::byte, 100> rest{};
  CHECK(pipe.reader.read_all(rest, Deadline::never()).value() == 6);
}

TEST_CASE("a reader that is killed breaks the pipe of a writer that waits for room") {
  auto pipe = Pipe::create().value();
  Peer reader([&] {
    static_cast<void>(std::move(pipe.writer).into_fd());
    for (;;) pause();
  });
  static_cast<void>(std::move(pipe.reader).into_fd());
  Peer writer([&] {
    const std::vector<std::byte> much(1 << 20);
    REQUIRE(pipe.writer.write(much, Deadline::never()).error() == Error::broken_pipe);
  });
  wait_until_asleep(writer.pid());
  reader.kill();
}

TEST_CASE("signals do not lengthen a wait: one deadline holds for all of it") {
  run_among_signals([] {
    std::array<std::byte, 1> buffer{};
    auto empty = Pipe::create().value();
    const auto start = Deadline::Clock::now();
    REQUIRE(empty.reader.read(buffer, Deadline::after(200ms)).error() == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
  });
}
