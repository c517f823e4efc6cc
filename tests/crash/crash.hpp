// Kills a process before its 1st, 2nd, 3rd … step, until it lives; after each, the others must
// finish their work and the object must be whole.
//
//   crash_at_each_step([](Round& round) {
//     auto set = …;                                      // afresh for each death
//     Victim victim(round, [&] { /* in peace */ }, [&] { /* dies in here */ });
//     const Blocked waiter([&] { … }, [&] { /* sleeps in here */ });
//     victim.strike();                                   // it has died, or done all and ended
//     waiter.must_finish();                              // the survivors, the invariants
//   });
//
// What a step is depends on the program that the test is built into: in `test_crash` a step on
// shared memory or a system call of the victim's first thread, in `test_crash_instructions` a
// machine instruction of it, in an optimised library without any seam. The list of points is never
// written by hand.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "crash/killer.hpp"
#include "support/peer.hpp"

namespace parley::test {

/// One run of a test's body: at which step each of its victims dies.
class Round {
 public:
  Round(std::vector<std::uint64_t> points, std::vector<Path>& paths)
      : points_(std::move(points)), paths_(paths), lived_(points_.size(), false) {}

  /// Whether the victim did all that it was to do. For one that was not made: true.
  [[nodiscard]] auto lived(std::size_t victim) const -> bool {
    return victim >= made_ || lived_.at(victim);
  }

 private:
  friend class Victim;
  std::vector<std::uint64_t> points_;
  std::vector<Path>& paths_;
  std::vector<bool> lived_;
  std::size_t made_ = 0;
};

/// A process that is to die: forked, through with `prepare`, and waiting to be struck. The rounds
/// name one point for each victim, in the order in which the body makes them.
class Victim {
 public:
  Victim(Round& round, const std::function<void()>& prepare,
         const std::function<void()>& operation);
  Victim(const Victim&) = delete;
  auto operator=(const Victim&) -> Victim& = delete;
  ~Victim();

  /// Lets it do its operation; it is gone when this returns.
  void strike();

  [[nodiscard]] auto pid() const -> pid_t { return peer_.pid(); }

 private:
  Round& round_;
  std::size_t index_;
  Killer killer_;
  Peer peer_;
  bool struck_ = false;
};

/// A participant that waits: a peer that is through with `prepare` and sleeps in `operation` when
/// the constructor returns. `operation` has no deadline of its own, so that a lost wake-up shows.
class Blocked {
 public:
  Blocked(const std::function<void()>& prepare, const std::function<void()>& operation);
  Blocked(const Blocked&) = delete;
  auto operator=(const Blocked&) -> Blocked& = delete;
  ~Blocked();  ///< Where it still waits, it is killed.

  /// Fails the test if `operation` does not return in time, or fails.
  void must_finish();

  /// Kills it, where it has not ended.
  void kill();

  [[nodiscard]] auto pid() const -> pid_t { return peer_.pid(); }

 private:
  Shared<bool> begun_;
  Peer peer_;
  bool ended_ = false;
};

/// Waits for what others do at once. Fails the test if they have not done it in some seconds.
void await(const char* what, const std::function<bool()>& is_so);

/// How many deaths there are at most, taken at random, in the default run; with PARLEY_FULL=1 all.
struct Sample {
  std::size_t of_steps = 1000;
  std::size_t of_instructions = 4000;
  std::size_t of_instructions_in_full = ~std::size_t{0};
};

/// Runs the body once for each step of its first victim. Prints how many deaths that were and,
/// where a round fails, the one command that repeats it.
void crash_at_each_step(const std::function<void(Round&)>& body, const Sample& sample = {});

/// The same for two victims: each step of the second with each step of the first.
void crash_at_each_pair(const std::function<void(Round&)>& body,
                        const Sample& sample = {.of_steps = 100,
                                                .of_instructions = 300,
                                                .of_instructions_in_full = 4000});

}  // namespace parley::test
