#include <parley/stream.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <parley/mutex.hpp>

#include "support/temp_dir.hpp"

namespace {

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::Stream;
using parley::StreamEnd;
using parley::StreamPair;
using parley::StreamReader;
using parley::StreamWriter;
using Bytes = std::vector<std::byte>;

constexpr std::size_t small = 4096;

auto bytes_of(std::string_view text) -> std::span<const std::byte> {
  return std::as_bytes(std::span(text));
}

/// Bytes that differ from their neighbours and from those a page away.
auto numbered(std::size_t count, std::size_t first = 0) -> Bytes {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((first + i) % 251);
  return bytes;
}

auto area(std::span<std::byte> bytes) -> iovec {
  return {.iov_base = bytes.data(), .iov_len = bytes.size()};
}

/// A small stream and both its ends.
struct Ends {
  explicit Ends(std::size_t capacity = small)
      : stream(Stream::create({.capacity_bytes = capacity}).value()),
        writer(stream.writer().value()),
        reader(stream.reader().value()) {}

  auto read(std::size_t at_most) -> std::string {
    std::string text(at_most, '\0');
    const auto got = reader.read(std::as_writable_bytes(std::span(text)), Deadline::now()).value();
    return text.substr(0, got);
  }

  auto try_read() -> parley::Result<std::size_t> {
    std::byte byte{};
    return reader.read({&byte, 1}, Deadline::now());
  }

  Stream stream;
  StreamWriter writer;
  StreamReader reader;
};

auto another(const Stream& stream) -> Stream {
  return Stream::adopt(parley::os::duplicate(stream.descriptor()).value()).value();
}

}  // namespace

TEST_CASE("bytes come out in the order in which they went in, in whatever pieces") {
  Ends ends;
  CHECK(ends.writer.write(bytes_of("hello "), Deadline::now()));
  CHECK(ends.writer.write(bytes_of("world"), Deadline::now()));
  CHECK(ends.reader.bytes_waiting() == 11);
  CHECK(ends.read(3) == "hel");
  CHECK(ends.read(100) == "lo world");
  CHECK(ends.writer.bytes_waiting() == 0);
}

TEST_CASE("a capacity is rounded up to a power of two, and has its bounds") {
  CHECK(Stream::create({.capacity_bytes = 5000}).value().capacity_bytes() == 8192);
  CHECK(Stream::create({.capacity_bytes = 4096}).value().capacity_bytes() == 4096);
  CHECK(Stream::create({.capacity_bytes = 4095}).error() == Error::invalid);
  CHECK(Stream::create({.capacity_bytes = (std::size_t{1} << 30U) + 1}).error() == Error::invalid);
  CHECK(Stream::create({.participants = 0}).error() == Error::invalid);
}

TEST_CASE("what is full takes no more until something was read") {
  Ends ends;
  const auto all = numbered(small + 1);
  CHECK(ends.writer.write_some(all, Deadline::now()).value() == small);
  CHECK(ends.writer.write_some(all, Deadline::now()).error() == Error::would_block);
  CHECK(ends.writer.write_some(all, Deadline::after(1ms)).error() == Error::timed_out);
  CHECK(ends.writer.reserve(1, Deadline::now()).error() == Error::would_block);
  CHECK(ends.read(10).size() == 10);
  CHECK(ends.writer.write_some(all, Deadline::now()).value() == 10);
}

TEST_CASE("what is empty gives nothing until something was written") {
  Ends ends;
  Bytes into(10);
  CHECK(ends.reader.read(into, Deadline::now()).error() == Error::would_block);
  CHECK(ends.reader.read(into, Deadline::after(1ms)).error() == Error::timed_out);
  CHECK(ends.reader.peek(1, Deadline::now()).error() == Error::would_block);
  CHECK(ends.writer.write(bytes_of("x"), Deadline::now()));
  CHECK(ends.reader.peek(2, Deadline::now()).error() == Error::would_block);
  CHECK(ends.reader.read(into, Deadline::now()).value() == 1);
}

TEST_CASE("to move no bytes does nothing") {
  Ends ends;
  CHECK(ends.writer.write(std::span<const std::byte>{}, Deadline::now()));
  CHECK(ends.writer.write_some(std::span<const iovec>{}, Deadline::now()).value() == 0);
  CHECK(ends.reader.read(std::span<std::byte>{}, Deadline::now()).value() == 0);
  CHECK(ends.reader.read_all(std::span<std::byte>{}, Deadline::now()).value() == 0);
  CHECK(ends.reader.peek(0, Deadline::now()).value().empty());
  CHECK(ends.writer.commit(0));
  CHECK(ends.reader.consume(0));
  CHECK(ends.stream.status().value().bytes_waiting == 0);
}

TEST_CASE("room and bytes are one piece also over the ring's end") {
  Ends ends;
  std::size_t position = 0;
  for (const std::size_t step : {1000U, 4096U, 3000U, 4095U, 1U, 2049U}) {
    const auto room = ends.writer.reserve(step, Deadline::now()).value();
    REQUIRE(room.size() >= step);
    std::ranges::copy(numbered(step, position), room.begin());
    CHECK(ends.writer.commit(step));
    const auto there = ends.reader.peek(step, Deadline::now()).value();
    REQUIRE(there.size() == step);
    CHECK(std::ranges::equal(there, numbered(step, position)));
    CHECK(ends.reader.consume(step));
    position += step;
  }
}

TEST_CASE("what was reserved and not committed was never written") {
  Ends ends;
  auto room = ends.writer.reserve(small, Deadline::now()).value();
  std::ranges::fill(room, std::byte{'x'});
  CHECK(ends.reader.peek(1, Deadline::now()).error() == Error::would_block);
  CHECK(ends.writer.commit(2));
  CHECK(ends.read(10) == "xx");
}

TEST_CASE("what was peeked at and not consumed comes again") {
  Ends ends;
  CHECK(ends.writer.write(bytes_of("abc"), Deadline::now()));
  CHECK(ends.reader.peek(3, Deadline::now()).value().size() == 3);
  CHECK(ends.reader.consume(1));
  CHECK(ends.read(10) == "bc");
}

TEST_CASE("nobody commits or consumes more than was given, or asks for more than the capacity") {
  Ends ends;
  CHECK(ends.writer.reserve(small + 1, Deadline::now()).error() == Error::invalid);
  CHECK(ends.reader.peek(small + 1, Deadline::now()).error() == Error::invalid);
  CHECK(ends.writer.reserve(1, Deadline::now()).value().size() == small);
  CHECK(ends.writer.commit(small + 1).error() == Error::invalid);
  CHECK(ends.writer.commit(10));
  CHECK(ends.reader.peek(1, Deadline::now()).value().size() == 10);
  CHECK(ends.reader.consume(11).error() == Error::invalid);
}

TEST_CASE("bytes are gathered from areas and scattered into others") {
  Ends ends;
  auto first = numbered(100);
  auto second = numbered(3000, 100);
  const std::array out{area(first), iovec{}, area(second)};
  CHECK(ends.writer.write(out, Deadline::now()));
  CHECK(ends.writer.write_some(out, Deadline::now()).value() == small - 3100);
  Bytes one(1);
  Bytes other(2999);
  Bytes last(5000);
  const std::array in{area(one), area(other), iovec{}, area(last)};
  CHECK(ends.reader.read_all(std::span(in).first(2), Deadline::now()).value() == 3000);
  CHECK(one == numbered(1));
  CHECK(other == numbered(2999, 1));
  CHECK(ends.reader.read(std::span(in).last(2), Deadline::now()).value() == small - 3000);
  CHECK(std::ranges::equal(std::span(last).first(100), numbered(100, 3000)));
}

TEST_CASE("a whole write longer than the stream goes through while another reads") {
  Ends ends;
  const auto all = numbered(10 * small + 123);
  std::thread writer([&] {
    CHECK(ends.writer.write(all, Deadline::after(30s)));
    ends.writer.close();
  });
  Bytes got(all.size() + 1);
  CHECK(ends.reader.read_all(got, Deadline::after(30s)).value() == all.size());
  writer.join();
  got.pop_back();
  CHECK(got == all);
}

TEST_CASE("after the last byte of a writer that closed comes the end, again and again") {
  Ends ends;
  CHECK(ends.writer.write(bytes_of("last"), Deadline::now()));
  ends.writer.close();
  CHECK(ends.stream.status().value().writer == StreamEnd::closed);
  CHECK(ends.reader.peek(10, Deadline::never()).value().size() == 4);
  CHECK(ends.read(10) == "last");
  CHECK(ends.read(10).empty());
  CHECK(ends.read(10).empty());
  CHECK(ends.reader.peek(1, Deadline::never()).value().empty());
  CHECK(ends.writer.write(bytes_of("x"), Deadline::now()).error() == Error::bad_descriptor);
  CHECK(ends.writer.commit(0).error() == Error::bad_descriptor);
  CHECK(ends.writer.wait_for_reader(Deadline::now()).error() == Error::bad_descriptor);
}

TEST_CASE("an end that goes out of scope is closed") {
  auto stream = Stream::create().value();
  auto reader = stream.reader().value();
  CHECK(stream.writer().value().write(bytes_of("x"), Deadline::now()));
  Bytes into(2);
  CHECK(reader.read(into, Deadline::now()).value() == 1);
  CHECK(reader.read(into, Deadline::now()).value() == 0);
}

TEST_CASE("an end outlives the handle that it came from") {
  auto stream = std::make_unique<Stream>(Stream::create().value());
  auto other = another(*stream);
  auto writer = stream->writer().value();
  stream.reset();
  CHECK(writer.write(bytes_of("x"), Deadline::now()));
  CHECK(other.status().value().writer == StreamEnd::held);
  CHECK(other.status().value().bytes_waiting == 1);
}

TEST_CASE("a stream of which nobody has read yet takes its capacity") {
  auto stream = Stream::create({.capacity_bytes = small}).value();
  auto writer = stream.writer().value();
  CHECK(writer.write(numbered(small), Deadline::now()));
  CHECK(writer.write(numbered(1), Deadline::now()).error() == Error::would_block);
  CHECK(writer.wait_for_reader(Deadline::now()).error() == Error::would_block);
  auto reader = stream.reader().value();
  CHECK(writer.wait_for_reader(Deadline::now()));
  CHECK(reader.peek(small, Deadline::now()).value().size() == small);
}

TEST_CASE("a writer whose reader has gone gets broken_pipe until another comes") {
  Ends ends;
  CHECK(ends.writer.write(bytes_of("kept"), Deadline::now()));
  ends.reader.close();
  CHECK(ends.writer.write(bytes_of("x"), Deadline::never()).error() == Error::broken_pipe);
  CHECK(ends.writer.write_some(bytes_of("x"), Deadline::never()).error() == Error::broken_pipe);
  CHECK(ends.writer.reserve(1, Deadline::never()).error() == Error::broken_pipe);
  CHECK(ends.writer.commit(1).error() == Error::broken_pipe);
  CHECK(ends.writer.wait_for_reader(Deadline::never()).error() == Error::broken_pipe);
  CHECK(ends.try_read().error() == Error::bad_descriptor);
  CHECK(ends.reader.consume(0).error() == Error::bad_descriptor);
  ends.reader = ends.stream.reader().value();
  CHECK(ends.writer.write(bytes_of("!"), Deadline::now()));
  CHECK(ends.read(10) == "kept!");
}

TEST_CASE("a reader that left before this writer came is not this writer's") {
  Ends ends;
  ends.reader.close();
  ends.writer.close();
  auto writer = ends.stream.writer().value();
  CHECK(writer.write(bytes_of("x"), Deadline::now()));
}

TEST_CASE("an end has one holder") {
  Ends ends;
  auto other = another(ends.stream);
  CHECK(ends.stream.writer().error() == Error::busy);
  CHECK(other.writer().error() == Error::busy);
  CHECK(other.reader().error() == Error::busy);
  ends.writer.close();
  CHECK(other.writer());
  ends.reader.close();
  CHECK(other.reader());
}

TEST_CASE("an end that is handed over ends nothing for the other side") {
  Ends ends;
  auto other = another(ends.stream);
  CHECK(ends.writer.write(bytes_of("one "), Deadline::now()));
  ends.writer.hand_over();
  CHECK(ends.stream.status().value().writer == StreamEnd::vacant);
  CHECK(ends.read(10) == "one ");
  CHECK(ends.try_read().error() == Error::would_block);
  auto writer = other.writer().value();
  CHECK(writer.write(bytes_of("two"), Deadline::now()));
  CHECK(ends.read(10) == "two");
  ends.reader.hand_over();
  CHECK(writer.write(bytes_of(" three"), Deadline::now()));
  auto reader = other.reader().value();
  Bytes into(10);
  CHECK(reader.read(into, Deadline::now()).value() == 6);
}

TEST_CASE("the bytes of writers that closed follow each other where the reader comes later") {
  auto stream = Stream::create().value();
  CHECK(stream.writer().value().write(bytes_of("one "), Deadline::now()));
  CHECK(stream.writer().value().write(bytes_of("two"), Deadline::now()));
  auto reader = stream.reader().value();
  Bytes into(10);
  CHECK(reader.read_all(into, Deadline::now()).value() == 7);
}

TEST_CASE("a reader waits for a writer that has not come, or comes again") {
  auto stream = Stream::create().value();
  auto reader = stream.reader().value();
  Bytes into(10);
  CHECK(reader.wait_for_writer(Deadline::now()).error() == Error::would_block);
  CHECK(reader.read(into, Deadline::after(1ms)).error() == Error::timed_out);
  stream.writer().value();
  CHECK(reader.wait_for_writer(Deadline::now()));  // it came, and its end is still to be told
  CHECK(reader.read(into, Deadline::now()).value() == 0);
  CHECK(reader.wait_for_writer(Deadline::now()).error() == Error::would_block);
  CHECK(reader.wait_for_writer(Deadline::after(1ms)).error() == Error::timed_out);
  const auto writer = stream.writer().value();
  CHECK(reader.wait_for_writer(Deadline::now()));
  CHECK(reader.read(into, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("an end that one reader was told is not the next one's") {
  auto stream = Stream::create().value();
  stream.writer().value();
  Bytes into(1);
  {
    auto reader = stream.reader().value();
    CHECK(reader.read(into, Deadline::now()).value() == 0);
  }
  auto reader = stream.reader().value();
  CHECK(reader.read(into, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("both sides of a pair write to each other, and each has one holder") {
  auto pair = StreamPair::create({.capacity_bytes = small}).value();
  CHECK(pair.capacity_bytes() == small);
  auto first = pair.first().value();
  auto other = StreamPair::adopt(parley::os::duplicate(pair.descriptor()).value()).value();
  CHECK(other.first().error() == Error::busy);
  auto second = other.second().value();
  CHECK(first.writer.write(bytes_of("there"), Deadline::now()));
  CHECK(second.writer.write(bytes_of("back"), Deadline::now()));
  Bytes into(10);
  CHECK(second.reader.read(into, Deadline::now()).value() == 5);
  CHECK(into[0] == std::byte{'t'});
  CHECK(first.reader.read(into, Deadline::now()).value() == 4);
  CHECK(into[0] == std::byte{'b'});
  second.writer.close();
  CHECK(first.reader.read(into, Deadline::now()).value() == 0);
  CHECK(other.second().error() == Error::busy);  // the end that reads is still held
  CHECK(first.reader.read(into, Deadline::now()).value() == 0);
}

TEST_CASE("a stream, a pair and another object are not taken for each other") {
  const parley::test::TempDir dir;
  const auto path = dir / "stream";
  {
    const auto stream = Stream::create(path).value();
    CHECK(Stream::create(path).error() == Error::exists);
    CHECK(StreamPair::open(path).error() == Error::wrong_kind);
    CHECK(parley::Mutex::open(path).error() == Error::wrong_kind);
    CHECK(Stream::open(path).value().capacity_bytes() == stream.capacity_bytes());
  }
  CHECK(Stream::open_or_create(path, {.capacity_bytes = small}).value().capacity_bytes() > small);
  CHECK(Stream::unlink(path));
  CHECK(Stream::open(path).error() == Error::not_found);
  CHECK(StreamPair::open_or_create(path));
  CHECK(Stream::open(path).error() == Error::wrong_kind);
  CHECK(StreamPair::unlink(path));
  CHECK(Stream::create("").error() == Error::invalid);
}

TEST_CASE("random pieces written and read in every way arrive as they were") {
  std::mt19937 random(7);
  const auto below = [&](std::size_t bound) { return std::size_t{random()} % bound; };
  Ends ends;
  std::size_t written = 0;
  std::size_t read = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = numbered(below(3000), written);
    if (below(2) == 0) {
      if (const auto room = ends.writer.reserve(bytes.size(), Deadline::now())) {
        std::ranges::copy(bytes, room->begin());
        CHECK(ends.writer.commit(bytes.size()));
        written += bytes.size();
      }
    } else {
      const auto middle = below(bytes.size() + 1);
      const std::array areas{area(std::span(bytes).first(middle)),
                             area(std::span(bytes).subspan(middle))};
      written += ends.writer.write_some(areas, Deadline::now()).value_or(0);
    }
    Bytes into(below(3000));
    std::size_t got = 0;
    if (below(2) == 0) {
      const auto there = ends.reader.peek(1, Deadline::now());
      got = std::min(there ? there->size() : 0, into.size());
      if (there) std::ranges::copy(there->first(got), into.begin());
      CHECK(ends.reader.consume(got));
    } else {
      got = ends.reader.read(into, Deadline::now()).value_or(0);
    }
    into.resize(got);
    REQUIRE(into == numbered(got, read));
    read += got;
    REQUIRE(ends.writer.bytes_waiting() == written - read);
  }
  CHECK(written > 1'000'000);
}
