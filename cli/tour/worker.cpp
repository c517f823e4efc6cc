#include "tour/worker.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <climits>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace parley::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Deadline::Clock;

static_assert(std::is_trivially_copyable_v<Report> && sizeof(Report) <= PIPE_BUF);

constexpr auto progress_every = 100ms;
constexpr std::uint64_t warm_up_count = 200;
constexpr std::size_t samples_at_most = 4000;
constexpr auto sampling_at_most = 1s;

/// What goes forth and back. The filling depends on the number, so that no two are alike.
struct Echo {
  std::uint64_t number = 0;
  std::uint64_t is_last = 0;
  std::array<std::uint64_t, 6> filling{};

  Echo() = default;
  Echo(std::uint64_t which, bool last) : number(which), is_last(last ? 1 : 0) {
    for (auto& word : filling) word = which = which * 6364136223846793005 + 1442695040888963407;
  }
  auto operator==(const Echo&) const -> bool = default;
};
static_assert(sizeof(Echo) == echo_bytes && std::is_trivially_copyable_v<Echo>);

auto since_boot_ns() -> std::int64_t {
  return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
}

/// One of the two processes, from fork to exit.
class Worker {
 public:
  Worker(Side side, Mechanism& mechanism, const Original& original, os::PipeWriter reports,
         os::PipeReader leave)
      : side_(side),
        mechanism_(mechanism),
        original_(original),
        reports_(std::move(reports)),
        leave_(std::move(leave)) {}

  auto run() -> int {
    const auto outcome = side_ == Side::sender ? be_sender() : be_receiver();
    if (outcome) return 0;
    Report trouble;
    trouble.error = outcome.error();
    report(Event::failed, trouble);
    return 1;
  }

 private:
  void report(Event event, Report what = {}) {
    what.event = event;
    what.side = side_;
    what.task = task_;
    what.time_ns = since_boot_ns();
    // A supervisor that is gone takes us with it: there is nobody to tell.
    [[maybe_unused]] const auto told =
        reports_.write(std::as_bytes(std::span(&what, 1)), Deadline::never());
  }

  auto wait_for_leave() -> Result<void> {
    std::array<std::byte, 1> byte{};
    if (PARLEY_TRY(leave_.read_all(byte, Deadline::never())) == 0) return failure(Error::io);
    return {};
  }

  auto be_sender() -> Result<void> {
    PARLEY_TRY(mechanism_.join(side_));
    report(Event::joined);
    PARLEY_TRY(wait_for_leave());
    task_ = Task::moving;
    Source source = original_.source();
    Report start;
    start.message_bytes = PARLEY_TRY(mechanism_.room()).size();
    report(Event::started, start);
    PARLEY_TRY(mechanism_.send_file(source));
    PARLEY_TRY(wait_for_leave());
    task_ = Task::echoing;
    Report measured;
    measured.round_trips = PARLEY_TRY(make_round_trips());
    report(Event::measured, measured);
    return {};
  }

  auto be_receiver() -> Result<void> {
    PARLEY_TRY(mechanism_.join(side_));
    report(Event::joined);
    task_ = Task::moving;
    auto told = Clock::now();
    Copy copy(original_.size_bytes(), [&](std::uint64_t size_bytes) {
      const auto clock = Clock::now();
      if (clock - told < progress_every) return;
      told = clock;
      Report moving;
      moving.copy.size_bytes = size_bytes;
      report(Event::moving, moving);
    });
    PARLEY_TRY(mechanism_.receive_file(copy));
    Report copied;
    copied.copy = copy.fingerprint();
    report(Event::copied, copied);
    task_ = Task::echoing;
    for (;;) {
      const Echo echo = PARLEY_TRY(receive_echo());
      PARLEY_TRY(send_echo(echo));
      if (echo.is_last != 0) break;
    }
    report(Event::measured);
    return {};
  }

  auto send_echo(const Echo& echo) -> Result<void> {
    const auto room = PARLEY_TRY(mechanism_.room());
    std::memcpy(room.data(), &echo, sizeof(echo));
    return mechanism_.send(sizeof(echo));
  }

  auto receive_echo() -> Result<Echo> {
    std::array<std::byte, sizeof(Echo)> bytes{};
    for (std::size_t count = 0; count < bytes.size();) {
      const auto piece = PARLEY_TRY(mechanism_.receive());
      if (piece.empty()) return failure(Error::broken_pipe);
      if (piece.size() > bytes.size() - count) return failure(Error::corrupt);
      std::ranges::copy(piece, bytes.begin() + static_cast<std::ptrdiff_t>(count));
      count += piece.size();
    }
    return std::bit_cast<Echo>(bytes);
  }

  /// One message there and back, compared.
  auto make_round_trip(const Echo& echo) -> Result<void> {
    PARLEY_TRY(send_echo(echo));
    if (PARLEY_TRY(receive_echo()) != echo) return failure(Error::corrupt);
    return {};
  }

  auto make_round_trips() -> Result<RoundTrips> {
    std::uint64_t number = 0;
    const auto end = Clock::now() + sampling_at_most;
    while (number < warm_up_count && Clock::now() < end) {
      PARLEY_TRY(make_round_trip(Echo(++number, false)));
    }
    std::vector<std::int64_t> samples_ns;
    samples_ns.reserve(samples_at_most);
    do {
      const Echo echo(++number, false);
      const auto start = Clock::now();
      PARLEY_TRY(make_round_trip(echo));
      samples_ns.push_back(std::chrono::nanoseconds(Clock::now() - start).count());
    } while (samples_ns.size() < samples_at_most && Clock::now() < end);
    PARLEY_TRY(make_round_trip(Echo(++number, true)));

    std::ranges::sort(samples_ns);
    // Nearest rank: the smallest sample that so many per cent of all do not exceed.
    const auto at_percent = [&](std::size_t percent) {
      return samples_ns.at((samples_ns.size() * percent + 99) / 100 - 1);
    };
    return RoundTrips{.sample_count = static_cast<std::uint32_t>(samples_ns.size()),
                      .median_ns = at_percent(50),
                      .p99_ns = at_percent(99)};
  }

  Side side_;
  Mechanism& mechanism_;
  const Original& original_;
  os::PipeWriter reports_;
  os::PipeReader leave_;
  Task task_ = Task::joining;
};

}  // namespace

auto work(Side side, Mechanism& mechanism, const Original& original, os::PipeWriter reports,
          os::PipeReader leave) -> int {
  return Worker(side, mechanism, original, std::move(reports), std::move(leave)).run();
}

}  // namespace parley::cli
