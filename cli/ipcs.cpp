// parley ipcs: the System V and POSIX objects of a space, as ipcs(1) tells of the kernel's.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "space_contents.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

struct Options {
  std::string space;
  bool json = false;
  Chosen only{.queues = false, .memory = false, .semaphores = false, .names = false};
};

auto run(const Options& options) -> Status {
  const auto path = space_path(options.space);
  auto space = path ? Space::open(*path) : failure(path.error());
  const auto who = naming("ipcs", path.value_or("the space"));
  if (!space) {
    complain(who + ": " + why_no_space(space.error()));
    return Status::usage;
  }
  const auto& only = options.only;
  const bool all = !only.queues && !only.memory && !only.semaphores && !only.names;
  const auto chosen = all ? Chosen() : only;
  const auto contents = contents_of(*space);
  const auto told =
      write_output(options.json ? written(as_json(contents, chosen)) : as_text(contents, chosen));
  if (told) return Status::success;
  complain(who + ": standard output: " + message(told.error()));
  return Status::failure;
}

}  // namespace

void add_ipcs(CLI::App& parley, int& exit_status) {
  CLI::App* ipcs = parley.add_subcommand("ipcs", "List the System V and POSIX objects of a space.");
  const auto options = std::make_shared<Options>();
  ipcs->add_option("--space", options->space, "By default $PARLEY_SPACE, else your own")
      ->type_name("DIR");
  ipcs->add_flag("-q,--queues", options->only.queues, "Message queues only");
  ipcs->add_flag("-m,--shmems", options->only.memory, "Shared memory only");
  ipcs->add_flag("-s,--semaphores", options->only.semaphores, "Semaphores only");
  ipcs->add_flag("-p,--posix", options->only.names, "POSIX objects only");
  ipcs->add_flag("--json", options->json, "Write the list as JSON");
  ipcs->callback([options, &exit_status] { exit_status = static_cast<int>(run(*options)); });
}

}  // namespace parley::cli
