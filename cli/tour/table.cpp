// The tour's results as a table with bars, for a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "tour/quantities.hpp"
#include "tour/report.hpp"

namespace parley::cli {
namespace {

constexpr std::size_t rate_columns = 10;
constexpr std::size_t time_columns = 8;
constexpr std::size_t number_columns = 2 + 4 + 2 + rate_columns + 2 * (2 + time_columns);
constexpr std::size_t echoes_columns = 2 + 6;
constexpr std::size_t bar_gap = 2;
constexpr std::size_t shortest_bar_columns = 4;
constexpr std::size_t longest_bar_columns = 40;

/// Which columns there is width for, and how wide they are.
struct Layout {
  std::size_t title_columns = 0;  ///< 0: titles have lines of their own.
  std::size_t bar_columns = 0;    ///< 0: no bars.
  bool has_echoes = true;
  bool has_unicode = false;
  bool has_colour = false;
};

auto layout_of(const Results& results, const Terminal& terminal) -> Layout {
  Layout layout{.has_unicode = terminal.has_unicode, .has_colour = terminal.has_colour};
  layout.title_columns = std::string_view("mechanism").size();
  for (const auto& outcome : results.outcomes) {
    layout.title_columns = std::max(layout.title_columns, outcome.stop->title.size());
  }
  // Where it is narrow first the bars go, then the echoes, then every row gets two lines.
  const auto columns = static_cast<std::size_t>(terminal.columns);
  if (columns < layout.title_columns + number_columns) layout.title_columns = 0;
  const auto needed = layout.title_columns + number_columns + echoes_columns;
  layout.has_echoes = columns >= needed;
  if (columns >= needed + bar_gap + shortest_bar_columns) {
    layout.bar_columns = std::min(columns - needed - bar_gap, longest_bar_columns);
  }
  return layout;
}

auto paint(std::string_view text, std::string_view code, const Layout& layout) -> std::string {
  if (!layout.has_colour) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

constexpr std::string_view bold = "1";
constexpr std::string_view dim = "2";
constexpr std::string_view red = "31";
constexpr std::string_view green = "32";
constexpr std::string_view yellow = "33";
constexpr std::string_view cyan = "36";

/// What a row begins with.
auto start_of_row(std::string_view title, const Layout& layout) -> std::string {
  if (layout.title_columns == 0) return fmt::format("{}\n", title);
  return fmt::format("{:{}}", title, layout.title_columns);
}

auto heading(const Layout& layout) -> std::string {
  const auto gap = layout.bar_columns == 0 ? 0 : layout.bar_columns + bar_gap;
  const auto rest =
      fmt::format("  copy  {:>{}}{:{}}  {:>{}}  {:>{}}{}", "throughput", rate_columns, "", gap,
                  "median", time_columns, "p99", time_columns, layout.has_echoes ? "  echoes" : "");
  return paint(start_of_row("mechanism", layout) + rest, dim, layout) + "\n";
}

auto verified_row(const Outcome& outcome, double fastest, const Layout& layout) -> std::string {
  const double rate = outcome.bytes_per_second();
  auto row = start_of_row(outcome.stop->title, layout);
  row += fmt::format("  {}  {:>{}}", paint("same", green, layout), with_byte_unit(rate) + "/s",
                     rate_columns);
  if (layout.bar_columns != 0) {
    row += "  " + paint(bar(rate / fastest, layout.bar_columns, layout.has_unicode), cyan, layout);
  }
  row += fmt::format("  {:>{}}  {:>{}}", with_time_unit(outcome.round_trips.median_ns),
                     time_columns, with_time_unit(outcome.round_trips.p99_ns), time_columns);
  if (layout.has_echoes) row += fmt::format("  {:>6}", outcome.round_trips.sample_count);
  return row + "\n";
}

auto other_row(const Outcome& outcome, const Layout& layout) -> std::string {
  const auto colour = outcome.verdict == Verdict::refused ? yellow : red;
  return fmt::format("{}  {}: {}\n", start_of_row(outcome.stop->title, layout),
                     paint(name_of(outcome.verdict), colour, layout), outcome.reason);
}

}  // namespace

auto as_table(const Results& results, const Terminal& terminal) -> std::string {
  const auto layout = layout_of(results, terminal);
  auto text =
      fmt::format("{}  {} bytes\nXXH3-128 {}\n\n", paint(printable(results.path), bold, layout),
                  with_separators(results.original.size_bytes), results.original.hex());
  text += heading(layout);
  for (const auto& outcome : results.outcomes) {
    text += outcome.verdict == Verdict::verified ? verified_row(outcome, results.fastest(), layout)
                                                 : other_row(outcome, layout);
  }
  text += paint(
      "\nsame: size and checksum are those of the original\n"
      "median, p99: round trips of a 64-byte message\n"
      "echoes: how many of them were timed, each compared\n",
      dim, layout);
  return text + "\n" + results.summary() + "\n";
}

}  // namespace parley::cli
