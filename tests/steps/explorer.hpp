// Runs a few threads one step at a time, in every order that there is.
//
// A step is an access to shared memory, a system call, a sleep or a wake-up: whatever the seam's
// Director sees. Exactly one thread runs between two steps; which one is next is a choice. A run is
// replayed from a list of choices and goes on with the first option at every further choice; then
// the last choice that has another option is changed, until none is left (depth first). A switch
// away from a thread that could go on is a preemption, and a search may bound their number.
//
// Sleeps are virtual: a thread that sleeps goes on when one of its words is woken or, if it has a
// deadline, whenever the search chooses that its time is over; so may the time be for a piece of
// work, where `breaks` allows it. A thread may be mortal: then at each
// of its steps the search may also choose that it dies there, as a killed process would: it is
// gone, its life word says so, and one who sleeps on that is woken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace parley::test {

struct SteppedThread {
  std::function<void()> body;
  /// For a thread that may die: its participant's life word, in any mapping of the object.
  std::uint32_t* life = nullptr;
};

/// One run's threads and what must hold after it. Made anew for each run.
struct SteppedRun {
  std::vector<SteppedThread> threads;
  std::function<void()> check;  ///< Not where the run got stuck.
};

struct Search {
  int preemptions = 2;              ///< At most, in one run; deaths do not count.
  int time_outs = 2;                ///< At most, in one run, while anybody else could go on.
  std::size_t runs = 2'000;         ///< At most, depth first.
  std::size_t random_runs = 2'000;  ///< After these, with choices from a seed that is printed.
  int breaks = 0;                   ///< Times at most that a piece of work takes too long.
  bool loses_wakes = false;         ///< A mutant: no wake-up arrives.
};

struct Found {
  std::size_t runs = 0;
  bool complete = false;             ///< Every order within the bound was tried.
  std::optional<std::string> stuck;  ///< The choices after which all slept for ever.
};

/// Explores and prints the number of runs; PARLEY_SEED sets the seed. With PARLEY_CHOICES="0 1 0 …"
/// in the environment, which a stuck or failing run prints, only that run is made.
auto explore(const char* name, const std::function<SteppedRun()>& make, const Search& search = {})
    -> Found;

}  // namespace parley::test
