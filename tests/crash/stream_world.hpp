// A Stream with its ends, and what must hold of it when nobody is inside.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <doctest/doctest.h>
#include <parley/stream.hpp>

#include "crash/crash.hpp"
#include "crash/segment_view.hpp"
#include "objects/stream_table.hpp"

namespace parley::test {

/// How long a call may take that others' deaths must not hold up.
inline auto in_time() -> Deadline {
  return Deadline::after(std::chrono::seconds(20));
}

/// The bytes that a writer writes, from one position on.
inline auto numbered(std::size_t from, std::size_t count) -> std::vector<std::byte> {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((from + i) % 251);
  return bytes;
}

class StreamWorld {
 public:
  static constexpr std::size_t capacity = 4096;

  StreamWorld()
      : stream(Stream::create({.capacity_bytes = capacity, .participants = 5}).value()),
        view(stream.descriptor()),
        table_(StreamTable::of(view.body(), view.place_count()).value()) {}

  // Each process has its own: a forked one claims anew.
  void claim_writer() {
    writer = stream.writer().value();
    writer->set_wait_strategy(WaitStrategy::block);
  }
  void claim_reader() {
    reader = stream.reader().value();
    reader->set_wait_strategy(WaitStrategy::block);
  }

  /// Writes so many of the numbered bytes, from what was written until now.
  void write(std::size_t count, Deadline deadline = in_time()) {
    REQUIRE(writer->write(numbered(ring().written.load_acquire(), count), deadline));
  }

  /// Reads what is there until there is an error or the end; all of it must be what was written.
  struct Reading {
    std::size_t bytes = 0;
    std::optional<Error> error;  ///< Nothing: the end.
  };
  auto read_to_end(Deadline deadline) -> Reading {
    Reading all;
    std::vector<std::byte> into(100);
    for (;;) {
      const auto from = ring().read.load_acquire();
      const auto got = reader->read(into, deadline);
      if (!got) all.error = got.error();
      if (!got || *got == 0) return all;
      CHECK(std::ranges::equal(std::span(into).first(*got), numbered(from, *got)));
      all.bytes += *got;
    }
  }

  [[nodiscard]] auto ring() const -> shm::StreamRing& { return table_.ring(0); }

  /// What must hold once all the dead but `living` have been buried.
  void check_at_rest(std::size_t living = 1) {
    CHECK(stream.status());  // whoever uses it next buries the dead
    CHECK(table_.latch_words().holder.load_acquire() == 0);
    CHECK(ring().written.load_acquire() - ring().read.load_acquire() <= capacity);
    CHECK(view.taken() == living);
    CHECK(view.dead() == 0);
    for (const auto side : StreamTable::both_sides) {
      const auto role = StreamTable::word(ring(), side).load_acquire();
      if (!is_held(role)) continue;
      const auto life = view.place(role & ~shm::role_held).life.load_acquire();
      CHECK(life != 0);
      CHECK_FALSE(shm::is_dead(life));
    }
  }

  /// The next users find both ends free, or as this process holds them, and the stream works.
  void check_of_use() {
    check_at_rest();
    if (!reader) claim_reader();
    if (!writer) claim_writer();
    // What a dead writer left is told until all of it was.
    for (int i = 0; i < 3; ++i) static_cast<void>(read_to_end(Deadline::now()));
    write(200);
    const auto rest = read_to_end(Deadline::now());
    CHECK(rest.bytes == 200);
    CHECK(rest.error == Error::would_block);
    writer->close();
    CHECK_FALSE(read_to_end(in_time()).error);
  }

  Stream stream;
  SegmentView view;
  std::optional<StreamWriter> writer;
  std::optional<StreamReader> reader;

 private:
  StreamTable table_;
};

}  // namespace parley::test
