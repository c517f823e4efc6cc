// Processes that die while they hold, take or leave an end of a stream.
#include <doctest/doctest.h>

#include <array>

#include "crash/stream_world.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {
namespace {

constexpr auto capacity = StreamWorld::capacity;

/// Enough for every place of a call, few enough to try all.
constexpr Sample every{.of_instructions = 3000};

/// Attaching runs through the kernel and the C library for most of its way.
constexpr Sample attaching{.of_instructions = 200, .of_instructions_in_full = 1000};

/// So that its keeper, which no debugger stops, sleeps already and meets no breakpoint.
void take_part_elsewhere() {
  static const auto other = Stream::create({.capacity_bytes = capacity}).value();
}

/// 60 bytes in place, 70 copied, 80 from two areas.
void write_in_every_way(StreamWorld& world) {
  const auto from = static_cast<std::size_t>(world.ring().written.load_acquire());
  const auto room = world.writer->reserve(60, in_time()).value();
  std::ranges::copy(numbered(from, 60), room.begin());
  REQUIRE(world.writer->commit(60));
  world.write(70);
  auto rest = numbered(from + 130, 80);
  const std::array<iovec, 2> areas{
      {{.iov_base = rest.data(), .iov_len = 30}, {.iov_base = &rest[30], .iov_len = 50}}};
  REQUIRE(world.writer->write_some(areas, in_time()).value() == 80);
}

void read_in_every_way(StreamWorld& world) {
  REQUIRE(world.reader->peek(60, in_time()).value().size() >= 60);
  REQUIRE(world.reader->consume(60));
  std::vector<std::byte> into(150);
  REQUIRE(world.reader->read(std::span(into).first(70), in_time()).value() == 70);
  const std::array<iovec, 2> areas{
      {{.iov_base = into.data(), .iov_len = 30}, {.iov_base = &into[30], .iov_len = 50}}};
  REQUIRE(world.reader->read_all(areas, in_time()).value() == 80);
}

/// So far a dead writer came, of these.
auto is_one_of(std::size_t bytes, std::initializer_list<std::size_t> these) -> bool {
  return std::ranges::find(these, bytes) != these.end();
}

}  // namespace

TEST_CASE("a writer that dies leaves whole writes, and then peer_died") {
  crash_at_each_step(
      [](Round& round) {
        StreamWorld world;
        world.claim_reader();
        Victim victim(
            round,
            [&] {
              world.claim_writer();
              world.write(10);
            },
            [&] { write_in_every_way(world); });
        victim.strike();
        const auto all = world.read_to_end(in_time());
        CHECK(all.error == Error::peer_died);
        CHECK(is_one_of(all.bytes, {10, 70, 140, 220}));
        if (round.lived(0)) CHECK(all.bytes == 220);
        world.check_of_use();
      },
      every);
}

TEST_CASE("a reader that sleeps gets what a dying writer wrote, and is told") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    Victim victim(round, [&] { world.claim_writer(); }, [&] { write_in_every_way(world); });
    Blocked reading([&] { world.claim_reader(); },
                    [&] {
                      const auto all = world.read_to_end(Deadline::never());
                      REQUIRE(all.error == Error::peer_died);
                      REQUIRE(is_one_of(all.bytes, {0, 60, 130, 210}));
                      world.reader->close();
                    });
    victim.strike();
    reading.must_finish();
    world.check_of_use();
  });
}

TEST_CASE("a writer that dies while it waits for room leaves what it had written") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    world.claim_reader();
    Victim victim(
        round,
        [&] {
          world.claim_writer();
          world.write(capacity - 10);
        },
        [&] {
          const auto written = world.writer->write(numbered(capacity - 10, 100),
                                                   Deadline::after(std::chrono::milliseconds(1)));
          REQUIRE(written.error() == Error::timed_out);
        });
    victim.strike();
    const auto all = world.read_to_end(in_time());
    CHECK(all.error == Error::peer_died);
    CHECK(is_one_of(all.bytes, {capacity - 10, capacity}));
    world.check_of_use();
  });
}

TEST_CASE("a reader that dies leaves to the next what it had not consumed") {
  crash_at_each_step(
      [](Round& round) {
        StreamWorld world;
        world.claim_writer();
        world.write(300);
        Victim victim(round, [&] { world.claim_reader(); }, [&] { read_in_every_way(world); });
        victim.strike();
        CHECK(world.writer->write(numbered(300, 1), in_time()).error() == Error::broken_pipe);
        world.claim_reader();
        const auto rest = world.read_to_end(Deadline::now());
        CHECK(rest.error == Error::would_block);
        CHECK(is_one_of(rest.bytes, {300, 240, 170, 90}));
        if (round.lived(0)) CHECK(rest.bytes == 90);
        world.check_of_use();
      },
      every);
}

TEST_CASE("a writer that sleeps is told when its reader dies") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    Victim victim(round, [&] { world.claim_reader(); }, [&] { read_in_every_way(world); });
    Blocked writing([&] { world.claim_writer(); },
                    [&] {
                      const auto written =
                          world.writer->write(numbered(0, 2 * capacity), Deadline::never());
                      REQUIRE(written.error() == Error::broken_pipe);
                      world.writer->close();
                    });
    victim.strike();
    writing.must_finish();
    world.check_of_use();
  });
}

TEST_CASE("a reader that dies while it waits keeps nothing from the others") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    world.claim_writer();
    Victim victim(
        round, [&] { world.claim_reader(); },
        [&] {
          const auto all = world.read_to_end(Deadline::after(std::chrono::milliseconds(1)));
          REQUIRE(all.error == Error::timed_out);
        });
    victim.strike();
    CHECK(world.writer->write(numbered(0, 1), in_time()).error() == Error::broken_pipe);
    world.check_of_use();
  });
}

TEST_CASE("a writer that dies while it closes has closed or died") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    Victim victim(
        round,
        [&] {
          world.claim_writer();
          world.write(50);
        },
        [&] { world.writer->close(); });
    Blocked reading(
        [&] {
          world.claim_reader();
          REQUIRE(world.reader->peek(50, in_time()).value().size() == 50);
          REQUIRE(world.reader->consume(50));
        },
        [&] {
          const auto all = world.read_to_end(Deadline::never());
          REQUIRE(all.bytes == 0);
          REQUIRE(all.error.value_or(Error::peer_died) == Error::peer_died);
          world.reader->close();
        });
    victim.strike();
    reading.must_finish();
    const auto left = world.stream.status().value().writer;
    CHECK((left == StreamEnd::closed || (left == StreamEnd::died && !round.lived(0))));
    world.check_of_use();
  });
}

TEST_CASE("an end whose holder dies while handing it over is free") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    world.claim_reader();
    Victim victim(
        round,
        [&] {
          world.claim_writer();
          world.write(50);
        },
        [&] { world.writer->hand_over(); });
    victim.strike();
    const auto all = world.read_to_end(Deadline::now());
    CHECK(all.bytes == 50);
    CHECK((all.error == Error::would_block || (all.error == Error::peer_died && !round.lived(0))));
    world.check_of_use();
  });
}

TEST_CASE("who dies while it claims an end has it or not, and the death before is told") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    world.claim_reader();
    {
      Victim first(round, [&] { world.stream.status().value(); }, [&] { world.claim_writer(); });
      const Peer dead([&] {
        world.claim_writer();
        world.write(20);
      });
      // Gone, and not buried: whoever claims next does that too.
      while (world.view.dead() == 0) {
      }
      first.strike();
    }
    const auto all = world.read_to_end(in_time());
    CHECK(all.bytes == 20);
    CHECK(all.error == Error::peer_died);
    world.check_of_use();
  });
}

TEST_CASE("who dies while it claims the reader's end leaves it free") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    world.claim_writer();
    world.write(20);
    world.writer->close();
    world.writer.reset();
    Victim victim(round, [&] { world.stream.status().value(); }, [&] { world.claim_reader(); });
    victim.strike();
    world.claim_reader();
    const auto all = world.read_to_end(in_time());
    CHECK(all.bytes == 20);
    CHECK_FALSE(all.error);
    world.check_of_use();
  });
}

TEST_CASE("a death that a dying reader was told is told to the next, or was noted") {
  crash_at_each_step([](Round& round) {
    StreamWorld world;
    {
      const Peer dead([&] {
        world.claim_writer();
        world.write(20);
      });
    }
    Victim victim(
        round, [&] { world.claim_reader(); },
        [&] { REQUIRE(world.read_to_end(in_time()).error == Error::peer_died); });
    victim.strike();
    world.claim_reader();
    const auto rest = world.read_to_end(Deadline::now());
    CHECK((rest.bytes == 0 || !round.lived(0)));
    CHECK(
        (rest.error == Error::would_block || (rest.error == Error::peer_died && !round.lived(0))));
    world.check_of_use();
  });
}

TEST_CASE("whoever takes part, writes, reads and leaves may die at any of it") {
  crash_at_each_step(
      [](Round& round) {
        StreamWorld world;
        world.claim_reader();
        Victim victim(round, take_part_elsewhere, [&] {
          auto own = Stream::adopt(os::duplicate(world.stream.descriptor()).value()).value();
          auto writer = own.writer().value();
          REQUIRE(writer.write(numbered(0, 30), in_time()));
          writer.close();
        });
        victim.strike();
        const auto all = world.read_to_end(Deadline::now());
        CHECK(is_one_of(all.bytes, {0, 30}));
        if (round.lived(0)) CHECK((all.bytes == 30 && !all.error));
        world.check_of_use();
      },
      attaching);
}

TEST_CASE("a dead writer that is buried by one that dies is told to a reader that sleeps") {
  crash_at_each_pair([](Round& round) {
    StreamWorld world;
    Victim first(round, [&] { world.claim_writer(); }, [&] { write_in_every_way(world); });
    Victim second(
        round, [&] { world.stream.status().value(); }, [&] { world.stream.status().value(); });
    Blocked reading([&] { world.claim_reader(); },
                    [&] {
                      const auto all = world.read_to_end(Deadline::never());
                      REQUIRE(all.error == Error::peer_died);
                      REQUIRE(is_one_of(all.bytes, {0, 60, 130, 210}));
                      world.reader->close();
                    });
    first.strike();
    second.strike();
    reading.must_finish();
    world.check_of_use();
  });
}

TEST_CASE("who dies while it claims a side of a pair leaves both ends free") {
  crash_at_each_step(
      [](Round& round) {
        auto pair = StreamPair::create({.capacity_bytes = capacity, .participants = 5}).value();
        auto first = pair.first().value();
        std::optional<StreamSide> second;
        REQUIRE(first.writer.write(numbered(0, 10), in_time()));
        Victim victim(round, take_part_elsewhere, [&] { second = pair.second().value(); });
        victim.strike();
        second = pair.second().value();
        std::vector<std::byte> into(20);
        CHECK(second->reader.read(into, in_time()).value() == 10);
        CHECK(second->writer.write(numbered(0, 10), in_time()));
        const SegmentView view(pair.descriptor());
        CHECK(view.dead() == 0);
        CHECK(view.taken() == 1);
      },
      attaching);
}

TEST_CASE("a named stream whose maker dies has its name when it is whole, or not at all") {
  crash_at_each_step(
      [](Round& round) {
        const TempDir dir;
        const auto path = dir / "stream";
        Victim victim(round, take_part_elsewhere,
                      [&] { REQUIRE(Stream::create(path, {.capacity_bytes = capacity})); });
        victim.strike();
        auto stream = Stream::open(path);
        CHECK((stream || (stream.error() == Error::not_found && !round.lived(0))));
        if (!stream) return;
        CHECK(stream->writer());
        CHECK(stream->status().value().participants == 1);
      },
      attaching);
}

}  // namespace parley::test
