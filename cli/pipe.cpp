// parley pipe: standard input into a named Stream, or a named Stream to standard output.
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <parley/stream.hpp>

#include "command.hpp"
#include "objects.hpp"
#include "terminal.hpp"
#include "tour/quantities.hpp"

namespace parley::cli {
namespace {

struct Options {
  std::string path;
  bool write = false;
  bool read = false;
  bool tee = false;
  std::uint64_t capacity_bytes = StreamOptions{}.capacity_bytes;
  std::optional<double> timeout_s;

  [[nodiscard]] auto deadline() const -> Deadline {
    using Seconds = std::chrono::duration<double>;
    constexpr double a_year_s = 365.0 * 86'400;
    if (!timeout_s || *timeout_s > a_year_s) return Deadline::never();
    return Deadline::after(
        std::chrono::duration_cast<Deadline::Clock::duration>(Seconds(std::max(*timeout_s, 0.0))));
  }
};

constexpr std::size_t bytes_at_once = std::size_t{256} * 1024;

/// How much has gone through, on standard error where that is a terminal, a few times a second.
class Progress {
 public:
  Progress() : shown_(terminal_at(STDERR_FILENO).is_terminal) {}
  Progress(const Progress&) = delete;
  auto operator=(const Progress&) -> Progress& = delete;
  ~Progress() { say(""); }

  void say(std::string_view line) const {
    if (!shown_) return;
    // Gone when the command ends, or is replaced. If it cannot be said nothing is lost.
    [[maybe_unused]] const auto said =
        write_all(os::BorrowedFd::from_number(STDERR_FILENO), fmt::format("\r\x1b[K{}", line));
  }

  void add(std::size_t bytes) {
    bytes_ += bytes;
    if (!shown_) return;
    const auto now = Clock::now();
    constexpr std::chrono::milliseconds between{200};
    if (now - said_ < between) return;
    said_ = now;
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    const auto bytes_now = static_cast<double>(bytes_);
    say(fmt::format("{}, {}/s", with_byte_unit(bytes_now), with_byte_unit(bytes_now / seconds)));
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool shown_;
  std::uint64_t bytes_ = 0;
  Clock::time_point begun_ = Clock::now();
  Clock::time_point said_ = begun_;
};

/// Waits for bytes: standard input may be shared with somebody who set O_NONBLOCK.
auto read_input(std::span<std::byte> into) -> Result<std::size_t> {
  for (;;) {
    const auto got = ::read(STDIN_FILENO, into.data(), into.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EAGAIN) {
      pollfd entry{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
      ::poll(&entry, 1, -1);
    } else if (errno != EINTR) {
      return failure(last_error());
    }
  }
}

auto write_bytes(std::span<const std::byte> bytes) -> Result<void> {
  return write_output({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// One run of the command.
class Piping {
 public:
  explicit Piping(const Options& options)
      : options_(options), who_(naming("pipe", options.path)), deadline_(options.deadline()) {}

  auto run() -> Status {
    auto opened = Stream::open_or_create(
        options_.path, {.capacity_bytes = static_cast<std::size_t>(options_.capacity_bytes)});
    if (!opened) return fail(why_not(opened.error(), "a stream"));
    return options_.write || options_.tee ? write(*opened) : read(*opened);
  }

 private:
  auto fail(const std::string& why, Status status = Status::failure) -> Status {
    progress_.say("");
    complain(who_ + ": " + why);
    return status;
  }

  auto fail_to_wait(Error error, std::string_view who) -> Status {
    if (error == deadline_.error()) {
      return fail(fmt::format("no {} came in time", who), Status::not_in_time);
    }
    return fail_to_move(error);
  }

  auto fail_to_move(Error error) -> Status {
    if (error == Error::broken_pipe) return fail("nobody reads any more", Status::peer_gone);
    if (error == Error::peer_died) return fail("the writer died", Status::peer_gone);
    return fail(why_not(error, "a stream"));
  }

  /// What was to be read is not all there: the end stays as it is, and dies with this process, so
  /// that the reader is told.
  static void abandon(StreamWriter writer) {
    static auto* const kept = new StreamWriter(std::move(writer));
    static_cast<void>(kept);
  }

  auto write(Stream& stream) -> Status {
    auto claimed = stream.writer();
    if (!claimed) return fail_to_claim(claimed.error(), "writer");
    auto& writer = *claimed;
    progress_.say("waiting for a reader");
    if (const auto came = writer.wait_for_reader(deadline_); !came) {
      writer.hand_over();
      return fail_to_wait(came.error(), "reader");
    }
    for (;;) {
      const auto room = writer.reserve(1, Deadline::never());
      if (!room) return fail_to_move(room.error());
      const auto got = read_input(room->first(std::min(room->size(), bytes_at_once)));
      if (!got) {
        abandon(std::move(writer));
        return fail("standard input: " + message(got.error()));
      }
      if (*got == 0) return Status::success;
      if (options_.tee) {
        if (const auto copied = write_bytes(room->first(*got)); !copied) {
          abandon(std::move(writer));
          return fail("standard output: " + message(copied.error()));
        }
      }
      if (const auto written = writer.commit(*got); !written) return fail_to_move(written.error());
      progress_.add(*got);
    }
  }

  auto read(Stream& stream) -> Status {
    auto claimed = stream.reader();
    if (!claimed) return fail_to_claim(claimed.error(), "reader");
    auto& reader = *claimed;
    progress_.say("waiting for a writer");
    if (const auto came = reader.wait_for_writer(deadline_); !came) {
      reader.hand_over();
      return fail_to_wait(came.error(), "writer");
    }
    for (;;) {
      const auto there = reader.peek(1, Deadline::never());
      if (!there) return fail_to_move(there.error());
      if (there->empty()) return Status::success;
      const auto bytes = there->first(std::min(there->size(), bytes_at_once));
      if (const auto copied = write_bytes(bytes); !copied) {
        return fail("standard output: " + message(copied.error()));
      }
      if (const auto read = reader.consume(bytes.size()); !read) return fail_to_move(read.error());
      progress_.add(bytes.size());
    }
  }

  auto fail_to_claim(Error error, std::string_view end) -> Status {
    if (error == Error::busy) return fail(fmt::format("it has a {} already", end));
    return fail(why_not(error, "a stream"));
  }

  const Options& options_;
  std::string who_;
  Deadline deadline_;
  Progress progress_;
};

/// Whether somebody stands behind it who gives or takes bytes: a pipe, a socket, a file.
auto is_joined(int fd) -> bool {
  struct stat status{};
  return fstat(fd, &status) == 0 &&
         (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISREG(status.st_mode));
}

/// Fills in the direction where it was not said.
void choose_direction(Options& options) {
  if (options.read || options.write || options.tee) return;
  options.write = is_joined(STDIN_FILENO);
  options.read = is_joined(STDOUT_FILENO);
  if (options.read == options.write) {
    throw CLI::ValidationError("pipe",
                               "cannot tell which way: say --write (standard input into the "
                               "stream) or --read (the stream to standard output)");
  }
}

}  // namespace

void add_pipe(CLI::App& parley, int& exit_status) {
  CLI::App* pipe = parley.add_subcommand(
      "pipe", "Write standard input into a named stream, or a named stream to standard output.");
  const auto options = std::make_shared<Options>();
  pipe->add_option("PATH", options->path, "The stream; made where it is missing")->required();
  auto* const write =
      pipe->add_flag("-w,--write", options->write, "Standard input into the stream");
  auto* const read = pipe->add_flag("-r,--read", options->read, "The stream to standard output");
  auto* const tee =
      pipe->add_flag("--tee", options->tee, "As --write, and to standard output as well");
  read->excludes(write)->excludes(tee);
  pipe->add_option("--capacity", options->capacity_bytes,
                   "Of a stream that is made: 4K to 1G, a power of two")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(Stream::capacity_bytes_at_least, Stream::capacity_bytes_at_most))
      ->option_text("BYTES");
  pipe->add_option("--timeout", options->timeout_s, "How long to wait for the other side to come")
      ->check(CLI::NonNegativeNumber)
      ->option_text("SECONDS");
  pipe->callback([options, &exit_status] {
    choose_direction(*options);
    exit_status = static_cast<int>(Piping(*options).run());
  });
}

}  // namespace parley::cli
