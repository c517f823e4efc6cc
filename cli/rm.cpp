// parley rm: takes an object's name away.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>

#include <parley/shared_memory.hpp>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

struct Options {
  std::string path;
  bool force = false;
  bool json = false;
};

/// Empty where there is nothing against it.
auto why_keep(const Result<Inspection>& object, bool force) -> std::string {
  if (object) {
    const auto alive = count_alive(*object);
    if (alive == 0 || force) return {};
    return fmt::format("is in use by {}; --force takes its name away all the same", alive);
  }
  // It begins as an object does: only who takes part is not known.
  const bool is_object = object.error() == Error::corrupt || object.error() == Error::not_supported;
  if (is_object && force) return {};
  return why_not_seen(object.error()) + (is_object ? "; --force takes its name away" : "");
}

auto as_json(const std::string& path, const Result<Inspection>& object) -> std::string {
  nlohmann::ordered_json json{{"path", path}, {"kind", nullptr}, {"participants_alive", nullptr}};
  if (object) {
    json["kind"] = kind_of(*object);
    json["participants_alive"] = count_alive(*object);
  }
  return written(json);
}

auto run(const Options& options) -> Status {
  const auto& path = options.path;
  const auto who = naming("rm", path);
  const auto object = inspect(path);
  auto why = why_keep(object, options.force);
  if (why.empty()) {
    // All kinds are files alike.
    const auto gone = SharedMemory::unlink(path);
    if (!gone) why = message(gone.error());
  }
  if (!why.empty()) {
    complain(who + ": " + why);
    return Status::failure;
  }
  if (!options.json) return Status::success;
  const auto told = write_output(as_json(path, object));
  if (told) return Status::success;
  complain(who + ": is removed, but standard output: " + message(told.error()));
  return Status::failure;
}

}  // namespace

void add_rm(CLI::App& parley, int& exit_status) {
  CLI::App* rm = parley.add_subcommand("rm", "Take an object's name away.");
  const auto options = std::make_shared<Options>();
  rm->add_option("PATH", options->path, "The object: a path, or a name in the default place")
      ->required()
      ->type_name("");
  rm->add_flag("--force", options->force, "Also while somebody takes part, who then goes on");
  rm->add_flag("--json", options->json, "Write what was removed as JSON");
  rm->callback([options, &exit_status] { exit_status = static_cast<int>(run(*options)); });
}

}  // namespace parley::cli
