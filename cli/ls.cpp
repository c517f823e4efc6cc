// parley ls: the objects in a directory.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "terminal.hpp"
#include "tour/quantities.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string directory;
  bool json = false;
};

struct Entry {
  std::string path;
  std::string name;
  Result<Inspection> object;
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
                       .object = std::move(object)});
  }
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

auto as_text(const std::vector<Entry>& entries) -> std::string {
  if (entries.empty()) return {};
  std::string text = fmt::format("{:10}  {:>10}  {:>10}  {:>5}  {:>4}  {}\n", "KIND", "SIZE",
                                 "MEMORY", "ALIVE", "DEAD", "NAME");
  for (const auto& [path, name, object] : entries) {
    if (!object) {
      text += fmt::format("{:10}  {}: {}\n", "?", printable(name), why_not_seen(object.error()));
      continue;
    }
    const auto alive = count_alive(*object);
    text += fmt::format("{:10}  {:>10}  {:>10}  {:>5}  {:>4}  {}\n", kind_of(*object),
                        with_byte_unit(static_cast<double>(object->file_bytes)),
                        with_byte_unit(static_cast<double>(object->memory_bytes)), alive,
                        object->participants.size() - alive, printable(name));
  }
  return text;
}

auto as_json(const std::vector<Entry>& entries) -> std::string {
  auto all = ordered_json::array();
  for (const auto& [path, name, object] : entries) {
    ordered_json json{{"name", name}, {"path", path}};
    if (object) {
      const auto alive = count_alive(*object);
      json["kind"] = kind_of(*object);
      json["file_bytes"] = object->file_bytes;
      json["memory_bytes"] = object->memory_bytes;
      json["participants_alive"] = alive;
      json["participants_dead"] = object->participants.size() - alive;
    } else {
      json["kind"] = nullptr;
      json["error"] = why_not_seen(object.error());
    }
    all.push_back(json);
  }
  return written(all);
}

auto run(const Options& options) -> Status {
  const bool is_default = options.directory.empty();
  const auto directory = is_default ? object_directory() : options.directory;
  const auto who = naming("ls", directory);
  std::error_code error;
  const auto entries = entries_of(directory, error);
  // The default one is made with the first object.
  const bool is_missing = error == std::errc::no_such_file_or_directory;
  if (error && !(is_default && is_missing)) {
    complain(who + ": " + error.message());
    return Status::usage;
  }
  const auto told = write_output(options.json ? as_json(entries) : as_text(entries));
  if (told) return Status::success;
  complain(who + ": standard output: " + message(told.error()));
  return Status::failure;
}

}  // namespace

void add_ls(CLI::App& parley, int& exit_status) {
  CLI::App* ls = parley.add_subcommand("ls", "List the objects in a directory.");
  const auto options = std::make_shared<Options>();
  ls->add_option("DIR", options->directory, "By default that of objects with a bare name")
      ->type_name("");
  ls->add_flag("--json", options->json, "Write the list as JSON");
  ls->callback([options, &exit_status] { exit_status = static_cast<int>(run(*options)); });
}

}  // namespace parley::cli
