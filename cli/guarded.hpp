// A command that runs while something is held: by a process of its own, so that whoever is killed,
// nothing is given up while the command still runs.
//
//   parley ── holder ── command ── what the command starts
//
// The holder takes part in the object. It starts the command when it holds what was asked for, and
// ends when the command has. docs/decisions/0018 says what happens when each of them is killed.
#pragma once

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <parley/deadline.hpp>

namespace parley::cli {

/// What `lock` and `sem` have in common.
struct GuardedOptions {
  std::string path;
  std::optional<double> timeout_s;
  bool no_wait = false;
  int not_obtained_status;

  [[nodiscard]] auto deadline() const -> Deadline;
};
void add_guarded_options(CLI::App& subcommand, GuardedOptions& options);

/// A wrong argument for CLI11 where there is no command.
void require_command(const std::vector<std::string>& command);

/// What is held. Its calls are made in the holder.
class Guard {
 public:
  Guard(const Guard&) = delete;
  auto operator=(const Guard&) -> Guard& = delete;
  virtual ~Guard() = default;

  /// Opens it and waits until it is held. Else the exit status; why has been told.
  virtual auto take() -> std::optional<int> = 0;

  /// The command has ended by itself. Not called when it was killed: then the holder dies with what
  /// it holds, and the others see that.
  virtual void give_back() = 0;

 protected:
  Guard() = default;
};

/// Runs the command under the guard and gives its exit status, 128 plus the signal's number where
/// one ended it. `who` is the subcommand and its object, for what there is to be told.
auto run_guarded(std::string_view who, Guard& guard, const std::vector<std::string>& command)
    -> int;

}  // namespace parley::cli
