// parley ls: the objects in a directory.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "seconds.hpp"
#include "signals.hpp"
#include "terminal.hpp"
#include "tour/quantities.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string directory;
  bool json = false;
  std::optional<double> interval_s;
};

struct Entry {
  std::string path;
  std::string name;
  Result<Inspection> object;
  std::optional<Rates> rates;
};

/// An error of the system's, or an empty one.
auto entries_of(const std::string& directory, std::error_code& error) -> std::vector<Entry> {
  std::vector<Entry> entries;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    std::error_code unknown;
    if (!file.is_regular_file(unknown)) continue;
    auto object = inspect(file.path().string());
    // What cannot be read, or is gone by now, is not known to be an object.
    const bool is_object =
        object || object.error() == Error::corrupt || object.error() == Error::not_supported;
    if (!is_object) continue;
    entries.push_back({.path = file.path().string(),
                       .name = file.path().filename().string(),
                       .object = std::move(object),
                       .rates = std::nullopt});
  }
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

/// What has changed since an earlier look.
void add_rates(std::vector<Entry>& entries, const std::vector<Entry>& before, double seconds) {
  for (auto& entry : entries) {
    const auto first = std::ranges::find(before, entry.name, &Entry::name);
    if (first == before.end() || !first->object || !entry.object) continue;
    if (first->object->uuid != entry.object->uuid) continue;
    entry.rates = rates_between(*first->object, *entry.object, seconds);
  }
}

/// Two columns: of a pair of streams, both rings together.
auto rates_text(const Inspection& object, const std::optional<Rates>& rates) -> std::string {
  if (!rates) return fmt::format("{:>10}  {:>10}  ", "", "");
  Flow sum{.in = 0, .out = 0};
  for (const auto& [in, out] : *rates) sum = {.in = sum.in + in, .out = sum.out + out};
  return fmt::format("{:>10}  {:>10}  ", amount_text(object, sum.in), amount_text(object, sum.out));
}

auto as_text(const std::vector<Entry>& entries, bool with_rates) -> std::string {
  if (entries.empty()) return {};
  std::string text =
      fmt::format("{:10}  {:>10}  {:>10}  {:>5}  {:>4}  {}{}\n", "KIND", "SIZE", "MEMORY", "ALIVE",
                  "DEAD", with_rates ? "      IN/S       OUT/S  " : "", "NAME");
  for (const auto& [path, name, object, rates] : entries) {
    if (!object) {
      text += fmt::format("{:10}  {}: {}\n", "?", printable(name), why_not_seen(object.error()));
      continue;
    }
    const auto alive = count_alive(*object);
    text += fmt::format("{:10}  {:>10}  {:>10}  {:>5}  {:>4}  {}{}\n", kind_of(*object),
                        with_byte_unit(static_cast<double>(object->file_bytes)),
                        with_byte_unit(static_cast<double>(object->memory_bytes)), alive,
                        object->participants.size() - alive,
                        with_rates ? rates_text(*object, rates) : "", printable(name));
  }
  return text;
}

auto as_json(const std::vector<Entry>& entries) -> std::string {
  auto all = ordered_json::array();
  for (const auto& [path, name, object, rates] : entries) {
    ordered_json json{{"name", name}, {"path", path}};
    if (object) {
      const auto alive = count_alive(*object);
      json["kind"] = kind_of(*object);
      json["file_bytes"] = object->file_bytes;
      json["memory_bytes"] = object->memory_bytes;
      json["participants_alive"] = alive;
      json["participants_dead"] = object->participants.size() - alive;
      if (rates) json["rates"] = as_json(*object, *rates);
    } else {
      json["kind"] = nullptr;
      json["error"] = why_not_seen(object.error());
    }
    all.push_back(json);
  }
  return written(all);
}

class List {
 public:
  explicit List(const Options& options)
      : options_(options),
        directory_(options.directory.empty() ? object_directory() : options.directory),
        who_(naming("ls", directory_)) {}

  auto run() -> int {
    auto entries = look();
    if (entries && options_.interval_s) {
      auto signals = Signals::block();
      if (!signals) return complain_of(message(signals.error()), Status::failure);
      const auto before = *std::move(entries);
      const auto start = Deadline::Clock::now();
      const auto signal = signals->taken_until(deadline_after(*options_.interval_s));
      if (signal) return 128 + *signal;
      entries = look();
      const std::chrono::duration<double> passed = Deadline::Clock::now() - start;
      if (entries) add_rates(*entries, before, passed.count());
    }
    if (!entries) return static_cast<int>(Status::usage);
    const auto told = write_output(
        options_.json ? as_json(*entries) : as_text(*entries, options_.interval_s.has_value()));
    if (told) return static_cast<int>(Status::success);
    return complain_of("standard output: " + message(told.error()), Status::failure);
  }

 private:
  auto complain_of(const std::string& why, Status status) -> int {
    complain(who_ + ": " + why);
    return static_cast<int>(status);
  }

  auto look() -> std::optional<std::vector<Entry>> {
    std::error_code error;
    auto entries = entries_of(directory_, error);
    // The default one is made with the first object.
    const bool may_be_missing = options_.directory.empty();
    if (!error || (may_be_missing && error == std::errc::no_such_file_or_directory)) return entries;
    complain(who_ + ": " + error.message());
    return std::nullopt;
  }

  const Options& options_;
  std::string directory_;
  std::string who_;
};

}  // namespace

void add_ls(CLI::App& parley, int& exit_status) {
  CLI::App* ls = parley.add_subcommand("ls", "List the objects in a directory.");
  const auto options = std::make_shared<Options>();
  ls->add_option("DIR", options->directory, "By default that of objects with a bare name")
      ->type_name("");
  ls->add_flag("--json", options->json, "Write the list as JSON");
  ls->add_option("--interval", options->interval_s, "Look twice, so long apart, and tell rates")
      ->check(check_seconds)
      ->type_name("SECONDS");
  ls->callback([options, &exit_status] { exit_status = List(*options).run(); });
}

}  // namespace parley::cli
