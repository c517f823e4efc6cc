#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "differential/comparison.hpp"
#include "support/long_run.hpp"

using namespace std::chrono_literals;
using namespace parley;
using namespace parley::test;

namespace {

/// A program, made as it goes: what may come next depends on who is blocked.
class Program {
 public:
  Program(std::uint64_t seed, const TempDir& directory, Participants& participants)
      : random_(seed),
        participants_(participants.size()),
        count_(1 + below(3)),
        undo_(below(4) != 0),
        comparison_(directory, participants, some_values(), undo_) {}

  void run() {
    const auto steps = 20 + below(100);
    for (std::size_t i = 0; i < steps; ++i) {
      if (comparison_.is_removed() && below(6) == 0) return;
      next();
    }
  }

 private:
  auto below(std::size_t bound) -> std::size_t {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
  }
  auto one_in(std::size_t chances) -> bool { return below(chances) == 0; }

  auto some_value() -> std::uint16_t {
    return static_cast<std::uint16_t>(one_in(20) ? 32767 - below(2) : below(4));
  }

  auto some_values() -> std::vector<std::uint16_t> {
    std::vector<std::uint16_t> values(count_);
    for (auto& value : values) value = some_value();
    return values;
  }

  auto some_operation() -> SemaphoreOperation {
    const int delta =
        one_in(30) ? static_cast<int>(below(3)) * 32767 - 32767 : static_cast<int>(below(7)) - 3;
    return {.index = static_cast<std::uint16_t>(below(count_)),
            .delta = static_cast<std::int16_t>(delta),
            .no_wait = one_in(8),
            .undo = undo_ && one_in(2)};
  }

  auto some_call(bool may_block) -> Command {
    Command command;
    constexpr std::array<std::uint16_t, 10> sizes{1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    command.count = sizes.at(below(sizes.size()));
    const auto operations = std::span(command.operations).first(command.count);
    for (auto& each : operations) each = some_operation();
    if (waits_for_several_zeros(command)) {
      for (auto& each : command.operations) each.no_wait = false;  // see `translate`
    }
    if (one_in(60)) spoil(command);
    const auto patience = below(8);
    if (!may_block || patience == 0) command.patience = Patience::none;
    const bool has_no_wait = std::ranges::any_of(operations, &SemaphoreOperation::no_wait);
    // At its end the kernel's wrapper could not tell a deadline from an operation's own no_wait.
    if (may_block && patience == 1 && !has_no_wait) command.patience = Patience::brief;
    return command;
  }

  /// What a call must refuse before it looks at anything else.
  void spoil(Command& command) {
    switch (below(3)) {
      case 0:
        command.count = 0;
        break;
      case 1:
        command.operations.at(below(command.count)).index = 7;
        break;
      default:
        command.count = SemaphoreSet::operations_at_most + 1;
        for (auto& each : command.operations) each = {.index = 0, .delta = 0};
    }
  }

  auto some_setting() -> Command {
    Command command{.verb = one_in(2) ? Verb::set_value : Verb::set_values};
    command.index = static_cast<std::uint16_t>(one_in(20) ? count_ : below(count_));
    command.value = one_in(12) ? 32768 - static_cast<int>(below(2)) * 32769 : some_value();
    command.count = static_cast<std::uint16_t>(count_);
    for (auto& value : command.values) value = some_value();
    if (one_in(20)) command.values.at(below(count_)) = 40000;
    return command;
  }

  void next() {
    const auto who = below(participants_);
    const bool blocked = comparison_.is_blocked(who);
    const auto kind = below(100);
    if (kind < 5 && !comparison_.is_removed()) {
      const auto how = below(3);
      comparison_.replace(who, blocked || how == 0 ? std::nullopt
                               : how == 1          ? std::optional(Verb::leave)
                                                   : std::optional(Verb::exit));
    } else if (kind < 15) {
      comparison_.step(blocked ? Comparison::conductor : who, some_setting());
    } else if (kind < 16) {
      comparison_.step(blocked ? Comparison::conductor : who, {.verb = Verb::remove});
    } else {
      comparison_.step(blocked ? Comparison::conductor : who, some_call(!blocked));
    }
  }

  std::mt19937_64 random_;
  std::size_t participants_;
  std::size_t count_;
  bool undo_;
  Comparison comparison_;
};

}  // namespace

TEST_CASE("random programs of semaphore operations do the same as in the kernel") {
  auto seed_of_program = seed();
  const TempDir directory;
  Participants participants;
  for (int i = 0; i < 4; ++i) participants.push_back(std::make_unique<Participant>());
  const auto end = Deadline::after(time_budget(20s, 10min));
  std::size_t programs = 0;
  for (; !end.has_passed(); ++seed_of_program, ++programs) {
    CAPTURE(seed_of_program);
    Program(seed_of_program, directory, participants).run();
  }
  std::printf("%zu steps of %zu random programs compared\n", Comparison::steps(), programs);
}
