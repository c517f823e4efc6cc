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
constexpr std::size_t shortest_bar_columns = 4;
constexpr std::size_t longest_bar_columns = 40;

/// Which columns there is width for, and how wide they are.
struct Layout {
  std::size_t title_columns = 0;
  std::size_t bar_columns = 0;  ///< 0: no bars.
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
  const auto others = fmt::formatted_size("{}  same  {:>{}}    {:>{}}  {:>{}}  echoes",
                                          std::string(layout.title_columns, ' '), "", rate_columns,
                                          "", time_columns, "", time_columns);
  const auto columns = static_cast<std::size_t>(terminal.columns);
  layout.has_echoes = columns >= others;
  if (columns >= others + shortest_bar_columns) {
    layout.bar_columns = std::min(columns - others, longest_bar_columns);
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

auto heading(const Layout& layout) -> std::string {
  const auto gap = layout.bar_columns == 0 ? 0 : layout.bar_columns + 2;
  const auto first =
      fmt::format("{:{}}  copy  {:>{}}{:{}}  {:>{}}  {:>{}}{}", "mechanism", layout.title_columns,
                  "throughput", rate_columns, "", gap, "median", time_columns, "p99", time_columns,
                  layout.has_echoes ? "  echoes" : "");
  return paint(first, dim, layout) + "\n";
}

auto verified_row(const Outcome& outcome, double fastest, const Layout& layout) -> std::string {
  const double rate = outcome.bytes_per_second();
  auto row = fmt::format("{:{}}  {}  {:>{}}", outcome.stop->title, layout.title_columns,
                         paint("same", green, layout), with_byte_unit(rate) + "/s", rate_columns);
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
  return fmt::format("{:{}}  {}: {}\n", outcome.stop->title, layout.title_columns,
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
      "\nsame: the copy has the original's size and checksum\n"
      "median, p99: round trip of a 64-byte message; echoes: how many were timed and compared\n",
      dim, layout);
  return text + "\n" + results.summary() + "\n";
}

}  // namespace parley::cli
