#include <parley/stream.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <vector>

#include "support/faults.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Stream;
using parley::StreamOptions;
using parley::StreamPair;
using parley::test::fail_each_call;
using parley::test::Failures;
using parley::test::interrupt_each_call;
using parley::test::Outcome;

// The boot id and the barriers are done without where they are not to be had.
constexpr auto survivable = Failures::may_be_survived;
constexpr StreamOptions small{.capacity_bytes = 4096};

auto outcome_of(const auto& result) -> Outcome {
  return result ? Outcome() : parley::failure(result.error());
}

}  // namespace

TEST_CASE("a failing call while a stream is made leaves neither descriptor nor name") {
  const parley::test::TempDir dir;
  CHECK(fail_each_call([] { return outcome_of(Stream::create(small)); }, survivable) > 8);
  CHECK(fail_each_call([] { return outcome_of(StreamPair::create(small)); }, survivable) > 10);
  const auto path = dir / "stream";
  CHECK(fail_each_call(
            [&] {
              auto made = outcome_of(Stream::create(path, small));
              CHECK(std::filesystem::exists(path) == made.has_value());
              if (made) made = Stream::unlink(path);
              std::filesystem::remove(path);
              return made;
            },
            survivable) > 10);
}

TEST_CASE("a failing call while a stream is opened leaves no descriptor, and takes no end") {
  const parley::test::TempDir dir;
  const auto path = dir / "stream";
  auto stream = Stream::create(path, small).value();
  CHECK(fail_each_call(
            [&]() -> Outcome {
              auto opened = PARLEY_TRY(Stream::open(path));
              return outcome_of(opened.writer());
            },
            survivable) > 8);
  CHECK(stream.writer());
  CHECK(stream.status().value().participants == 1);
}

TEST_CASE("a failing call leaves a stream's wait as it was, or is told") {
  auto stream = Stream::create(small).value();
  auto writer = stream.writer().value();
  auto reader = stream.reader().value();
  std::vector<std::byte> into(4096);
  const auto wait = [&]() -> Outcome {
    const auto got = reader.read(into, Deadline::after(1ms));
    if (!got && got.error() == Error::timed_out) return {};
    return outcome_of(got);
  };
  CHECK(fail_each_call(wait, survivable) >= 1);
  CHECK(interrupt_each_call(wait) >= 1);
  CHECK(writer.write(into, Deadline::now()));
  const auto wait_for_room = [&]() -> Outcome {
    const auto written = writer.write(into, Deadline::after(1ms));
    if (!written && written.error() == Error::timed_out) return {};
    return written;
  };
  CHECK(fail_each_call(wait_for_room, survivable) >= 1);
  CHECK(interrupt_each_call(wait_for_room) >= 1);
  CHECK(reader.read_all(into, Deadline::now()).value() == into.size());
  CHECK(reader.read(into, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("a failing call while a death is noted is told, or survived, and the death stays") {
  auto stream = Stream::create(small).value();
  auto reader = stream.reader().value();
  {
    parley::test::Peer peer([&] { static auto writer = stream.writer().value(); });
  }
  std::byte byte{};
  CHECK(fail_each_call(
            [&]() -> Outcome {
              const auto got = reader.read({&byte, 1}, Deadline::after(1s));
              return got.error() == Error::peer_died ? Outcome() : outcome_of(got);
            },
            survivable) >= 0);
  CHECK(reader.read({&byte, 1}, Deadline::now()).error() == Error::peer_died);
}
