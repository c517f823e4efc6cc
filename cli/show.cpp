// parley show: what an object says of itself, without taking part in it.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "seconds.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

struct Options {
  std::string path;
  bool json = false;
  bool watch = false;
  std::optional<double> interval_s;
};

class Show {
 public:
  explicit Show(const Options& options) : options_(options), who_(naming("show", options.path)) {}

  auto run() -> int {
    if (!options_.watch && !options_.interval_s) {
      auto seen = look();
      return seen ? tell(*seen, std::nullopt) : static_cast<int>(Status::usage);
    }
    auto signals = Signals::block();
    if (!signals) return complain_of(message(signals.error()), Status::failure);
    auto before = look();
    if (!before) return static_cast<int>(Status::usage);
    for (;;) {
      const auto start = Deadline::Clock::now();
      const auto next = deadline_after(options_.interval_s.value_or(1));
      if (const auto signal = signals->taken_until(next)) return 128 + *signal;
      auto after = look();
      if (!after) return static_cast<int>(Status::usage);
      const std::chrono::duration<double> passed = Deadline::Clock::now() - start;
      const auto rates = rates_between(before->inspection, after->inspection, passed.count());
      const int status = tell(*after, rates);
      if (!options_.watch || status != 0) return status;
      before = std::move(after);
    }
  }

 private:
  auto complain_of(const std::string& why, Status status) -> int {
    complain(who_ + ": " + why);
    return static_cast<int>(status);
  }

  auto look() -> std::optional<Seen> {
    auto inspection = inspect(options_.path);
    if (inspection) return Seen{.path = options_.path, .inspection = *std::move(inspection)};
    complain(who_ + ": " + why_not_seen(inspection.error()));
    return std::nullopt;
  }

  auto tell(const Seen& seen, const std::optional<Rates>& rates) -> int {
    std::string text;
    if (options_.json) {
      text = written(as_json(seen, rates), options_.watch ? -1 : 2);
    } else {
      text = as_text(seen, rates) + (options_.watch ? "\n" : "");
    }
    const auto told = write_output(text);
    if (told) return static_cast<int>(Status::success);
    return complain_of("standard output: " + message(told.error()), Status::failure);
  }

  const Options& options_;
  std::string who_;
};

}  // namespace

void add_show(CLI::App& parley, int& exit_status) {
  CLI::App* show = parley.add_subcommand(
      "show", "Tell what an object holds, who takes part, and what the dead have left.");
  const auto options = std::make_shared<Options>();
  show->add_option("PATH", options->path, "The object: a path, or a name in the default place")
      ->required()
      ->type_name("");
  show->add_flag("--json", options->json, "Write it as JSON; with --watch a line each time");
  show->add_flag("--watch", options->watch, "Again and again, until interrupted");
  show->add_option("--interval", options->interval_s,
                   "Look twice, so long apart, and tell rates; with --watch 1 by default")
      ->check(check_seconds)
      ->type_name("SECONDS");
  show->callback([options, &exit_status] { exit_status = Show(*options).run(); });
}

}  // namespace parley::cli
