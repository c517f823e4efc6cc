#include <parley/stream.hpp>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <parley/os/pipe.hpp>
#include <parley/os/socket.hpp>

#include "support/bare.hpp"
#include "support/peer.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Stream;
using parley::StreamEnd;
using parley::StreamReader;
using parley::StreamWriter;
using parley::WaitStrategy;
using parley::test::Peer;
using Bytes = std::vector<std::byte>;

constexpr std::size_t small = 4096;

auto soon() -> Deadline {
  return Deadline::after(20s);
}

auto bytes_of(std::string_view text) -> std::span<const std::byte> {
  return std::as_bytes(std::span(text));
}

auto read_text(StreamReader& reader, std::size_t at_most = 100) -> std::string {
  std::string text(at_most, '\0');
  const auto got = reader.read(std::as_writable_bytes(std::span(text)), soon());
  REQUIRE(got);
  return text.substr(0, *got);
}

auto read_error(StreamReader& reader) -> Error {
  std::byte byte{};
  const auto got = reader.read({&byte, 1}, soon());
  REQUIRE_FALSE(got);
  return got.error();
}

/// A peer that does its part and then tells that it has, and stays until it is killed.
class Staying {
 public:
  explicit Staying(const std::function<void()>& body)
      : pipe_(parley::os::Pipe::create().value()), peer_([&] {
          body();
          REQUIRE(pipe_.writer.write(bytes_of("x"), soon()));
          for (;;) pause();
        }) {
    std::byte letter{};
    REQUIRE(pipe_.reader.read({&letter, 1}, soon()));
  }
  void kill() { peer_.kill(); }

 private:
  parley::os::Pipe pipe_;
  Peer peer_;
};

/// The next bytes of a sequence that only its seed tells.
class Sequence {
 public:
  explicit Sequence(std::uint64_t seed) : random_(seed) {}
  void next(std::span<std::byte> into) {
    for (auto& byte : into) {
      if (left_ == 0) {
        word_ = random_();
        left_ = 8;
      }
      byte = static_cast<std::byte>(word_);
      word_ >>= 8U;
      --left_;
    }
  }

 private:
  std::mt19937_64 random_;
  std::uint64_t word_ = 0;
  int left_ = 0;
};

}  // namespace

TEST_CASE("after every byte of a writer that was killed comes peer_died") {
  auto stream = Stream::create().value();
  auto reader = stream.reader().value();
  Staying peer([&] {
    auto writer = stream.writer().value();
    REQUIRE(writer.write(bytes_of("all of this"), soon()));
    std::ranges::fill(writer.reserve(100, soon()).value(), std::byte{'x'});
    // Not committed, and the process stays in here.
    REQUIRE(writer.bytes_waiting() == 11);
    static StreamWriter kept = std::move(writer);
  });
  peer.kill();
  CHECK(read_text(reader) == "all of this");
  CHECK(read_error(reader) == Error::peer_died);
  CHECK(read_error(reader) == Error::peer_died);
  CHECK(reader.peek(1, Deadline::never()).error() == Error::peer_died);
  CHECK(stream.status().value().writer == StreamEnd::died);
  CHECK(stream.status().value().participants == 1);
}

TEST_CASE("a process that exits without closing its end has died, too") {
  auto stream = Stream::create().value();
  auto reader = stream.reader().value();
  Peer peer([&] { static StreamWriter kept = stream.writer().value(); });
  CHECK(read_error(reader) == Error::peer_died);
}

TEST_CASE("who waits for the other side is woken by its death") {
  for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block, WaitStrategy::spin}) {
    auto stream = Stream::create({.capacity_bytes = small}).value();
    Peer reading([&] {
      auto reader = stream.reader().value();
      reader.set_wait_strategy(strategy);
      REQUIRE(read_error(reader) == Error::peer_died);
      reader.close();
      auto writer = stream.writer().value();
      writer.set_wait_strategy(strategy);
      REQUIRE(writer.write(Bytes(2 * small), soon()).error() == Error::broken_pipe);
    });
    Staying writing([&] { static StreamWriter kept = stream.writer().value(); });
    writing.kill();
    // Now it writes into a stream that nobody reads any more.
    const auto full = soon();
    while (stream.status().value().bytes_waiting < small) REQUIRE_FALSE(full.has_passed());
    Staying other([&] { static StreamReader kept = stream.reader().value(); });
    other.kill();
    CHECK(reading.wait() == 0);
  }
}

TEST_CASE("an end is busy while its holder lives, and free once it is dead") {
  auto stream = Stream::create().value();
  Staying peer([&] {
    static StreamWriter writer = stream.writer().value();
    static StreamReader reader = stream.reader().value();
  });
  CHECK(stream.writer().error() == Error::busy);
  CHECK(stream.reader().error() == Error::busy);
  peer.kill();
  CHECK(stream.writer());
  CHECK(stream.reader());
}

TEST_CASE("a death is told at the byte where it was, also when another writer came already") {
  auto stream = Stream::create().value();
  auto reader = stream.reader().value();
  CHECK(stream.writer().value().write(bytes_of("closed "), soon()));
  Staying first([&] {
    static StreamWriter writer = stream.writer().value();
    REQUIRE(writer.write(bytes_of("one"), soon()));
  });
  first.kill();
  auto writer = stream.writer().value();
  CHECK(writer.write(bytes_of("two"), soon()));
  writer.close();
  CHECK(read_text(reader) == "closed one");
  CHECK(reader.peek(1, Deadline::now()).error() == Error::peer_died);
  CHECK(read_text(reader) == "two");
  CHECK(read_text(reader).empty());
}

TEST_CASE("of several deaths that nobody saw the first is told, and the last") {
  auto stream = Stream::create().value();
  for (int i = 0; i < 3; ++i) {
    Staying peer([&] {
      static StreamWriter writer = stream.writer().value();
      REQUIRE(writer.write(bytes_of("x"), soon()));
    });
    peer.kill();
  }
  auto reader = stream.reader().value();
  CHECK(read_text(reader) == "x");
  CHECK(read_error(reader) == Error::peer_died);
  CHECK(read_text(reader) == "xx");
  CHECK(read_error(reader) == Error::peer_died);
  CHECK(read_error(reader) == Error::peer_died);
}

TEST_CASE("a killed reader leaves what it had not consumed to the next") {
  auto stream = Stream::create().value();
  auto writer = stream.writer().value();
  CHECK(writer.write(bytes_of("0123456789"), soon()));
  Staying peer([&] {
    static StreamReader reader = stream.reader().value();
    REQUIRE(read_text(reader, 4) == "0123");
    REQUIRE(reader.peek(6, soon()).value().size() == 6);
  });
  peer.kill();
  CHECK(writer.write(bytes_of("x"), soon()).error() == Error::broken_pipe);
  auto reader = stream.reader().value();
  CHECK(read_text(reader) == "456789");
  CHECK(writer.write(bytes_of("x"), soon()));
}

TEST_CASE(
    "a child of fork claims an inherited end for itself, once the parent has handed it over") {
  auto stream = Stream::create().value();
  auto writer = stream.writer().value();
  auto reader = stream.reader().value();
  CHECK(writer.write(bytes_of("parent "), soon()));
  {
    Peer child([&] {
      REQUIRE(writer.write(bytes_of("x"), soon()).error() == Error::busy);
      REQUIRE(writer.reserve(1, soon()).error() == Error::busy);
      std::byte byte{};
      REQUIRE(reader.read({&byte, 1}, soon()).error() == Error::busy);
      REQUIRE(reader.wait_for_writer(soon()).error() == Error::busy);
    });
  }
  // A child that ends takes nothing with it.
  CHECK(writer.write(bytes_of("still"), soon()));
  CHECK(read_text(reader) == "parent still");
  Peer child([&] {
    const auto free = soon();
    auto written = writer.write(bytes_of("child"), soon());
    while (!written && written.error() == Error::busy && !free.has_passed()) {
      std::this_thread::sleep_for(1ms);
      written = writer.write(bytes_of("child"), soon());
    }
    REQUIRE(written);
    writer.close();
  });
  parley::test::wait_until_asleep(child.pid());
  writer.hand_over();
  CHECK(read_text(reader) == "child");
  CHECK(read_text(reader).empty());
}

TEST_CASE("a child of fork cannot use an end that its parent has closed") {
  auto stream = Stream::create().value();
  auto writer = stream.writer().value();
  writer.close();
  Peer child([&] {
    REQUIRE(writer.write(bytes_of("x"), soon()).error() == Error::bad_descriptor);
    REQUIRE(writer.commit(0).error() == Error::bad_descriptor);
  });
  CHECK(child.wait() == 0);
  CHECK(stream.status().value().bytes_waiting == 0);
}

TEST_CASE("a program that exec starts adopts the descriptor and claims the end") {
  auto stream = Stream::create().value();
  auto reader = stream.reader().value();
  auto writer = stream.writer().value();
  CHECK(writer.write(bytes_of("and then "), soon()));
  writer.hand_over();
  Peer peer([&] {
    REQUIRE(dup2(stream.descriptor().number(), 3) == 3);
    REQUIRE(parley::os::set_close_on_exec(parley::os::BorrowedFd::from_number(3), false));
    const char* const program = PARLEY_WRITING_PROGRAM;
    execl(program, program, nullptr);
    FAIL("the program does not start");
  });
  CHECK(peer.wait() == 0);
  CHECK(read_text(reader) == "and then from the program");
  CHECK(read_text(reader).empty());
}

TEST_CASE("a stream passed over a local socket joins two processes") {
  auto ends = parley::os::Socket::pair(parley::os::SocketType::seqpacket).value();
  Peer peer([&] {
    auto stream = Stream::create().value();
    auto reader = stream.reader().value();
    auto writer = stream.writer().value();
    REQUIRE(writer.write(bytes_of("first, "), soon()));
    writer.hand_over();
    const std::array<parley::os::BorrowedFd, 1> descriptors{stream.descriptor()};
    REQUIRE(ends.second.send_message(
        {.bytes = bytes_of("x"), .attachments = {.descriptors = descriptors}}, soon()));
    Bytes got(13);
    REQUIRE(reader.read_all(got, soon()).value() == 13);
    REQUIRE(std::ranges::equal(got, bytes_of("first, second")));
  });
  std::byte letter{};
  auto message = ends.first.receive_message({.into = {&letter, 1}}, soon()).value();
  auto stream = Stream::adopt(std::move(message.ancillary.descriptors.at(0))).value();
  auto writer = stream.writer().value();
  CHECK(writer.write(bytes_of("second"), soon()));
  CHECK(peer.wait() == 0);
}

TEST_CASE("each side waits for the other to come, until a deadline") {
  for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block}) {
    auto stream = Stream::create().value();
    auto pair = parley::os::Pipe::create().value();
    Peer writing([&] {
      auto writer = stream.writer().value();
      writer.set_wait_strategy(strategy);
      REQUIRE(writer.wait_for_reader(soon()));
      REQUIRE(writer.write(bytes_of("x"), soon()));
      REQUIRE(writer.wait_for_reader(soon()));
    });
    parley::test::wait_until_asleep(writing.pid());
    auto reader = stream.reader().value();
    CHECK(read_text(reader) == "x");
    CHECK(read_text(reader).empty());
    Peer reading([&] {
      auto other = Stream::adopt(parley::os::duplicate(stream.descriptor()).value()).value();
      const auto deadline = soon();
      auto mine = other.reader();
      while (!mine && !deadline.has_passed()) mine = other.reader();
      mine->set_wait_strategy(strategy);
      REQUIRE(mine->wait_for_writer(soon()));
      REQUIRE(read_text(*mine) == "y");
    });
    reader.close();
    parley::test::wait_until_asleep(reading.pid());
    auto writer = stream.writer().value();
    CHECK(writer.write(bytes_of("y"), soon()));
  }
}

TEST_CASE("many bytes in random pieces arrive as they were, however both sides wait") {
  constexpr std::size_t all = 16U << 20U;
  for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block}) {
    for (const std::size_t capacity : {std::size_t{4096}, std::size_t{1} << 18U}) {
      auto stream = Stream::create({.capacity_bytes = capacity}).value();
      Peer peer([&] {
        auto writer = stream.writer().value();
        writer.set_wait_strategy(strategy);
        Sequence sequence(1);
        std::mt19937 sizes(2);
        for (std::size_t done = 0; done < all;) {
          Bytes bytes(std::min<std::size_t>(sizes() % (2 * capacity) + 1, all - done));
          sequence.next(bytes);
          REQUIRE(writer.write(bytes, soon()));
          done += bytes.size();
        }
        writer.close();
      });
      auto reader = stream.reader().value();
      reader.set_wait_strategy(strategy);
      Sequence sequence(1);
      Bytes expected(capacity);
      std::size_t done = 0;
      REQUIRE(reader.wait_for_writer(soon()));
      for (;;) {
        const auto there = reader.peek(1, soon()).value();
        if (there.empty()) break;
        const auto bytes = std::span(expected).first(there.size());
        sequence.next(bytes);
        REQUIRE(std::ranges::equal(there, bytes));
        REQUIRE(reader.consume(there.size()));
        done += there.size();
      }
      CHECK(done == all);
    }
  }
}

TEST_CASE("a named stream keeps what was written when everybody has died") {
  const parley::test::TempDir dir;
  const auto path = dir / "stream";
  Peer peer([&] {
    auto stream = Stream::create(path).value();
    static StreamWriter writer = stream.writer().value();
    REQUIRE(writer.write(bytes_of("kept"), soon()));
    ::kill(getpid(), SIGKILL);
  });
  CHECK(peer.wait() == -SIGKILL);
  auto stream = Stream::open(path).value();
  auto reader = stream.reader().value();
  CHECK(read_text(reader) == "kept");
  CHECK(read_error(reader) == Error::peer_died);
  CHECK(stream.writer());
}

TEST_CASE("a named stream that is truncated under its users is corrupt, and nobody gets a signal") {
  const parley::test::TempDir dir;
  const auto path = dir / "stream";
  auto stream = Stream::create(path, {.capacity_bytes = 1U << 16U}).value();
  auto writer = stream.writer().value();
  auto reader = stream.reader().value();
  CHECK(writer.write(Bytes(60'000), soon()));
  REQUIRE(truncate(path.c_str(), 8192) == 0);
  Bytes into(60'000);
  CHECK(reader.read(into, soon()).error() == Error::corrupt);
  CHECK(reader.read(into, soon()).error() == Error::corrupt);
  CHECK(writer.write(into, soon()).error() == Error::corrupt);
  CHECK(stream.writer().error() == Error::corrupt);
}

TEST_CASE("to write and to read what is there makes no system call and allocates nothing") {
  auto stream = Stream::create({.capacity_bytes = small}).value();
  Peer peer([&] {
    auto writer = stream.writer().value();
    auto reader = stream.reader().value();
    Bytes bytes(small);
    const iovec area{.iov_base = bytes.data(), .iov_len = bytes.size()};
    parley::test::become_bare();
    bool good = true;
    for (int i = 0; i < 100; ++i) {
      for (int j = 0; j < 10; ++j) {
        good &= writer.write(std::span(bytes).first(64), Deadline::never()).has_value();
      }
      good &= writer.write_some(bytes, Deadline::never()).value() == small - 640;
      good &= !writer.write(bytes, Deadline::now()).has_value();
      good &= reader.read_all(std::span(bytes).first(64), Deadline::never()).value() == 64;
      good &= reader.read({&area, 1}, Deadline::never()).value() == small - 64;
      good &= !reader.read(bytes, Deadline::now()).has_value();
      good &= writer.reserve(100, Deadline::never()).has_value() && writer.commit(100).has_value();
      good &= reader.peek(100, Deadline::never()).has_value() && reader.consume(100).has_value();
      good &= writer.wait_for_reader(Deadline::never()).has_value();
      good &= reader.wait_for_writer(Deadline::never()).has_value();
    }
    parley::test::end_bare(good);
  });
  CHECK(peer.wait() == 0);
}
