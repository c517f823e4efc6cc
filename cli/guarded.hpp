// Commands that run while something is held: by a process of its own, so that whoever is killed,
// nothing is given up while a command still runs.
//
//   parley ── holder ── command ── what the command starts
//
// The holder takes part in the object, and starts a command when it holds what was asked for.
// docs/decisions/0018 says what happens when each of them is killed.
#pragma once

#include <CLI/CLI.hpp>

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>

#include "signals.hpp"

namespace parley::cli {

/// How long to wait, and how to end where that was not enough.
struct WaitOptions {
  std::string path;
  std::optional<double> timeout_s;
  bool no_wait = false;
  int not_obtained_status;

  /// From now on.
  [[nodiscard]] auto deadline() const -> Deadline;
};
void add_wait_options(CLI::App& subcommand, WaitOptions& options);

/// A wrong argument for CLI11 where there is no command.
void require_command(const std::vector<std::string>& command);

/// What the work of a holder is done with.
class Holder {
 public:
  /// Of this process. `lifeline` ends when parley does.
  Holder(std::string_view who, Signals& signals, os::PipeReader lifeline);
  Holder(const Holder&) = delete;
  auto operator=(const Holder&) -> Holder& = delete;

  /// Waits for what is to be held. Nothing may be held meanwhile, since signals, and the end of
  /// parley, end this process.
  template <class Wait>
  auto wait(Wait wait) -> decltype(wait()) {
    const Vulnerable here(*this);
    return wait();
  }

  /// Runs a command to its end, while it holds something. Where it cannot be run: the exit status;
  /// why has been told.
  auto run(os::ChildOptions command) -> std::expected<os::ExitStatus, int>;

  /// Waits until all that the command has started is gone, too. Signals go to all of it meanwhile.
  void outlast();

  /// What is done last where parley is killed, and the command for that reason.
  void when_parley_is_killed(std::function<void()> act) { last_act_ = std::move(act); }

 private:
  /// The time of `wait`.
  class Vulnerable {
   public:
    explicit Vulnerable(Holder& holder);
    Vulnerable(const Vulnerable&) = delete;
    auto operator=(const Vulnerable&) -> Vulnerable& = delete;
    ~Vulnerable();

   private:
    std::optional<Signals::Allowed> allowed_;
  };

  auto wait_for(os::Child& command) -> os::ExitStatus;
  void end_if_parley_has();

  std::string_view who_;
  Signals& signals_;
  os::PipeReader lifeline_;
  std::function<void()> last_act_ = [] {};
};

/// Runs `work` in a holder, which ends with what it returns, and so does this. `who` is the
/// subcommand and its object, for what there is to be told. What `work` still holds when it returns
/// is as if its process had died with it.
auto run_holder(std::string_view who, const std::function<int(Holder&)>& work) -> int;

/// 128 plus the signal's number where one ended it.
auto status_of(const os::ExitStatus& end) -> int;

/// Runs the command, its program first, in a holder, while it holds something: `held.take()` waits
/// for it, or tells the exit status, and `held.give_back()` ends it. The exit status.
template <class Held>
auto run_while_held(std::string_view who, Held held, const std::vector<std::string>& command)
    -> int {
  return run_holder(who, [&](Holder& holder) {
    if (const auto status = holder.wait([&] { return held.take(); })) return *status;
    const auto end =
        holder.run({.program = command.front(), .arguments = {command.begin() + 1, command.end()}});
    // A command that was killed leaves it to those who see that its holder is gone.
    if (!end || end->kind == os::ExitStatus::Kind::exited) held.give_back();
    return end ? status_of(*end) : end.error();
  });
}

}  // namespace parley::cli
