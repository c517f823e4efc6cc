// parley(1): finds the subcommand and turns what it ended with into an exit status.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <exception>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace {

using parley::cli::complain;
using parley::cli::Status;

/// What is wrong where a subcommand, as `new`, wanted one of its own and got another word or none.
auto why_no_kind(CLI::App& parent) -> std::string {
  std::string kinds;
  for (const CLI::App* kind : parent.get_subcommands([](CLI::App*) { return true; })) {
    kinds += (kinds.empty() ? "" : ", ") + kind->get_name();
  }
  const auto words = parent.remaining();
  const auto what =
      words.empty() ? "names no kind" : parley::cli::printable(words.front()) + ": no such kind";
  return what + "; there are " + kinds;
}

/// What was asked of CLI11 itself, help or the version, goes to standard output; a wrong argument
/// is one line on standard error.
auto end_of_parsing(CLI::App& app, const CLI::ParseError& error) -> Status {
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
  CLI::App* last = &app;
  for (CLI::App* chosen : app.get_subcommands()) {
    who += chosen->get_name() + ": ";
    last = chosen;
  }
  const auto unknown = app.remaining();
  std::string what = error.what();
  if (last == &app && !unknown.empty()) {
    what = parley::cli::printable(unknown.front()) + ": no such command";
  } else if (last != &app && last->get_require_subcommand_min() > 0 &&
             last->get_subcommands().empty()) {
    what = why_no_kind(*last);
  }
  complain(who + what + "; parley --help tells more");
  return Status::usage;
}

struct Words {
  std::vector<std::string> own;  ///< Without the program's name; the last first, as CLI11 has it.
  std::vector<std::string> behind;  ///< Those behind `--`, of lock, run, sem and send.
};

/// CLI11 would take words apart that have brackets around them: those of a command do not pass
/// through it, and messages are marked.
auto split(std::span<char* const> arguments) -> Words {
  Words words;
  if (arguments.empty()) return words;
  words.own.assign(arguments.begin() + 1, arguments.end());
  const std::string subcommand = words.own.empty() ? std::string() : words.own.front();
  constexpr std::array with_more{"lock", "run", "sem", "send"};
  if (std::ranges::find(with_more, subcommand) != with_more.end()) {
    const auto end = std::ranges::find(words.own, "--");
    if (end != words.own.end()) words.behind.assign(end + 1, words.own.end());
    words.own.erase(end, words.own.end());
  }
  if (subcommand == "send") {
    for (auto& word : words.own) word = parley::cli::marked(word);
  }
  std::ranges::reverse(words.own);
  return words;
}

auto run(int argc, char** argv) -> int {
  CLI::App app("Inter-process communication on one machine, typed and whole.", "parley");
  app.set_version_flag("--version", "parley " PARLEY_VERSION);
  app.require_subcommand(1);
  int exit_status = 0;
  auto [own, behind] = split(std::span(argv, static_cast<std::size_t>(argc)));
  parley::cli::add_doctor(app, exit_status);
  parley::cli::add_ipcrm(app, exit_status);
  parley::cli::add_ipcs(app, exit_status);
  parley::cli::add_lock(app, behind, exit_status);
  parley::cli::add_ls(app, exit_status);
  parley::cli::add_new(app, exit_status);
  parley::cli::add_pipe(app, exit_status);
  parley::cli::add_recv(app, exit_status);
  parley::cli::add_rm(app, exit_status);
  parley::cli::add_run(app, behind, exit_status);
  parley::cli::add_sem(app, behind, exit_status);
  parley::cli::add_send(app, behind, exit_status);
  parley::cli::add_show(app, exit_status);
  parley::cli::add_space(app, exit_status);
  parley::cli::add_tour(app, exit_status);
  try {
    app.parse(std::move(own));
  } catch (const CLI::ParseError& error) {
    return static_cast<int>(end_of_parsing(app, error));
  }
  return exit_status;
}

}  // namespace

namespace parley::cli {

namespace {
constexpr char mark = '\x01';
}

auto marked(const std::string& word) -> std::string {
  return word.starts_with('[') || word.starts_with(mark) ? mark + word : word;
}

auto unmarked(const std::string& word) -> std::string {
  return word.starts_with(mark) ? word.substr(1) : word;
}

}  // namespace parley::cli

auto main(int argc, char** argv) -> int {
  parley::cli::ignore_write_signals();
  parley::cli::occupy_standard_descriptors();
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    complain(error.what());
    return static_cast<int>(Status::failure);
  }
}
