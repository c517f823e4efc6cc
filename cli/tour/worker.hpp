// What each of the two processes does, and what it reports to the one that supervises them.
#pragma once

#include <parley/os/pipe.hpp>

#include <cstdint>

#include "tour/mechanism.hpp"
#include "tour/outcome.hpp"

namespace parley::cli {

/// The message that makes the round trips.
constexpr std::size_t echo_bytes = 64;

enum class Task : unsigned char { joining, moving, echoing };

enum class Event : unsigned char {
  joined,    ///< Holds its end; names may go.
  started,   ///< The sender: from now on the file is on its way.
  moving,    ///< The receiver has got `copy.size_bytes` until now.
  copied,    ///< The receiver: has it all, summed up.
  measured,  ///< The sender: `round_trips` is there. The receiver: it answered the last one.
  failed,    ///< With `error` at `task`; the process ends.
};

/// One report, in one piece through the pipe that both share.
struct Report {
  Side side = Side::sender;
  Event event = Event::failed;
  Task task = Task::joining;
  Error error{};
  std::int64_t time_ns = 0;  ///< Of the report: CLOCK_MONOTONIC, which both processes share.
  std::uint64_t message_bytes = 0;
  Fingerprint copy;
  RoundTrips round_trips;
};

/// Joins, moves the file, makes the round trips; before each of the latter two the sender waits for
/// a byte of `leave`. The exit status of the process: 0 when all went well.
auto work(Side side, Mechanism& mechanism, const Original& original, os::PipeWriter reports,
          os::PipeReader leave) -> int;

}  // namespace parley::cli
