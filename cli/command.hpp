// What a subcommand is to main: one function that adds it, and the statuses that it may end with.
#pragma once

namespace CLI {
class App;
}

namespace parley::cli {

/// How the command ends; parley(1) documents them. Ended by a signal: 128 plus its number.
enum class Status : int {
  success = 0,
  failure = 1,  ///< What was asked for was tried and is not so, or could not be said.
  usage = 2,    ///< Wrong arguments, or a FILE that cannot be used: nothing was tried.
  refused = 3,  ///< This machine does not allow a part of it; all the rest is well.
};

// Each adds one subcommand to `parley`. Its callback runs the subcommand and sets the exit status.
void add_doctor(CLI::App& parley, int& exit_status);
void add_tour(CLI::App& parley, int& exit_status);

}  // namespace parley::cli
