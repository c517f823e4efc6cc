#include "stream.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <parley/stream.hpp>

#include "paired.hpp"
#include "partner.hpp"

namespace parley::bench {
namespace {

constexpr std::size_t capacity_bytes = std::size_t{1} << 20U;
constexpr std::size_t largest_bytes = std::size_t{1} << 20U;

void write_whole(int fd, const std::byte* bytes, std::size_t count) {
  while (count > 0) {
    const auto done = write(fd, bytes, count);
    if (done <= 0) return;
    bytes += done;
    count -= static_cast<std::size_t>(done);
  }
}

void read_whole(int fd, std::byte* bytes, std::size_t count) {
  while (count > 0) {
    const auto done = read(fd, bytes, count);
    if (done <= 0) return;
    bytes += done;
    count -= static_cast<std::size_t>(done);
  }
}

/// Two pipes, one in each direction, as large as the streams.
class Pipes {
 public:
  Pipes() {
    for (auto* const ends : {&there_, &back_}) {
      keep(pipe2(ends->data(), O_CLOEXEC));
      keep(fcntl((*ends)[1], F_SETPIPE_SZ, int{capacity_bytes}));
    }
  }
  Pipes(const Pipes&) = delete;
  auto operator=(const Pipes&) -> Pipes& = delete;
  ~Pipes() {
    for (const int end : {there_[0], there_[1], back_[0], back_[1]}) close(end);
  }

  void ask(std::span<const std::byte> bytes) { write_whole(there_[1], bytes.data(), bytes.size()); }
  void hear(std::span<std::byte> bytes) { read_whole(there_[0], bytes.data(), bytes.size()); }
  void answer(std::span<const std::byte> bytes) {
    write_whole(back_[1], bytes.data(), bytes.size());
  }
  void get(std::span<std::byte> bytes) { read_whole(back_[0], bytes.data(), bytes.size()); }

 private:
  std::array<int, 2> there_{};
  std::array<int, 2> back_{};
};

/// Two words, each on a line of its own that one side owns.
struct Lines {
  alignas(128) std::uint64_t there = 0;
  alignas(128) std::uint64_t back = 0;

  static void pass(std::uint64_t& line, std::uint64_t value) {
    __atomic_store_n(&line, value, __ATOMIC_RELEASE);
  }
  static void await(const std::uint64_t& line, std::uint64_t value) {
    while (__atomic_load_n(&line, __ATOMIC_ACQUIRE) != value) __builtin_ia32_pause();
  }
};

/// A block that one core writes and the other copies.
struct Block {
  alignas(4096) std::array<std::byte, largest_bytes> bytes{};
  Lines lines;
};

/// A thing that two processes do together: so many times on this side, and as often on the other.
/// This side returns the nanoseconds of one time.
struct Duet {
  std::function<double(int)> here;
  std::function<void(int)> there;
};

/// The other side of every duet, in one process that sleeps between them.
class Duets {
 public:
  Duets(std::size_t processor, std::vector<Duet> duets)
      : duets_(std::move(duets)), partner_(processor, [this] {
          orders_->turn.await(1);
          duets_[orders_->duet].there(orders_->count);
          orders_->turn.pass(0);
        }) {}

  auto run(std::size_t duet, int count) -> double {
    orders_->duet = duet;
    orders_->count = count;
    orders_->turn.pass(1);
    const double ns = duets_[duet].here(count);
    orders_->turn.await(0);
    return ns;
  }

 private:
  struct Orders {
    Turn turn;
    std::size_t duet = 0;
    int count = 0;
  };
  Shared<Orders> orders_ = Shared<Orders>::create().value();
  std::vector<Duet> duets_;
  Partner partner_;
};

using Clock = std::chrono::steady_clock;

auto ns_since(Clock::time_point start) -> double {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

/// Of `count` runs of the body, after some that wake both sides up.
constexpr int first_runs = 20;
template <class Body>
auto timed(int count, Body body) -> double {
  for (int i = 0; i < first_runs; ++i) body();
  const auto start = Clock::now();
  for (int i = 0; i < count; ++i) body();
  return ns_since(start) / count;
}
template <class Body>
auto repeated(Body body) -> std::function<void(int)> {
  return [body](int count) mutable {
    for (int i = 0; i < first_runs + count; ++i) body();
  };
}

using Buffer = std::vector<std::byte>;

/// Round trips of a message between the sides of a pair.
class RoundTrips {
 public:
  RoundTrips(std::size_t bytes, WaitStrategy strategy)
      : pair_(StreamPair::create({.capacity_bytes = capacity_bytes}).value()),
        bytes_(bytes),
        strategy_(strategy) {}

  auto duet() -> Duet {
    return {.here =
                [this](int count) {
                  auto& side = side_of(here_, &StreamPair::first);
                  Buffer buffer(bytes_);
                  return timed(count, [&] {
                    side.writer.write(buffer, Deadline::never()).value();
                    keep(side.reader.read_all(buffer, Deadline::never()).value());
                  });
                },
            .there =
                [this](int count) {
                  auto& side = side_of(there_, &StreamPair::second);
                  Buffer buffer(bytes_);
                  repeated([&] {
                    keep(side.reader.read_all(buffer, Deadline::never()).value());
                    side.writer.write(buffer, Deadline::never()).value();
                  })(count);
                }};
  }

 private:
  auto side_of(std::optional<StreamSide>& side, Result<StreamSide> (StreamPair::*claim)())
      -> StreamSide& {
    if (!side) {
      side = (pair_.*claim)().value();
      side->writer.set_wait_strategy(strategy_);
      side->reader.set_wait_strategy(strategy_);
    }
    return *side;
  }

  StreamPair pair_;
  std::size_t bytes_;
  WaitStrategy strategy_;
  std::optional<StreamSide> here_;
  std::optional<StreamSide> there_;
};

auto round_trips_of_lines(Shared<Lines>& lines) -> Duet {
  return {.here =
              [&lines, turn = std::uint64_t{0}](int count) mutable {
                return timed(count, [&] {
                  Lines::pass(lines->there, ++turn);
                  Lines::await(lines->back, turn);
                });
              },
          .there = repeated([&lines, turn = std::uint64_t{0}]() mutable {
            Lines::await(lines->there, ++turn);
            Lines::pass(lines->back, turn);
          })};
}

auto round_trips_of_pipes(Pipes& pipes, std::size_t bytes) -> Duet {
  return {.here =
              [&pipes, bytes](int count) {
                Buffer buffer(bytes);
                return timed(count, [&] {
                  pipes.ask(buffer);
                  pipes.get(buffer);
                });
              },
          .there =
              [&pipes, bytes](int count) {
                Buffer buffer(bytes);
                repeated([&] {
                  pipes.hear(buffer);
                  pipes.answer(buffer);
                })(count);
              }};
}

auto round_trips_of_futexes(Shared<Turn>& turn) -> Duet {
  return {.here =
              [&turn](int count) {
                return timed(count, [&] {
                  turn->pass(1);
                  turn->await(0);
                });
              },
          .there = repeated([&turn] {
            turn->await(1);
            turn->pass(0);
          })};
}

/// One side writes, the other reads; the time is the reader's.
class Flow {
 public:
  explicit Flow(std::size_t bytes)
      : stream_(Stream::create({.capacity_bytes = capacity_bytes}).value()),
        bytes_(bytes),
        in_place_(false) {}

  /// In place, two messages at one time.
  static auto in_place(std::size_t bytes) -> Flow {
    return {Stream::create({.capacity_bytes = 2 * bytes}).value(), bytes, true};
  }

  auto duet() -> Duet {
    return {.here =
                [this](int count) {
                  if (!reader_) reader_ = stream_.reader().value();
                  Buffer buffer(bytes_);
                  return timed(count, [&] { read_into(buffer); });
                },
            .there =
                [this](int count) {
                  if (!writer_) writer_ = stream_.writer().value();
                  const Buffer buffer(bytes_, std::byte{1});
                  repeated([&] { write_from(buffer); })(count);
                }};
  }

 private:
  Flow(Stream stream, std::size_t bytes, bool in_place)
      : stream_(std::move(stream)), bytes_(bytes), in_place_(in_place) {}

  void read_into(Buffer& buffer) {
    if (in_place_) {
      keep(reader_->peek(bytes_, Deadline::never()).value());
      reader_->consume(bytes_).value();
    } else {
      keep(reader_->read_all(buffer, Deadline::never()).value());
    }
  }
  void write_from(const Buffer& buffer) {
    if (in_place_) {
      keep(writer_->reserve(bytes_, Deadline::never()).value());
      writer_->commit(bytes_).value();
    } else {
      writer_->write(buffer, Deadline::never()).value();
    }
  }

  Stream stream_;
  std::size_t bytes_;
  bool in_place_;
  std::optional<StreamWriter> writer_;
  std::optional<StreamReader> reader_;
};

auto flow_of_pipe(Pipes& pipes, std::size_t bytes) -> Duet {
  return {.here =
              [&pipes, bytes](int count) {
                Buffer buffer(bytes);
                return timed(count, [&] { pipes.get(buffer); });
              },
          .there =
              [&pipes, bytes](int count) {
                const Buffer buffer(bytes, std::byte{1});
                repeated([&] { pipes.answer(buffer); })(count);
              }};
}

/// Copies of a block that the other core has just written: only they are timed.
auto copies(Shared<Block>& block, std::size_t bytes) -> Duet {
  return {.here =
              [&block, bytes, turn = std::uint64_t{0}](int count) mutable {
                Buffer buffer(bytes);
                double ns = 0;
                for (int i = 0; i < first_runs + count; ++i) {
                  Lines::pass(block->lines.there, ++turn);
                  Lines::await(block->lines.back, turn);
                  const auto start = Clock::now();
                  std::memcpy(buffer.data(), block->bytes.data(), bytes);
                  keep(buffer.data());
                  if (i >= first_runs) ns += ns_since(start);
                }
                return ns / count;
              },
          .there =
              [&block, bytes, turn = std::uint64_t{0}](int count) mutable {
                const Buffer buffer(bytes, std::byte{1});
                for (int i = 0; i < first_runs + count; ++i) {
                  Lines::await(block->lines.there, ++turn);
                  std::memcpy(block->bytes.data(), buffer.data(), bytes);
                  Lines::pass(block->lines.back, turn);
                }
              }};
}

}  // namespace

void streams() {
  const auto available = processors();
  if (available.size() < 2) return fmt::print("Stream: needs two processors\n");
  const Pinned pinned(available[0]);
  auto lines = Shared<Lines>::create().value();
  auto turn = Shared<Turn>::create().value();
  auto block = Shared<Block>::create().value();
  Pipes pipes;
  RoundTrips spinning(64, WaitStrategy::spin);
  RoundTrips adaptive(64, WaitStrategy::adaptive);
  RoundTrips blocking(64, WaitStrategy::block);
  Flow small(64);
  Flow medium(64 << 10U);
  Flow large(1 << 20U);
  auto small_in_place = Flow::in_place(2 << 10U);
  auto large_in_place = Flow::in_place(1 << 20U);

  struct Line {
    std::string_view name;
    Duet ours;
    Duet theirs;
    int ours_count;
    int theirs_count;
  };
  const std::vector<Line> all{
      {"Stream: 64 B there and back, spin; bare lines", spinning.duet(),
       round_trips_of_lines(lines), 500, 500},
      {"Stream: the same, adaptive; pipe", adaptive.duet(), round_trips_of_pipes(pipes, 64), 500,
       50},
      {"Stream: the same, block; bare futex", blocking.duet(), round_trips_of_futexes(turn), 50,
       50},
      {"Stream: 64 B one way; pipe", small.duet(), flow_of_pipe(pipes, 64), 20'000, 1000},
      {"Stream: 64 KiB one way; pipe", medium.duet(), flow_of_pipe(pipes, 64 << 10U), 50, 20},
      {"Stream: 64 KiB one way; copy from other core", medium.duet(), copies(block, 64 << 10U), 50,
       50},
      {"Stream: 1 MiB one way; pipe", large.duet(), flow_of_pipe(pipes, 1 << 20U), 5, 3},
      {"Stream: 1 MiB one way; copy from other core", large.duet(), copies(block, 1 << 20U), 5, 5},
      {"Stream: 1 MiB in place; 2 KiB in place", large_in_place.duet(), small_in_place.duet(), 500,
       500},
  };
  std::vector<Duet> duets;
  for (const auto& line : all) {
    duets.push_back(line.ours);
    duets.push_back(line.theirs);
  }
  Duets pairs(available[1], std::move(duets));
  for (std::size_t i = 0; i < all.size(); ++i) {
    compare(
        all[i].name, [&] { return pairs.run(2 * i, all[i].ours_count); },
        [&] { return pairs.run(2 * i + 1, all[i].theirs_count); });
  }
}

}  // namespace parley::bench
