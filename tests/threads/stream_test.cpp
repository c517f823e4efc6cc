#include <parley/stream.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Stream;
using parley::StreamPair;
using parley::StreamSide;
using parley::WaitStrategy;
using Bytes = std::vector<std::byte>;

constexpr auto in_time = 30s;

/// What stands at each position of a stream.
auto byte_at(std::size_t position) -> std::byte {
  return static_cast<std::byte>(position * 7 % 253);
}

}  // namespace

TEST_CASE("two threads at the ends of one stream pass every byte in order") {
  constexpr std::size_t all = 2'000'000;
  for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block, WaitStrategy::spin}) {
    auto stream = Stream::create({.capacity_bytes = 1U << 14U}).value();
    auto writer = stream.writer().value();
    auto reader = stream.reader().value();
    writer.set_wait_strategy(strategy);
    reader.set_wait_strategy(strategy);
    std::thread writing([&] {
      std::minstd_rand random(1);
      for (std::size_t done = 0; done < all;) {
        const auto most = std::min<std::size_t>(random() % 5000 + 1, all - done);
        auto room = writer.reserve(1, Deadline::after(in_time)).value();
        room = room.first(std::min(room.size(), most));
        for (auto& byte : room) byte = byte_at(done++);
        CHECK(writer.commit(room.size()));
      }
      writer.close();
    });
    std::minstd_rand random(2);
    std::size_t done = 0;
    bool same = true;
    for (;;) {
      Bytes into(random() % 5000 + 1);
      const auto got = reader.read(into, Deadline::after(in_time)).value();
      if (got == 0) break;
      for (const auto byte : std::span(into).first(got)) same &= byte == byte_at(done++);
    }
    writing.join();
    CHECK(same);
    CHECK(done == all);
  }
}

TEST_CASE("threads on both sides of a pair answer each other, also with short deadlines") {
  constexpr std::uint32_t rounds = 3'000;
  auto pair = StreamPair::create({.capacity_bytes = 4096}).value();
  auto first = pair.first().value();
  auto second = pair.second().value();
  const auto get = [](StreamSide& side) {
    std::uint32_t number = 0;
    const auto into = std::as_writable_bytes(std::span(&number, 1));
    for (std::size_t got = 0; got < into.size();) {
      const auto more = side.reader.read(into.subspan(got), Deadline::after(20us));
      if (!more) CHECK(more.error() == Error::timed_out);
      got += more.value_or(0);
    }
    return number;
  };
  const auto put = [](StreamSide& side, std::uint32_t number) {
    CHECK(side.writer.write(std::as_bytes(std::span(&number, 1)), Deadline::after(in_time)));
  };
  std::thread answering([&] {
    for (std::uint32_t i = 0; i < rounds; ++i) put(second, get(second) + 1);
  });
  bool right = true;
  for (std::uint32_t i = 0; i < rounds; ++i) {
    put(first, 2 * i);
    right &= get(first) == 2 * i + 1;
  }
  answering.join();
  CHECK(right);
}
