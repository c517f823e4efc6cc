// A stream whose writers and readers are killed in traffic, again and again.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include <parley/stream.hpp>

#include "crash/killer.hpp"
#include "crash/segment_view.hpp"
#include "objects/stream_table.hpp"
#include "support/long_run.hpp"
#include "support/peer.hpp"

using namespace std::chrono_literals;

namespace parley::test {
namespace {

constexpr std::size_t capacity = 1U << 15U;

auto byte_at(std::uint64_t position) -> std::byte {
  return static_cast<std::byte>((position * 0x9e37'79b9'7f4a'7c15U) >> 56U);
}

auto soon() -> Deadline {
  return Deadline::after(30s);
}

template <class Claim>
auto claim(Claim claim) {
  const auto deadline = soon();
  auto end = claim();
  for (; !end; end = claim()) {
    REQUIRE(end.error() == Error::busy);  // the last holder is dying
    REQUIRE_FALSE(deadline.has_passed());
  }
  return *std::move(end);
}

void set_strategy(StreamRole& role, std::mt19937_64& random) {
  role.set_wait_strategy(random() % 2 == 0 ? WaitStrategy::adaptive : WaitStrategy::block);
}

/// Mostly small ones, and now and then one that does not fit.
auto piece(std::mt19937_64& random) -> std::size_t {
  return 1 + random() % (random() % 4 == 0 ? 2 * capacity : 200);
}

class Traffic {
 public:
  Traffic()
      : stream_(Stream::create({.capacity_bytes = capacity}).value()),
        view_(stream_.descriptor()),
        table_(StreamTable::of(view_.body(), view_.place_count()).value()) {}

  /// Writes until it is killed.
  void write(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    auto writer = claim([&] { return stream_.writer(); });
    set_strategy(writer, random);
    std::vector<std::byte> bytes(2 * capacity);
    for (;;) {
      const auto from = table_.ring(0).written.load_acquire();
      const auto size = piece(random);
      const bool in_place = random() % 2 == 0;
      auto into = std::span(bytes).first(size);
      Result<void> done;
      if (in_place) {
        const auto room = writer.reserve(std::min(size, capacity), soon());
        if (room) into = room->first(std::min(size, capacity));
        done = room ? Result<void>() : failure(room.error());
      }
      for (std::size_t i = 0; i < into.size(); ++i) into[i] = byte_at(from + i);
      if (done) done = in_place ? writer.commit(into.size()) : writer.write(into, soon());
      if (done) acknowledged_.store(from + into.size());
      // Without a reader: until the next one has come.
      REQUIRE((done || done.error() == Error::broken_pipe));
      if (!done) usleep(100);
    }
  }

  /// Reads and compares until it is killed.
  void read(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    auto reader = claim([&] { return stream_.reader(); });
    set_strategy(reader, random);
    std::vector<std::byte> into(2 * capacity);
    for (;;) {
      const auto from = table_.ring(0).read.load_acquire();
      std::span<const std::byte> got;
      std::optional<Error> error;
      const bool in_place = random() % 2 == 0;
      if (in_place) {
        const auto there = reader.peek(1, soon());
        if (there) got = *there;
        if (!there) error = there.error();
      } else {
        const auto count = reader.read(std::span(into).first(piece(random)), soon());
        if (count) got = std::span(into).first(*count);
        if (!count) error = count.error();
      }
      if (error) {
        REQUIRE(error == Error::peer_died);
        told_.store(told_.load() + 1);
        REQUIRE(reader.wait_for_writer(soon()));
        continue;
      }
      for (std::size_t i = 0; i < got.size(); ++i) REQUIRE(got[i] == byte_at(from + i));
      if (in_place) REQUIRE(reader.consume(got.size()));
    }
  }

  /// What must hold while nobody is inside.
  void check() {
    CHECK(stream_.status().value().participants == 1);
    CHECK(view_.dead() == 0);
    const auto& ring = table_.ring(0);
    CHECK(ring.written.load_acquire() >= acknowledged_.load());
    CHECK(ring.written.load_acquire() - ring.read.load_acquire() <= capacity);
  }

  [[nodiscard]] auto bytes() const -> std::uint64_t { return acknowledged_.load(); }
  [[nodiscard]] auto told() const -> std::uint64_t { return told_.load(); }

 private:
  Stream stream_;
  SegmentView view_;
  StreamTable table_;
  Shared<std::uint64_t> acknowledged_;
  Shared<std::uint64_t> told_;
};

}  // namespace

TEST_CASE(
    "while writers and readers are killed in traffic every byte is read, and deaths are told") {
  std::mt19937_64 random(seed());
  const auto end = Deadline::after(time_budget(5s, 600s));
  Traffic traffic;
  using Side = std::unique_ptr<Peer>;
  const auto writing = [&] {
    return std::make_unique<Peer>([&, start = random()] { traffic.write(start); });
  };
  const auto reading = [&] {
    return std::make_unique<Peer>([&, start = random()] { traffic.read(start); });
  };
  Side writer;
  Side reader;
  std::uint64_t writers_killed = 0;
  std::uint64_t readers_killed = 0;
  while (!end.has_passed()) {
    if (!writer) writer = writing();
    if (!reader) reader = reading();
    usleep(static_cast<unsigned>(random() % 4000));
    const auto who = random() % 8;
    if (who <= 3 || who == 7) {
      writer->kill();
      writer.reset();
      ++writers_killed;
    }
    if (who >= 4) {
      reader->kill();
      reader.reset();
      ++readers_killed;
    }
    if (!writer && !reader) traffic.check();
  }
  if (writer) writer->kill();
  if (reader) reader->kill();
  traffic.check();
  CHECK(traffic.bytes() > 0);
  CHECK(traffic.told() > 0);
  // A reader that is killed before this was noted is told twice.
  CHECK(traffic.told() <= writers_killed + readers_killed);
  std::printf("%llu bytes; %llu writers and %llu readers killed, %llu deaths told\n",
              static_cast<unsigned long long>(traffic.bytes()),
              static_cast<unsigned long long>(writers_killed),
              static_cast<unsigned long long>(readers_killed),
              static_cast<unsigned long long>(traffic.told()));
}

}  // namespace parley::test
