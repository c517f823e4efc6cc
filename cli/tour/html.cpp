// The tour's results as one page that needs nothing else: no script, no font, no picture.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "tour/axis.hpp"
#include "tour/quantities.hpp"
#include "tour/report.hpp"
#include "tour/worker.hpp"

namespace parley::cli {
namespace {

constexpr std::string_view head = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --ink: #1c2024; --quiet: #5d6670; --line: #dcdfe3; --grid: #e6e8eb;
  --bar: #2f6fb3; --dot: #a34a1f; --span: #dba98e; --good: #1d7a46; --bad: #b3261e; --odd: #8a5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181c; --ink: #e6e8ea; --quiet: #9aa4ae; --line: #343a41; --grid: #272c32;
    --bar: #6aa7e8; --dot: #f0a27c; --span: #7b5544; --good: #6cc893; --bad: #ff8a80; --odd: #e3b35c;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 60rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .25rem; font-size: 1.15rem; }
p { margin: .35rem 0; max-width: 44rem; }
.quiet { color: var(--quiet); }
.verdict { margin-top: 1rem; font-weight: 600; }
.verified { color: var(--good); } .failed, .differs { color: var(--bad); } .refused { color: var(--odd); }
code, td, .value { font-variant-numeric: tabular-nums; }
code { font-family: ui-monospace, monospace; font-size: .87em; overflow-wrap: anywhere; }
.chart { margin-top: 1rem; }
.row { display: grid; grid-template-columns: 16rem 1fr var(--value);
  column-gap: 1.2rem; }
.row > * { padding: .22rem 0; }
.track { position: relative; }
.track i { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--grid); }
.track b { position: absolute; top: 50%; height: min(56%, 1.05rem); transform: translateY(-50%); }
.bar { left: 0; min-width: 1px; background: var(--bar); border-radius: 0 2px 2px 0; }
.track b.span { height: 3px; background: var(--span); }
.track b.tick { width: 2px; margin-left: -1px; height: min(44%, .85rem); background: var(--span); }
.track b.dot { width: 10px; height: 10px; margin-left: -5px; border-radius: 50%;
  background: var(--dot); }
.value { text-align: right; white-space: nowrap; }
.axis { color: var(--quiet); font-size: .8rem; }
.axis .track { height: 1.9rem; border-top: 1px solid var(--line); }
.axis .track span { position: absolute; top: .15rem; transform: translateX(-50%); white-space: nowrap; }
.wide { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .93em; }
th { text-align: left; font-weight: 600; color: var(--quiet); }
th, td { padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
@media (max-width: 40rem) {
  .row { grid-template-columns: 1fr auto; }
  .axis .track span:last-child { transform: translateX(-100%); }
  .axis .track span:first-child { transform: none; }
  .row .track { grid-column: 1 / -1; grid-row: 2; min-height: 1.1rem; }
  .axis { margin-top: .2rem; }
  td:not([colspan]) { white-space: nowrap; }
}
</style>
)";

auto escaped(std::string_view text) -> std::string {
  std::string result;
  for (const char letter : printable(text)) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += letter;
    }
  }
  return result;
}

auto page_start(const Results& results) -> std::string {
  const bool all_well = results.count(Verdict::verified) == results.outcomes.size();
  const bool is_bad = results.count(Verdict::failed) + results.count(Verdict::differs) != 0;
  return fmt::format(
      "{}<title>parley tour: {}</title>\n</head>\n<body>\n<h1>{}</h1>\n"
      "<p class=\"quiet\">{} bytes · XXH3-128 <code>{}</code></p>\n"
      "<p class=\"quiet\">{} · {} · {} processors · parley {}</p>\n"
      "<p class=\"verdict {}\">{}</p>\n"
      "<p>Two processes: one has the file, the other receives it and compares size and checksum of "
      "its copy with the original. Then a message of {} bytes makes round trips between them, each "
      "echo compared with what was sent.</p>\n",
      head, escaped(results.path), escaped(results.path),
      with_separators(results.original.size_bytes), results.original.hex(), escaped(results.time),
      escaped(results.system.kernel), results.system.processor_count, PARLEY_VERSION,
      name_of(all_well ? Verdict::verified
              : is_bad ? Verdict::failed
                       : Verdict::refused),
      results.summary(), echo_bytes);
}

/// The lines of an axis' ticks, which stand behind the marks of every row.
auto grid(const Axis& axis) -> std::string {
  std::string text;
  for (const auto tick : axis.ticks) {
    text += fmt::format("<i style=\"left:{:.2f}%\"></i>", 100 * axis.place(tick));
  }
  return text;
}

auto row(const Outcome& outcome, const Axis& axis, std::string_view marks, std::string_view value)
    -> std::string {
  return fmt::format(
      "<div class=\"row\"><span>{}</span><span class=\"track\">{}{}</span>"
      "<span class=\"value\">{}</span></div>\n",
      escaped(outcome.stop->title), grid(axis), marks, value);
}

/// "10 MB" for "10.0 MB": a tick is exact.
auto without_zeros(std::string text) -> std::string {
  const auto unit = text.find(' ');
  auto end = unit;
  if (text.find('.') < unit) {
    while (text[end - 1] == '0') --end;
    if (text[end - 1] == '.') --end;
  }
  return text.erase(end, unit - end);
}

template <class Label>
auto axis_row(const Axis& axis, Label label) -> std::string {
  std::string ticks;
  for (const auto tick : axis.ticks) {
    ticks +=
        fmt::format("<span style=\"left:{:.2f}%\">{}</span>", 100 * axis.place(tick), label(tick));
  }
  return fmt::format(
      "<div class=\"row axis\"><span></span><span class=\"track\">{}</span><span></span></div>\n",
      ticks);
}

auto throughput_chart(const Results& results) -> std::string {
  const auto axis = linear_axis(results.fastest());
  std::string text =
      "<h2>Throughput</h2>\n<p class=\"quiet\">Bytes of the file per second, from before the first "
      "is sent until the receiver has summed up the last. The scale is linear.</p>\n"
      "<div class=\"chart\" style=\"--value:5.5rem\">\n";
  for (const auto& outcome : results.outcomes) {
    if (outcome.verdict != Verdict::verified) continue;
    const double rate = outcome.bytes_per_second();
    text +=
        row(outcome, axis,
            fmt::format("<b class=\"bar\" style=\"width:{:.2f}%\"></b>", 100 * axis.place(rate)),
            with_byte_unit(rate) + "/s");
  }
  const auto label = [](double rate) {
    return rate == 0 ? "0" : without_zeros(with_byte_unit(rate)) + "/s";
  };
  return text + axis_row(axis, label) + "</div>\n";
}

auto round_trip_chart(const Results& results) -> std::string {
  double shortest_ns = 1e12;
  double longest_ns = 0;
  for (const auto& outcome : results.outcomes) {
    if (outcome.verdict != Verdict::verified) continue;
    shortest_ns = std::min(shortest_ns, static_cast<double>(outcome.round_trips.median_ns));
    longest_ns = std::max(longest_ns, static_cast<double>(outcome.round_trips.p99_ns));
  }
  const auto axis = logarithmic_axis(shortest_ns, longest_ns);
  std::string text = fmt::format(
      "<h2>Round trip of a {}-byte message</h2>\n<p class=\"quiet\">The dot is the median, the "
      "line "
      "ends at the 99th percentile. The scale is logarithmic: equal distances are equal "
      "ratios.</p>\n<div class=\"chart\" style=\"--value:9rem\">\n",
      echo_bytes);
  for (const auto& outcome : results.outcomes) {
    if (outcome.verdict != Verdict::verified) continue;
    const auto& times = outcome.round_trips;
    const double from = 100 * axis.place(static_cast<double>(times.median_ns));
    const double to = 100 * axis.place(static_cast<double>(times.p99_ns));
    text += row(outcome, axis,
                fmt::format("<b class=\"span\" style=\"left:{0:.2f}%;width:{1:.2f}%\"></b>"
                            "<b class=\"tick\" style=\"left:{2:.2f}%\"></b>"
                            "<b class=\"dot\" style=\"left:{0:.2f}%\"></b>",
                            from, to - from, to),
                fmt::format("{} · {}", with_time_unit(times.median_ns, "µ"),
                            with_time_unit(times.p99_ns, "µ")));
  }
  const auto label = [](double time_ns) {
    return without_zeros(with_time_unit(static_cast<std::int64_t>(time_ns), "µ"));
  };
  return text + axis_row(axis, label) + "</div>\n";
}

auto checks_table(const Results& results) -> std::string {
  std::string text =
      "<h2>What was checked</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>mechanism</th>"
      "<th>verdict</th><th>copy</th><th class=\"number\">largest message</th>"
      "<th class=\"number\">echoes compared</th></tr></thead>\n<tbody>\n";
  for (const auto& outcome : results.outcomes) {
    text += fmt::format("<tr><td>{}</td><td class=\"{}\">{}</td>", escaped(outcome.stop->title),
                        name_of(outcome.verdict), name_of(outcome.verdict));
    if (outcome.verdict == Verdict::verified) {
      text += fmt::format(
          "<td>same size, same checksum</td><td class=\"number\">{} bytes</td>"
          "<td class=\"number\">{}</td></tr>\n",
          with_separators(outcome.message_bytes),
          with_separators(outcome.round_trips.sample_count));
    } else {
      text += fmt::format("<td colspan=\"3\">{}</td></tr>\n", escaped(outcome.reason));
    }
  }
  return text + "</tbody>\n</table></div>\n";
}

}  // namespace

auto as_html(const Results& results) -> std::string {
  auto page = page_start(results);
  if (results.count(Verdict::verified) != 0) {
    page += throughput_chart(results) + round_trip_chart(results);
  }
  return page + checks_table(results) + "</body>\n</html>\n";
}

}  // namespace parley::cli
