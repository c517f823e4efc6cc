#include <parley/os/fifo.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <climits>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/signalled.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::Result;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::TempDir;
using parley::test::text_of;
using parley::test::wait_until_asleep;

namespace {

auto read_to_end(PipeReader& reader) -> std::string {
  std::array<std::byte, 100> buffer{};
  const auto count = reader.read_all(buffer, Deadline::after(30s)).value();
  return text_of(std::span(buffer).first(count));
}

volatile std::sig_atomic_t handled_count = 0;
volatile std::sig_atomic_t foreign_count = 0;

/// Handles SIGUSR1, as a program would, and counts it; and with it every real-time signal but one,
/// which is not to be seen.
void handle_signals() {
  struct sigaction action{};
  action.sa_handler = [](int signal) {
    auto& count = signal == SIGUSR1 ? handled_count : foreign_count;
    count = count + 1;
  };
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  for (int signal = SIGRTMIN + 1; signal <= SIGRTMAX; ++signal) {
    REQUIRE(sigaction(signal, &action, nullptr) == 0);
  }
}

}  // namespace

TEST_CASE("a reader that comes first waits for its writer") {
  const TempDir dir;
  REQUIRE(Fifo::create(dir / "fifo"));
  Peer reader([&] {
    auto end = Fifo::open(dir / "fifo").value().reader(Deadline::after(30s)).value();
    REQUIRE(read_to_end(end) == "hello");
  });
  wait_until_asleep(reader.pid());
  auto writer = Fifo::open(dir / "fifo").value().writer(Deadline::now()).value();
  CHECK(writer.write(bytes_of("hello"), Deadline::now()));
}

TEST_CASE("a writer that comes first waits for its reader") {
  const TempDir dir;
  REQUIRE(Fifo::create(dir / "fifo"));
  Peer writer([&] {
    auto end = Fifo::open(dir / "fifo").value().writer(Deadline::after(30s)).value();
    REQUIRE(end.write(bytes_of("hello"), Deadline::never()));
  });
  wait_until_asleep(writer.pid());
  auto reader = Fifo::open(dir / "fifo").value().reader(Deadline::now()).value();
  CHECK(read_to_end(reader) == "hello");
}

TEST_CASE("without a deadline the rendezvous waits as well") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  Peer writer([&] {
    auto end = fifo.writer(Deadline::never()).value();
    REQUIRE(end.write(bytes_of("hello"), Deadline::never()));
  });
  auto reader = fifo.reader(Deadline::never()).value();
  CHECK(read_to_end(reader) == "hello");
}

TEST_CASE("a peer that is killed while it opens a FIFO was never there") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  SUBCASE("a writer") {
    Peer writer([&] { REQUIRE(fifo.writer(Deadline::never())); });
    wait_until_asleep(writer.pid());
    writer.kill();
    CHECK(fifo.reader(Deadline::now()).error() == Error::would_block);
    CHECK(fifo.reader(Deadline::after(5ms)).error() == Error::timed_out);
  }
  SUBCASE("a reader") {
    Peer reader([&] { REQUIRE(fifo.reader(Deadline::never())); });
    wait_until_asleep(reader.pid());
    reader.kill();
    CHECK(fifo.writer(Deadline::now()).error() == Error::would_block);
    CHECK(fifo.writer(Deadline::after(5ms)).error() == Error::timed_out);
  }
}

TEST_CASE("a reader that looks for a writer again and again never breaks one that comes") {
  constexpr int rounds = 300;
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  auto reader_is_gone = Pipe::create().value();
  Peer writer([&] {
    std::array<std::byte, 1> buffer{};
    for (int round = 0; round < rounds; ++round) {
      auto end = fifo.writer(Deadline::after(30s)).value();
      REQUIRE(end.write(bytes_of("x"), Deadline::never()));
      static_cast<void>(std::move(end).into_fd());
      REQUIRE(reader_is_gone.reader.read_all(buffer, Deadline::never()).value() == 1);
    }
  });
  int received = 0;
  const auto limit = Deadline::after(50s);
  while (received < rounds && !limit.has_passed()) {
    {
      auto reader = fifo.reader(Deadline::now());
      if (!reader) continue;
      received += static_cast<int>(read_to_end(*reader).size());
    }
    REQUIRE(reader_is_gone.writer.write(bytes_of("g"), Deadline::never()));
  }
  CHECK(received == rounds);
}

TEST_CASE("writes of at most PIPE_BUF bytes from many writers of a FIFO never interleave") {
  constexpr int writer_count = 8;
  constexpr int writes_each = 200;
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  auto ends = fifo.both_ends().value();
  std::list<Peer> writers;
  for (int who = 0; who < writer_count; ++who) {
    writers.emplace_back([&] {
      auto writer = Fifo::open(dir / "fifo").value().writer(Deadline::now()).value();
      const std::vector<std::byte> block(PIPE_BUF, static_cast<std::byte>('a' + who));
      for (int i = 0; i < writes_each; ++i) REQUIRE(writer.write(block, Deadline::never()));
    });
  }
  std::array<int, writer_count> blocks{};
  std::vector<std::byte> block(PIPE_BUF);
  for (int i = 0; i < writer_count * writes_each; ++i) {
    REQUIRE(ends.reader.read_all(block, Deadline::after(30s)).value() == PIPE_BUF);
    CHECK(block == std::vector<std::byte>(PIPE_BUF, block.front()));
    ++blocks.at(static_cast<std::size_t>(block.front()) - 'a');
  }
  for (const int count : blocks) CHECK(count == writes_each);
}

TEST_CASE("signals do not lengthen the opening of a FIFO, and run only their own handler") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  bool reads = false;
  SUBCASE("of a reader") {
    reads = true;
  }
  SUBCASE("of a writer") {
    reads = false;
  }
  run_among_signals([&] {
    handle_signals();
    const auto start = Deadline::Clock::now();
    const auto deadline = Deadline::at(start + 200ms);
    const Error error = reads ? fifo.reader(deadline).error() : fifo.writer(deadline).error();
    REQUIRE(error == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
    REQUIRE(handled_count > 0);
    REQUIRE(foreign_count == 0);
  });
}

TEST_CASE("both sides of a duplex talk, in whichever order they come") {
  const TempDir dir;
  const auto duplex = FifoDuplex::create(dir / "two").value();
  bool first_comes_first = false;
  SUBCASE("the first side first") {
    first_comes_first = true;
  }
  SUBCASE("the second side first") {
    first_comes_first = false;
  }
  const auto side = [&](bool first) {
    return first ? duplex.first_side(Deadline::after(30s))
                 : duplex.second_side(Deadline::after(30s));
  };
  Peer peer([&] {
    auto ends = side(first_comes_first).value();
    REQUIRE(ends.writer.write(bytes_of("ping"), Deadline::never()));
    static_cast<void>(std::move(ends.writer).into_fd());
    REQUIRE(read_to_end(ends.reader) == "pong");
  });
  wait_until_asleep(peer.pid());
  auto ends = side(!first_comes_first).value();
  CHECK(read_to_end(ends.reader) == "ping");
  CHECK(ends.writer.write(bytes_of("pong"), Deadline::never()));
}

TEST_CASE("a side of a duplex whose peer dies half-way ends at its deadline") {
  const TempDir dir;
  const auto duplex = FifoDuplex::create(dir / "two").value();
  const auto forth = Fifo::open(dir / "two.forth").value();
  Peer half([&] { REQUIRE(forth.reader(Deadline::never())); });
  CHECK(duplex.first_side(Deadline::after(50ms)).error() == Error::timed_out);
}
