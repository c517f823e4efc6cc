// One program of semaphore operations, run in the kernel's world and in Parley's, step by step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "differential/participant.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {

/// The processes that take part, kept from one program to the next while they live.
using Participants = std::vector<std::unique_ptr<Participant>>;

/// Whether the call does nothing but wait for more than one zero.
auto waits_for_several_zeros(const Command& command) -> bool;

/// After each step both worlds are at rest, every call answered or asleep, and must agree in what
/// the calls that ended said, in who is still blocked, and in all that can be asked of the set. A
/// difference fails the test and tells the program up to there.
class Comparison {
 public:
  /// The number of the test process itself, which also does things, but waits for nothing.
  static constexpr std::size_t conductor = ~std::size_t{0};

  Comparison(const TempDir& directory, Participants& participants,
             const std::vector<std::uint16_t>& values, bool undo);
  Comparison(const Comparison&) = delete;
  auto operator=(const Comparison&) -> Comparison& = delete;
  /// Removes both sets, and waits until nobody is blocked.
  ~Comparison();

  void step(std::size_t who, const Command& command);

  /// The participant ends, by kill -9 or, where it is not blocked, as `how` says, and another takes
  /// its place. Not in a set that was removed.
  void replace(std::size_t who, std::optional<Verb> how);

  [[nodiscard]] auto is_blocked(std::size_t who) const -> bool { return blocked_[who]; }
  [[nodiscard]] auto is_removed() const -> bool { return removed_; }

  /// How many there were, in all programs.
  static auto steps() -> std::size_t;

 private:
  /// What a call ended with; nothing while it is blocked.
  using Answers = std::vector<std::optional<int>>;

  void attach(std::size_t who);
  void tell(World world, std::size_t who, const Command& command, Answers& answers);
  /// Until nobody of those who were told something is on the way.
  void settle(World world, Answers& answers, const Answers* expected);
  [[nodiscard]] auto count() const -> std::uint16_t {
    return static_cast<std::uint16_t>(kernel_set_.count());
  }
  auto sleepers(World world) -> std::size_t;
  void compare(const Answers& kernel, const Answers& ours);
  void compare_state();
  [[noreturn]] void differ(const std::string& what);
  auto told(const Answers& answers) const -> std::string;

  Participants& participants_;
  std::string path_;
  os::sysv::SemaphoreSet kernel_set_;
  SemaphoreSet our_set_;
  std::vector<bool> blocked_;
  std::vector<bool> waits_for_several_zeros_;
  std::optional<std::size_t> hasty_;  ///< Whose call ends by its deadline, if not before.
  bool removed_ = false;
  bool somebody_ended_ = false;
  bool differs_ = false;
  bool times_are_noted_;
  std::vector<std::string> history_;
};

}  // namespace parley::test
