// parley space: the spaces of this user.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "private_space.hpp"
#include "space_contents.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string path;
  bool json = false;
  bool force = false;
};

struct Found {
  std::string path;
  std::string_view state;
  SpaceContents contents;
};

auto find_spaces() -> std::vector<Found> {
  std::vector<Found> found;
  const auto add = [&](const std::string& path, std::string_view state) {
    if (auto space = Space::open(path)) {
      found.push_back({.path = path, .state = state, .contents = contents_of(*space)});
    }
  };
  if (const auto own = Space::own_path()) add(*own, "own");
  for (const auto& space : find_private_spaces().value_or(std::vector<FoundPrivateSpace>())) {
    add(space.path, space.is_kept ? "in use" : "left");
  }
  return found;
}

auto as_text(const std::vector<Found>& spaces) -> std::string {
  if (spaces.empty()) return {};
  auto text = fmt::format("{:6}  {:>6}  {:>6}  {:>6}  {:>6}  {}\n", "STATE", "QUEUES", "MEMORY",
                          "SEMS", "POSIX", "PATH");
  for (const auto& [path, state, contents] : spaces) {
    text += fmt::format("{:6}  {:>6}  {:>6}  {:>6}  {:>6}  {}\n", state, contents.queues.size(),
                        contents.memory.size(), contents.semaphores.size(), contents.names.size(),
                        printable(path));
  }
  return text;
}

auto as_json(const std::vector<Found>& spaces) -> std::string {
  auto all = ordered_json::array();
  for (const auto& [path, state, contents] : spaces) {
    all.push_back({{"path", path},
                   {"state", state},
                   {"queues", contents.queues.size()},
                   {"memory", contents.memory.size()},
                   {"semaphores", contents.semaphores.size()},
                   {"posix", contents.names.size()}});
  }
  return written(all);
}

auto tell(const std::string& who, const std::string& text) -> Status {
  const auto told = write_output(text);
  if (told) return Status::success;
  complain(who + ": standard output: " + message(told.error()));
  return Status::failure;
}

auto list(const Options& options) -> Status {
  const auto spaces = find_spaces();
  return tell("space ls", options.json ? as_json(spaces) : as_text(spaces));
}

auto show(const Options& options) -> Status {
  const auto path = space_path(options.path);
  auto space = path ? Space::open(*path) : failure(path.error());
  const auto who = naming("space show", path.value_or("the space"));
  if (!space) {
    complain(who + ": " + why_no_space(space.error()));
    return Status::usage;
  }
  const auto contents = contents_of(*space);
  if (options.json) {
    ordered_json json{{"path", *path}};
    for (const auto& limit : SpaceLimits::all()) {
      json["limits"][std::string(limit.name)] = space->limits().*limit.value;
    }
    json["objects"] = as_json(contents);
    return tell(who, written(json));
  }
  std::string text = fmt::format("{}\n", printable(*path));
  for (const auto& limit : SpaceLimits::all()) {
    text += fmt::format("  {:12} {}\n", limit.name, space->limits().*limit.value);
  }
  return tell(who, text + as_text(contents));
}

auto remove(const Options& options) -> Status {
  const auto who = naming("space rm", options.path);
  const auto spaces = find_private_spaces().value_or(std::vector<FoundPrivateSpace>());
  const auto found = std::ranges::find(spaces, options.path, &FoundPrivateSpace::path);
  if (found != spaces.end() && found->is_kept && !options.force) {
    complain(who + ": a program runs in it; --force removes it all the same");
    return Status::failure;
  }
  const auto removed = Space::remove(options.path);
  if (removed) return Status::success;
  complain(who + ": " + why_no_space(removed.error()));
  return Status::failure;
}

}  // namespace

void add_space(CLI::App& parley, int& exit_status) {
  CLI::App* space = parley.add_subcommand("space", "List, show or remove spaces.");
  space->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  CLI::App* ls = space->add_subcommand("ls", "Your own space, and those of running programs.");
  ls->add_flag("--json", options->json, "Write the list as JSON");
  ls->callback([options, &exit_status] { exit_status = static_cast<int>(list(*options)); });
  CLI::App* shown = space->add_subcommand("show", "The limits of a space, and what is in it.");
  shown->add_option("DIR", options->path, "By default $PARLEY_SPACE, else your own")->type_name("");
  shown->add_flag("--json", options->json, "Write it as JSON");
  shown->callback([options, &exit_status] { exit_status = static_cast<int>(show(*options)); });
  CLI::App* rm = space->add_subcommand("rm", "Remove a space with all that is in it.");
  rm->add_option("DIR", options->path, "The space")->required()->type_name("");
  rm->add_flag("--force", options->force, "Also while a program runs in it");
  rm->callback([options, &exit_status] { exit_status = static_cast<int>(remove(*options)); });
}

}  // namespace parley::cli
