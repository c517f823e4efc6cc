// parley doctor: what this kernel, this container and these limits allow, and what the rest costs.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <parley/os/features.hpp>

#include "command.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;
using os::Feature;
using os::Presence;
using os::Unit;

auto name_of(Presence presence) -> std::string_view {
  switch (presence) {
    case Presence::present:
      return "ok";
    case Presence::limited:
      return "limited";
    case Presence::missing:
      return "missing";
    case Presence::unknown:
      return "unknown";
  }
  return "unknown";
}

auto name_of(Unit unit) -> std::string_view {
  switch (unit) {
    case Unit::none:
      return "none";
    case Unit::count:
      return "count";
    case Unit::bytes:
      return "bytes";
  }
  return "none";
}

auto with_byte_unit(std::uint64_t bytes) -> std::string {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  return fmt::format("{:.4g} {}", value, units.at(unit));
}

/// What is to be said beside the name: the number, the detail and the error, as far as there are.
auto finding(const Feature& feature) -> std::string {
  std::string text;
  const auto add = [&](const std::string& part) {
    if (!text.empty() && !part.empty()) text += ", ";
    text += part;
  };
  if (feature.value) {
    add(feature.unit == Unit::bytes ? with_byte_unit(*feature.value)
                                    : fmt::format("{}", *feature.value));
  }
  add(feature.detail);
  if (feature.error) add(message(*feature.error));
  return text;
}

constexpr std::string_view bold = "1";
constexpr std::string_view red = "31";
constexpr std::string_view green = "32";
constexpr std::string_view yellow = "33";

auto paint(std::string_view text, std::string_view code, const Terminal& terminal) -> std::string {
  if (!terminal.has_colour) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

auto is_bad(const Feature& feature) -> bool {
  return feature.is_needed && !os::is_usable(feature);
}

/// One feature: a line, and a second one that says what it costs where it is not all there.
auto row(const Feature& feature, std::size_t name_columns, const Terminal& terminal)
    -> std::string {
  const bool is_present = feature.presence == Presence::present;
  const auto colour = is_present ? green : is_bad(feature) ? red : yellow;
  auto text = fmt::format("  {}  {:{}}  {}",
                          paint(fmt::format("{:7}", name_of(feature.presence)), colour, terminal),
                          feature.name, name_columns, finding(feature));
  text.erase(text.find_last_not_of(' ') + 1);
  text += '\n';
  if (!is_present) {
    text += fmt::format("           {}for {}; without: {}\n", feature.is_needed ? "NEEDED " : "",
                        feature.used_for, feature.without);
  }
  return text;
}

/// "3 missing, 1 limited", leaving out what there is none of.
auto counts(const std::vector<Feature>& features) -> std::string {
  std::string text;
  for (const auto presence : {Presence::missing, Presence::limited, Presence::unknown}) {
    const auto count = std::ranges::count(features, presence, &Feature::presence);
    if (count == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name_of(presence));
  }
  return text;
}

auto verdict(const std::vector<Feature>& features) -> std::string {
  std::string lacking;
  for (const Feature& feature : features) {
    if (!is_bad(feature)) continue;
    lacking += fmt::format("{}{}", lacking.empty() ? "" : ", ", feature.name);
  }
  if (!lacking.empty()) return fmt::format("Needed, and not known to be there: {}.\n", lacking);
  const auto rest = counts(features);
  if (rest.empty()) return "Everything that Parley can use is there.\n";
  return fmt::format("All that is needed is there; of the rest: {}.\n", rest);
}

auto as_list(const std::vector<Feature>& features, const Terminal& terminal) -> std::string {
  std::size_t name_columns = 0;
  for (const Feature& feature : features)
    name_columns = std::max(name_columns, feature.name.size());
  std::string text;
  std::string_view group;
  for (const Feature& feature : features) {
    if (feature.group != group) {
      text +=
          fmt::format("{}{}\n", group.empty() ? "" : "\n", paint(feature.group, bold, terminal));
      group = feature.group;
    }
    text += row(feature, name_columns, terminal);
  }
  return text + "\n" + verdict(features);
}

auto of_feature(const Feature& feature) -> ordered_json {
  ordered_json json{{"name", feature.name},
                    {"group", feature.group},
                    {"presence", name_of(feature.presence)},
                    {"needed", feature.is_needed},
                    {"value", nullptr},
                    {"unit", name_of(feature.unit)},
                    {"detail", feature.detail},
                    {"error", nullptr},
                    {"used_for", feature.used_for},
                    {"without", feature.without}};
  if (feature.value) json["value"] = *feature.value;
  if (feature.error) {
    json["error"] = {{"number", static_cast<int>(*feature.error)},
                     {"message", message(*feature.error)}};
  }
  return json;
}

auto as_json(const std::vector<Feature>& features) -> std::string {
  auto all = ordered_json::array();
  for (const Feature& feature : features) all.push_back(of_feature(feature));
  const ordered_json json{{"parley", PARLEY_VERSION},
                          {"has_all_needed", os::has_all_needed(features)},
                          {"features", all}};

  return json.dump(2) + "\n";
}

auto run(bool json) -> Status {
  const auto features = os::probe_features();
  const auto written =
      write_output(json ? as_json(features) : as_list(features, terminal_at(STDOUT_FILENO)));
  if (!written) {
    complain("doctor: standard output: " + message(written.error()));
    return Status::failure;
  }
  return os::has_all_needed(features) ? Status::success : Status::failure;
}

}  // namespace

void add_doctor(CLI::App& parley, int& exit_status) {
  CLI::App* doctor = parley.add_subcommand(
      "doctor", "Tell what this kernel, this container and the limits allow.");
  const auto json = std::make_shared<bool>(false);
  doctor->add_flag("--json", *json, "Write the findings as JSON instead of a list");
  doctor->callback([json, &exit_status] { exit_status = static_cast<int>(run(*json)); });
}

}  // namespace parley::cli
