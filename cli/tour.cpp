// parley tour: moves a real file through every mechanism between two processes.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "terminal.hpp"
#include "tour/meter.hpp"
#include "tour/page_file.hpp"
#include "tour/report.hpp"
#include "tour/supervisor.hpp"

namespace parley::cli {
namespace {

struct Options {
  std::optional<std::string> file;  ///< None: the command's own binary.
  std::vector<std::string> only;
  std::optional<std::string> html;  ///< None: no page.
  bool json = false;
  bool list = false;
};

void complain_of(std::string_view object, std::string_view why) {
  complain(fmt::format("tour: {}: {}", object.empty() ? "''" : printable(object), why));
}

/// Tells results; where that fails there is nothing more to do.
auto tell(std::string_view text) -> Status {
  const auto written = write_output(text);
  if (written) return Status::success;
  complain_of("standard output", message(written.error()));
  return Status::failure;
}

auto list_stops() -> Status {
  std::string text;
  for (const auto& stop : stops()) text += fmt::format("{:20}  {}\n", stop.name, stop.title);
  return tell(text);
}

auto chosen_stops(const std::vector<std::string>& only) -> std::vector<const Stop*> {
  std::vector<const Stop*> chosen;
  for (const auto& stop : stops()) {
    if (only.empty() || std::ranges::find(only, stop.name) != only.end()) chosen.push_back(&stop);
  }
  return chosen;
}

/// One tour of a file through the chosen stops.
class Tour {
 public:
  Tour(Original& original, Signals& signals, std::vector<const Stop*> chosen)
      : original_(original),
        signals_(signals),
        chosen_(std::move(chosen)),
        meter_(terminal_at(STDERR_FILENO), chosen_.size() + 1) {}

  /// The results; none when the file itself got in the way, which has then been told.
  auto run() -> std::expected<std::optional<Results>, Interrupted> {
    const auto is_readable = read_original();
    if (!is_readable) return std::unexpected(is_readable.error());
    if (!*is_readable) return std::nullopt;
    const auto start = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    Results results{.path = original_.path(),
                    .time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", start),
                    .system = System::of_this_machine(),
                    .original = original_.fingerprint(),
                    .outcomes = {}};
    for (const Stop* stop : chosen_) {
      meter_.begin(stop->title);
      auto outcome = tour_stop(*stop, original_, signals_, [&](std::uint64_t done_bytes) {
        meter_.show(done_bytes, original_.size_bytes());
      });
      if (!outcome) return std::unexpected(outcome.error());
      if (has_changed(*outcome)) {
        meter_.clear();
        complain_of(original_.path(), "changed while it was toured: the results mean nothing");
        return std::nullopt;
      }
      if (outcome->verdict != Verdict::verified) {
        meter_.clear();
        complain_of(stop->title, fmt::format("{}: {}", name_of(outcome->verdict), outcome->reason));
      }
      results.outcomes.push_back(*std::move(outcome));
    }
    return results;
  }

 private:
  auto read_original() -> std::expected<bool, Interrupted> {
    std::optional<int> signal;
    meter_.begin("reading the file");
    const auto read = original_.take_fingerprint([&](std::uint64_t done_bytes) {
      meter_.show(done_bytes, original_.size_bytes());
      signal = signals_.taken();
      return !signal;
    });
    if (signal) return std::unexpected(Interrupted{*signal});
    if (read) return true;
    meter_.clear();
    complain_of(original_.path(), message(read.error()));
    return false;
  }

  /// What looks like a broken mechanism may be a file that somebody writes to: look closely.
  [[nodiscard]] auto has_changed(const Outcome& outcome) const -> bool {
    const bool is_suspicious =
        outcome.verdict == Verdict::differs || outcome.verdict == Verdict::failed;
    return is_suspicious ? !original_.is_unchanged() : !original_.looks_unchanged();
  }

  Original& original_;
  Signals& signals_;
  std::vector<const Stop*> chosen_;
  Meter meter_;
};

auto status_of(const Results& results) -> Status {
  if (results.count(Verdict::differs) + results.count(Verdict::failed) != 0) return Status::failure;
  return results.count(Verdict::refused) != 0 ? Status::refused : Status::success;
}

/// With the signals blocked: everything of which something could be left behind.
auto make_results(const Options& options) -> std::expected<Results, int> {
  const auto ends_with = [](Status status) { return std::unexpected(static_cast<int>(status)); };
  auto signals = Signals::block();
  if (!signals) {
    complain_of("signals", message(signals.error()));
    return ends_with(Status::failure);
  }
  auto original = Original::open(options.file);
  if (!original) {
    complain_of(options.file.value_or(own_binary), original.error());
    return ends_with(Status::usage);
  }
  std::optional<PageFile> page;
  if (options.html) {
    auto opened = PageFile::open(*options.html, *original);
    if (!opened) {
      complain_of(*options.html, opened.error());
      return ends_with(Status::usage);
    }
    page.emplace(*std::move(opened));
  }
  auto results = Tour(*original, *signals, chosen_stops(options.only)).run();
  if (!results) {
    const int signal = results.error().signal;
    complain(fmt::format("tour: interrupted by signal {} ({}); nothing is left behind", signal,
                         strsignal(signal)));
    return std::unexpected(128 + signal);
  }
  if (!*results) return ends_with(Status::failure);
  if (page) {
    const auto written = page->write(as_html(**results));
    if (!written) {
      complain_of(*options.html, message(written.error()));
      return ends_with(Status::failure);
    }
  }
  return **std::move(results);
}

auto run(const Options& options) -> int {
  if (options.list) return static_cast<int>(list_stops());
  const auto results = make_results(options);
  if (!results) return results.error();
  const auto told =
      tell(options.json ? as_json(*results) : as_table(*results, terminal_at(STDOUT_FILENO)));
  return static_cast<int>(told == Status::success ? status_of(*results) : told);
}

/// Fails for a word that is no stop's name.
auto check_name(const std::string& name) -> std::string {
  if (std::ranges::find(stops(), name, &Stop::name) != stops().end()) return {};
  return fmt::format("no mechanism is named {}; --list names them", printable(name));
}

}  // namespace

void add_tour(CLI::App& parley, int& exit_status) {
  CLI::App* tour = parley.add_subcommand(
      "tour", "Move a file through every mechanism between two processes, and check each copy.");
  const auto options = std::make_shared<Options>();
  tour->add_option("FILE", options->file, "A regular file; by default this command's own binary")
      ->type_name("");
  tour->add_option("--only", options->only, "Only these mechanisms, by name, with commas between")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(check_name)
      ->type_name("NAME,...");
  tour->add_flag("--list", options->list, "Name the mechanisms, and do nothing else");
  tour->add_flag("--json", options->json, "Write the results as JSON instead of a table");
  tour->add_option("--html", options->html, "Also write the results to OUT, a page with charts")
      ->type_name("OUT");
  tour->callback([options, &exit_status] { exit_status = run(*options); });
}

}  // namespace parley::cli
