#include "tour/supervisor.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "tour/worker.hpp"

namespace parley::cli {
namespace {

using namespace std::chrono_literals;

/// After so long without any report the mechanism stands still. Counted in short waits and not by
/// the clock, so that a tour which was itself stopped (Ctrl-Z) may go on.
constexpr auto wait_at_most = 1000ms;
constexpr int silent_waits_at_most = 20;

/// A process that reports an error often does so because the other one died: so long that death
/// has time to be seen, for it is the cause.
constexpr auto settling = 200ms;

auto name_of(Side side) -> std::string_view {
  return side == Side::sender ? "sender" : "receiver";
}

auto name_of(Task task) -> std::string_view {
  switch (task) {
    case Task::joining:
      return "opening it";
    case Task::moving:
      return "moving the file";
    case Task::echoing:
      break;
  }
  return "making round trips";
}

/// The two processes of one stop.
class Pair {
 public:
  Pair(Mechanism& mechanism, const Original& original)
      : mechanism_(mechanism), original_(original) {}
  Pair(const Pair&) = delete;
  auto operator=(const Pair&) -> Pair& = delete;
  ~Pair() { end(); }

  auto start() -> Result<void> {
    reports_ = PARLEY_TRY(os::Pipe::create());
    leave_ = PARLEY_TRY(os::Pipe::create());
    for (const Side side : {Side::sender, Side::receiver}) PARLEY_TRY(start_worker(side));
    return {};
  }

  /// Until both are done or one is in trouble.
  auto watch(Signals& signals, Leftovers& leftovers,
             const std::function<void(std::uint64_t)>& progress) -> std::optional<Interrupted> {
    progress_ = &progress;
    leftovers_ = &leftovers;
    for (int silent_waits = 0; silent_waits < silent_waits_at_most;) {
      if (const auto signal = signals.taken()) return Interrupted{*signal};
      reap(Deadline::now());
      if (take_reports()) silent_waits = 0;
      if (is_over()) return std::nullopt;
      std::array<pollfd, 4> entries{};
      entries[0].fd = signals.fd().number();
      entries[1].fd = reports_->reader.fd().number();
      entries[2].fd = workers_[0].watched_fd();
      entries[3].fd = workers_[1].watched_fd();
      for (auto& entry : entries) entry.events = POLLIN;
      const auto wait = trouble_at_ ? settling : wait_at_most;
      const auto wait_ms = static_cast<int>(wait.count());
      if (poll(entries.data(), entries.size(), wait_ms) == 0) ++silent_waits;
    }
    stands_still_ = true;
    return std::nullopt;
  }

  /// Ends what still runs, and waits for it.
  void end() {
    for (auto& worker : workers_) {
      if (!worker.is_running()) continue;
      [[maybe_unused]] const auto killed = worker.process->kill(SIGKILL);
    }
    reap(Deadline::never());
  }

  /// To be asked before the end is made.
  [[nodiscard]] auto outcome() const -> Outcome {
    Outcome outcome;
    outcome.reason = trouble();
    outcome.copy = copied_.copy;
    outcome.message_bytes = started_.message_bytes;
    outcome.transfer_ns = copied_.time_ns - started_.time_ns;
    outcome.round_trips = round_trips_;
    if (!outcome.reason.empty()) {
      const bool joined = joined_count_ == workers_.size();
      const bool refused = failed_ && !joined && failed_->task == Task::joining && !was_killed();
      outcome.verdict = refused ? Verdict::refused : Verdict::failed;
    } else if (outcome.copy != original_.fingerprint()) {
      outcome.verdict = Verdict::differs;
      outcome.reason = fmt::format("the copy has {} bytes, checksum {}", outcome.copy.size_bytes,
                                   outcome.copy.hex());
    } else {
      outcome.verdict = Verdict::verified;
    }
    return outcome;
  }

 private:
  struct Worker {
    std::optional<os::Child> process;
    std::optional<os::ExitStatus> status;  ///< Once it ended.

    [[nodiscard]] auto is_running() const -> bool { return process && !status; }
    /// Readable when it ended and that was not yet seen; -1, which poll(2) passes over, after that.
    [[nodiscard]] auto watched_fd() const -> int {
      return is_running() ? process->pidfd().number() : -1;
    }
    [[nodiscard]] auto was_killed() const -> bool {
      return status && status->kind != os::ExitStatus::Kind::exited;
    }
    [[nodiscard]] auto has_ended_badly() const -> bool { return status && !status->succeeded(); }
  };

  auto start_worker(Side side) -> Result<void> {
    const auto body = [&] {
      return work(side, mechanism_, original_, std::move(reports_->writer),
                  std::move(leave_->reader));
    };
    worker(side).process = PARLEY_TRY(os::Child::fork(body, {.die_with_parent = true}));
    return {};
  }

  auto worker(Side side) -> Worker& { return workers_.at(static_cast<std::size_t>(side)); }
  [[nodiscard]] auto worker(Side side) const -> const Worker& {
    return workers_.at(static_cast<std::size_t>(side));
  }

  void reap(Deadline deadline) {
    for (auto& worker : workers_) {
      if (!worker.is_running()) continue;
      if (const auto status = worker.process->wait(deadline)) worker.status = *status;
    }
  }

  /// Whether there were any.
  auto take_reports() -> bool {
    bool any = false;
    Report report;
    const auto into = std::as_writable_bytes(std::span(&report, 1));
    // Reports come whole: they are shorter than PIPE_BUF and the pipe holds a number of them.
    while (reports_->reader.read(into, Deadline::now()).value_or(0) == into.size()) {
      any = true;
      handle(report);
    }
    return any;
  }

  void handle(const Report& report) {
    switch (report.event) {
      case Event::joined:
        if (++joined_count_ < workers_.size()) break;
        leftovers_->undo_names();
        let_sender_go_on();
        break;
      case Event::started:
        started_ = report;
        break;
      case Event::moving:
        (*progress_)(report.copy.size_bytes);
        break;
      case Event::copied:
        copied_ = report;
        let_sender_go_on();
        break;
      case Event::measured:
        if (report.side == Side::sender) round_trips_ = report.round_trips;
        break;
      case Event::failed:
        if (!failed_) failed_ = report;
        break;
    }
  }

  void let_sender_go_on() {
    constexpr std::array byte{std::byte{1}};
    // If the sender is dead, that is seen elsewhere.
    [[maybe_unused]] const auto written = leave_->writer.write(byte, Deadline::now());
  }

  [[nodiscard]] auto was_killed() const -> bool {
    return workers_[0].was_killed() || workers_[1].was_killed();
  }

  auto is_over() -> bool {
    if (was_killed()) return true;
    if (!workers_[0].is_running() && !workers_[1].is_running()) return true;
    const bool ended_badly =
        failed_ || workers_[0].has_ended_badly() || workers_[1].has_ended_badly();
    if (!ended_badly) return false;
    const auto clock = Deadline::Clock::now();
    if (!trouble_at_) trouble_at_ = clock;
    return clock - *trouble_at_ >= settling;
  }

  /// In words; empty if there was none.
  [[nodiscard]] auto trouble() const -> std::string {
    for (const Side side : {Side::sender, Side::receiver}) {
      if (!worker(side).was_killed()) continue;
      const int signal = worker(side).status->value;
      return fmt::format("the {} was killed by signal {} ({})", name_of(side), signal,
                         strsignal(signal));
    }
    if (failed_) {
      return fmt::format("the {}, {}: {}", name_of(failed_->side), name_of(failed_->task),
                         message(failed_->error));
    }
    if (stands_still_) {
      return fmt::format("stands still: no byte and no message for {} seconds",
                         silent_waits_at_most * wait_at_most / 1s);
    }
    for (const Side side : {Side::sender, Side::receiver}) {
      if (!worker(side).has_ended_badly()) continue;
      return fmt::format("the {} ended with status {}", name_of(side), worker(side).status->value);
    }
    return {};
  }

  Mechanism& mechanism_;
  const Original& original_;
  std::array<Worker, 2> workers_;
  std::optional<os::Pipe> reports_;
  std::optional<os::Pipe> leave_;  ///< A byte for each time that the sender may go on.
  const std::function<void(std::uint64_t)>* progress_ = nullptr;
  Leftovers* leftovers_ = nullptr;

  std::size_t joined_count_ = 0;
  Report started_;
  Report copied_;
  RoundTrips round_trips_;
  std::optional<Report> failed_;
  std::optional<Deadline::Clock::time_point> trouble_at_;
  bool stands_still_ = false;
};

auto not_begun(Verdict verdict, std::string_view what, Error error) -> Outcome {
  Outcome outcome;
  outcome.verdict = verdict;
  outcome.reason = fmt::format("{}: {}", what, message(error));
  return outcome;
}

}  // namespace

auto name_of(Verdict verdict) -> std::string_view {
  switch (verdict) {
    case Verdict::verified:
      return "verified";
    case Verdict::differs:
      return "differs";
    case Verdict::refused:
      return "refused";
    case Verdict::failed:
      break;
  }
  return "failed";
}

auto tour_stop(const Stop& stop, const Original& original, Signals& signals,
               const std::function<void(std::uint64_t)>& progress)
    -> std::expected<Outcome, Interrupted> {
  const auto mechanism = stop.prepare();
  Leftovers leftovers;
  const auto explore = [&]() -> std::expected<Outcome, Interrupted> {
    if (const auto made = mechanism->make(leftovers); !made) {
      return not_begun(Verdict::refused, "making it", made.error());
    }
    Pair pair(*mechanism, original);
    if (const auto started = pair.start(); !started) {
      return not_begun(Verdict::failed, "starting two processes", started.error());
    }
    const auto interrupted = pair.watch(signals, leftovers, progress);
    if (interrupted) return std::unexpected(*interrupted);
    return pair.outcome();
  };
  auto outcome = explore();
  if (outcome) outcome->stop = &stop;
  return outcome;
}

}  // namespace parley::cli
