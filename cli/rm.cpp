// parley rm: takes an object's name away.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

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
};

/// Empty where there is nothing against it.
auto why_keep(const std::string& path, bool force) -> std::string {
  const auto object = inspect(path);
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

auto remove(const std::string& path, bool force) -> bool {
  auto why = why_keep(path, force);
  if (why.empty()) {
    // All kinds are files alike.
    const auto gone = SharedMemory::unlink(path);
    if (gone) return true;
    why = message(gone.error());
  }
  complain(naming("rm", path) + ": " + why);
  return false;
}

}  // namespace

void add_rm(CLI::App& parley, int& exit_status) {
  CLI::App* rm = parley.add_subcommand("rm", "Take an object's name away.");
  const auto options = std::make_shared<Options>();
  rm->add_option("PATH", options->path, "The object: a path, or a name in the default place")
      ->required()
      ->type_name("");
  rm->add_flag("--force", options->force, "Also while somebody takes part, who then goes on");
  rm->callback([options, &exit_status] {
    const bool removed = remove(options->path, options->force);
    exit_status = static_cast<int>(removed ? Status::success : Status::failure);
  });
}

}  // namespace parley::cli
