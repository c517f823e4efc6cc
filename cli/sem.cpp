// parley sem: runs a command while no more than so many others do.
//
// The set has two semaphores: how many may still come, and how many may run at once. The second
// never changes; it is there for whoever comes with another number.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <parley/semaphore_set.hpp>

#include "command.hpp"
#include "guarded.hpp"
#include "objects.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

/// Of them as many as may run, run; the others wait.
constexpr std::uint32_t participants_at_most = 1000;

struct Options : WaitOptions {
  std::optional<std::uint16_t> max;
};

class Slot {
 public:
  Slot(const Options& options, const std::string& who) : options_(options), who_(who) {}

  /// Opens it and waits until it is held. Else the exit status; why has been told.
  auto take() -> std::optional<int> {
    auto opened = open();
    if (!opened) return refuse(why_not(opened.error(), "a set of semaphores"));
    set_ = *std::move(opened);
    set_->set_wait_strategy(WaitStrategy::block);
    if (const auto why = why_unfit(); !why.empty()) return refuse(why);
    const auto deadline = options_.deadline();
    const auto taken = set_->operate({.index = 0, .delta = -1, .undo = true}, deadline);
    if (taken) return std::nullopt;
    if (taken.error() != deadline.error()) {
      return refuse(taken.error() == Error::no_space ? "as many wait as it takes"
                                                     : why_not(taken.error(), ""));
    }
    complain(who_ + ": all of its slots are taken");
    return options_.not_obtained_status;
  }

  void give_back() {
    static_cast<void>(set_->operate({.index = 0, .delta = 1, .undo = true}, Deadline::now()));
  }

 private:
  auto open() -> Result<SemaphoreSet> {
    if (!options_.max) return SemaphoreSet::open(options_.path);
    const std::array values{*options_.max, *options_.max};
    return SemaphoreSet::open_or_create(
        options_.path, values,
        {.participants = participants_at_most, .operations = 1, .waiters = participants_at_most});
  }

  /// Empty where it can be used.
  auto why_unfit() -> std::string {
    if (!set_->has_undo()) return "has no undo: what a killed process holds would never come back";
    if (!options_.max) return {};
    if (set_->count() != 2) return "was not made by parley sem: leave out --max to use it";
    const auto max = set_->value(1);
    if (!max) return why_not(max.error(), "");
    if (*max == *options_.max) return {};
    return fmt::format("is for {} at once, not for {}", *max, *options_.max);
  }

  auto refuse(const std::string& why) -> int {
    complain(who_ + ": " + why);
    return static_cast<int>(RunnerStatus::failure);
  }

  const Options& options_;
  const std::string& who_;
  std::optional<SemaphoreSet> set_;
};

}  // namespace

void add_sem(CLI::App& parley, const std::vector<std::string>& command, int& exit_status) {
  CLI::App* sem = parley.add_subcommand(
      "sem", "Run a command, at most N at once: parley sem PATH --max N -- CMD...");
  const auto options = std::make_shared<Options>();
  add_wait_options(*sem, *options);
  sem->add_option("--max", options->max,
                  "At most N commands at once; makes the object where it is missing")
      ->check(CLI::Range(1, SemaphoreSet::highest_value))
      ->type_name("N");
  sem->callback([options, &command, &exit_status] {
    require_command(command);
    const auto who = naming("sem", options->path);
    exit_status = run_while_held(who, Slot(*options, who), command);
  });
}

}  // namespace parley::cli
