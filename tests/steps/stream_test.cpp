#include <parley/stream.hpp>

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shm/layout/segment.hpp"
#include "steps/explorer.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::Stream;
using parley::StreamEnd;
using parley::StreamReader;
using parley::StreamWriter;
using parley::WaitStrategy;
using parley::test::explore;
using parley::test::Found;
using parley::test::Search;
using parley::test::SteppedRun;

constexpr std::size_t capacity = 4096;

/// What stands from one position on. Nothing that a thread which dies would leave unfreed.
auto numbered(std::size_t from, std::size_t count) -> std::span<const std::byte> {
  static const auto all = [] {
    std::array<std::byte, 4 * capacity> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes.at(i) = static_cast<std::byte>(i % 251);
    return bytes;
  }();
  return std::span(all).subspan(from, count);
}

/// A stream with a handle for each of three threads, in places 1 to 3, and one for the check.
class World {
 public:
  World() {
    handles_.reserve(4);
    handles_.push_back(Stream::create({.capacity_bytes = capacity, .participants = 4}).value());
    while (handles_.size() < 4) {
      auto copy = parley::os::duplicate(handles_[0].descriptor()).value();
      handles_.push_back(Stream::adopt(std::move(copy)).value());
    }
    places_ = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
                   handles_[0].descriptor().number(), 0);
    REQUIRE(places_ != MAP_FAILED);
  }
  World(const World&) = delete;
  auto operator=(const World&) -> World& = delete;
  ~World() { munmap(places_, 4096); }

  // The search may end the patience with the latch.
  void claim_writer(std::size_t thread) {
    auto claimed = handles_[thread].writer();
    while (!claimed) claimed = handles_[thread].writer();
    writer = *std::move(claimed);
    writer->set_wait_strategy(WaitStrategy::block);
  }
  void claim_reader(std::size_t thread) {
    auto claimed = handles_[thread].reader();
    while (!claimed) claimed = handles_[thread].reader();
    reader = *std::move(claimed);
    reader->set_wait_strategy(WaitStrategy::block);
  }

  /// Until the end: how many bytes that was, or what ended it.
  auto read_to_end() -> parley::Result<std::size_t> {
    std::size_t all = 0;
    std::array<std::byte, 2000> into{};
    for (;;) {
      const auto got = PARLEY_TRY(reader->read(into, Deadline::never()));
      if (got == 0) return all;
      CHECK(std::ranges::equal(std::span(into).first(got), numbered(all, got)));
      all += got;
      bytes_read = all;
    }
  }

  auto operator[](std::size_t thread) -> Stream& { return handles_[thread]; }
  auto judge() -> Stream& { return handles_[3]; }

  /// The life word of a thread's participant.
  [[nodiscard]] auto life(std::size_t thread) const -> std::uint32_t* {
    auto* const bytes = static_cast<std::byte*>(places_) + parley::shm::places_offset;
    return reinterpret_cast<std::uint32_t*>(bytes + (thread + 1) * sizeof(parley::shm::Place));
  }

 private:
  std::vector<Stream> handles_;
  void* places_;

 public:
  std::optional<StreamWriter> writer;
  std::optional<StreamReader> reader;
  std::size_t bytes_read = 0;
};

/// With both ends claimed: the writer's by the first thread, the reader's by the second.
auto joined() -> std::shared_ptr<World> {
  auto world = std::make_shared<World>();
  world->claim_writer(0);
  world->claim_reader(1);
  return world;
}

auto search(int preemptions) -> Search {
  const bool full = std::getenv("PARLEY_FULL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  return {.preemptions = preemptions + (full ? 1 : 0),
          .runs = full ? 1'000'000U : 2'000U,
          .random_runs = full ? 100'000U : 2'000U};
}

void check_sound(const Found& found) {
  CHECK_FALSE(found.stuck.has_value());
  CHECK(found.runs > 10);
}

}  // namespace

TEST_CASE("bytes and their end reach a reader in every order") {
  check_sound(explore(
      "one way",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                              CHECK(world->writer->write(numbered(0, 10), Deadline::never()));
                              CHECK(world->writer->write(numbered(10, 20), Deadline::never()));
                              world->writer->close();
                            }},
                            {[world] { CHECK(world->read_to_end() == 30); }}},
                .check = [world] { CHECK(world->judge().status()->bytes_waiting == 0); }};
      },
      search(3)));
}

TEST_CASE("a write longer than the stream goes through in every order") {
  check_sound(explore(
      "full and empty",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                              CHECK(world->writer->write(numbered(0, 2 * capacity + 7),
                                                         Deadline::never()));
                              world->writer->close();
                            }},
                            {[world] { CHECK(world->read_to_end() == 2 * capacity + 7); }}},
                .check = [world] { CHECK(world->judge().status()->bytes_waiting == 0); }};
      },
      search(2)));
}

TEST_CASE("who waits for many bytes or much room gets them in every order") {
  check_sound(explore(
      "thresholds",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                              for (int i = 0; i < 3; ++i) {
                                CHECK(world->writer->reserve(1500, Deadline::never()));
                                CHECK(world->writer->commit(1500));
                              }
                            }},
                            {[world] {
                              CHECK(world->reader->peek(3000, Deadline::never())->size() >= 3000);
                              CHECK(world->reader->consume(1000));
                              CHECK(world->reader->peek(3500, Deadline::never())->size() == 3500);
                            }}},
                .check = [world] { CHECK(world->judge().status()->bytes_waiting == 3500); }};
      },
      search(2)));
}

TEST_CASE("a writer that dies at any step leaves whole writes, and its reader is told") {
  check_sound(explore(
      "death of the writer",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                               CHECK(world->writer->write(numbered(0, 10), Deadline::never()));
                               CHECK(world->writer->write(numbered(10, 20), Deadline::never()));
                               world->writer->close();
                             },
                             world->life(0)},
                            {[world] {
                              const auto all = world->read_to_end();
                              if (all) CHECK(*all == 30);
                              if (!all) CHECK(all.error() == Error::peer_died);
                              const auto bytes = world->bytes_read;
                              CHECK((bytes == 0 || bytes == 10 || bytes == 30));
                            }}},
                .check = [world] { CHECK(world->judge().status()->writer != StreamEnd::held); }};
      },
      search(2)));
}

TEST_CASE("a reader that dies at any step is told to a writer that waits for room") {
  check_sound(explore(
      "death of the reader",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                              const auto written = world->writer->write(numbered(0, 2 * capacity),
                                                                        Deadline::never());
                              if (!written) CHECK(written.error() == Error::broken_pipe);
                              world->writer->close();
                            }},
                            {[world] { static_cast<void>(world->read_to_end()); }, world->life(1)}},
                .check = [world] {
                  const auto status = world->judge().status().value();
                  CHECK(status.bytes_waiting <= capacity);
                }};
      },
      search(2)));
}

TEST_CASE("one who buries the writer and dies does not keep its death from the reader") {
  check_sound(explore(
      "death of the writer and of who buries it",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                               CHECK(world->writer->write(numbered(0, 10), Deadline::never()));
                               world->writer->close();
                             },
                             world->life(0)},
                            {[world] {
                              const auto all = world->read_to_end();
                              if (all) CHECK(*all == 10);
                              if (!all) CHECK(all.error() == Error::peer_died);
                            }},
                            {[world] { static_cast<void>((*world)[2].status()); }, world->life(2)}},
                .check = [world] { CHECK(world->judge().status()->writer != StreamEnd::held); }};
      },
      search(1)));
}

TEST_CASE("each side's coming is seen by who waits for it in every order") {
  check_sound(explore(
      "rendezvous",
      []() -> SteppedRun {
        auto world = std::make_shared<World>();
        return {.threads = {{[world] {
                              world->claim_writer(0);
                              CHECK(world->writer->wait_for_reader(Deadline::never()));
                            }},
                            {[world] {
                              world->claim_reader(1);
                              CHECK(world->reader->wait_for_writer(Deadline::never()));
                            }}},
                .check = [] {}};
      },
      search(2)));
}

TEST_CASE("a read that ends at its deadline has its bytes or left them") {
  check_sound(explore(
      "deadline against bytes",
      []() -> SteppedRun {
        auto world = joined();
        return {.threads = {{[world] {
                              CHECK(world->writer->write(numbered(0, 10), Deadline::never()));
                            }},
                            {[world] {
                              std::array<std::byte, 20> into{};
                              const auto got =
                                  world->reader->read(into, Deadline::after(std::chrono::hours(1)));
                              world->bytes_read = got.value_or(0);
                              if (!got) CHECK(got.error() == Error::timed_out);
                            }}},
                .check = [world] {
                  CHECK(world->judge().status()->bytes_waiting + world->bytes_read == 10);
                }};
      },
      search(3)));
}

TEST_CASE("a wake-up of a stream that is not sent is found") {
  const auto found =
      explore("mutant: no wake-up",
              []() -> SteppedRun {
                auto world = joined();
                return {.threads = {{[world] {
                                      static_cast<void>(
                                          world->writer->write(numbered(0, 10), Deadline::never()));
                                    }},
                                    {[world] {
                                      static_cast<void>(world->reader->peek(10, Deadline::never()));
                                    }}},
                        .check = [] {}};
              },
              {.loses_wakes = true});
  CHECK(found.stuck.has_value());
}
