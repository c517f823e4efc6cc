// What a subcommand is to main: one function that adds it, and the statuses that it may end with.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace parley::cli {

/// How the command ends; parley(1) documents them. Ended by a signal: 128 plus its number.
enum class Status : int {
  success = 0,
  failure = 1,        ///< What was asked for was tried and is not so, or could not be said.
  usage = 2,          ///< Wrong arguments, or a FILE that cannot be used: nothing was tried.
  refused = 3,        ///< This machine does not allow a part of it; all the rest is well.
  peer_gone = 4,      ///< Of `pipe`: the other side died, or went before the end.
  not_in_time = 124,  ///< Of `pipe`: the other side did not come.
};

/// How a subcommand that runs a command ends where it does not pass on the command's own status; as
/// timeout(1) and env(1) have it.
enum class RunnerStatus : int {
  not_obtained = 124,   ///< The time was over before the command could be run.
  failure = 125,        ///< Parley's own trouble: the command was not run.
  cannot_be_run = 126,  ///< The command was found.
  command_not_found = 127,
};

/// A word that CLI11 would take apart, so marked that it does not; and what it was.
auto marked(const std::string& word) -> std::string;
auto unmarked(const std::string& word) -> std::string;

// Each adds one subcommand to `parley`. Its callback runs the subcommand and sets the exit status.
// `command` and `messages` are what stands behind `--`; they must stay until then.
void add_doctor(CLI::App& parley, int& exit_status);
void add_ipcrm(CLI::App& parley, int& exit_status);
void add_ipcs(CLI::App& parley, int& exit_status);
void add_lock(CLI::App& parley, const std::vector<std::string>& command, int& exit_status);
void add_pipe(CLI::App& parley, int& exit_status);
void add_sem(CLI::App& parley, const std::vector<std::string>& command, int& exit_status);
void add_ls(CLI::App& parley, int& exit_status);
void add_new(CLI::App& parley, int& exit_status);
void add_recv(CLI::App& parley, int& exit_status);
void add_run(CLI::App& parley, const std::vector<std::string>& command, int& exit_status);
void add_rm(CLI::App& parley, int& exit_status);
void add_send(CLI::App& parley, const std::vector<std::string>& messages, int& exit_status);
void add_show(CLI::App& parley, int& exit_status);
void add_space(CLI::App& parley, int& exit_status);
void add_tour(CLI::App& parley, int& exit_status);

}  // namespace parley::cli
