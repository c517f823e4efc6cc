// parley(1): finds the subcommand and turns what it ended with into an exit status.
#include <CLI/CLI.hpp>

#include <csignal>
#include <exception>
#include <sstream>
#include <string>

#include "command.hpp"
#include "terminal.hpp"

namespace {

using parley::cli::complain;
using parley::cli::Status;

/// What was asked of CLI11 itself, help or the version, goes to standard output; a wrong argument
/// is one line on standard error.
auto end_of_parsing(const CLI::App& app, const CLI::ParseError& error) -> Status {
  if (error.get_exit_code() == 0) {
    std::ostringstream text;
    std::ostringstream no_errors;
    app.exit(error, text, no_errors);
    const auto written = parley::cli::write_output(text.str());
    if (written) return Status::success;
    complain("standard output: " + message(written.error()));
    return Status::failure;
  }
  std::string who;
  for (const CLI::App* chosen : app.get_subcommands()) who += chosen->get_name() + ": ";
  const auto unknown = app.remaining();
  const bool is_no_command = app.get_subcommands().empty() && !unknown.empty();
  const std::string what =
      is_no_command ? parley::cli::printable(unknown.front()) + ": no such command" : error.what();
  complain(who + what + "; parley --help tells more");
  return Status::usage;
}

auto run(int argc, char** argv) -> int {
  CLI::App app("Inter-process communication on one machine, typed and whole.", "parley");
  app.set_version_flag("--version", "parley " PARLEY_VERSION);
  app.require_subcommand(1);
  int exit_status = 0;
  parley::cli::add_doctor(app, exit_status);
  parley::cli::add_tour(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return static_cast<int>(end_of_parsing(app, error));
  }
  return exit_status;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  // A reader of our output that is gone, or a file over its limit, is an error of the call, told in
  // one line.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  parley::cli::occupy_standard_descriptors();
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    complain(error.what());
    return static_cast<int>(Status::failure);
  }
}
