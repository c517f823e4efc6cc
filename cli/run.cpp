// parley run: runs a program on a space's objects, in place of the kernel's.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <parley/space.hpp>

#include "command.hpp"
#include "guarded.hpp"
#include "objects.hpp"
#include "private_space.hpp"
#include "reach.hpp"
#include "space_contents.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

struct Options {
  std::string space;  ///< Empty: a private one.
  std::vector<std::string> limits;
  std::string mode = "0700";
  bool ipcs = false;
};

auto names_of_limits() -> std::string {
  std::string names;
  for (const auto& limit : SpaceLimits::all()) {
    names += (names.empty() ? "" : ", ") + std::string(limit.name);
  }
  return names;
}

/// Empty where the limit could be set.
auto why_not_set(SpaceLimits& limits, const std::string& assignment) -> std::string {
  const auto set = limits.set(assignment);
  if (set) return {};
  const auto name = assignment.substr(0, assignment.find('='));
  if (set.error() == Error::not_found) {
    return fmt::format("no limit is called {}; there are {}", printable(name), names_of_limits());
  }
  for (const auto& limit : SpaceLimits::all()) {
    if (limit.name != name || set.error() != Error::out_of_range) continue;
    return fmt::format("{} is {} at most", limit.name, limit.at_most);
  }
  return fmt::format("{}: a limit is set by NAME=NUMBER", printable(assignment));
}

/// This process's environment, in which the program finds the drop-in and its space.
auto environment(const std::string& drop_in, const std::string& space) -> std::vector<std::string> {
  constexpr std::string_view preload = "LD_PRELOAD=";
  constexpr std::string_view place = "PARLEY_SPACE=";
  std::vector<std::string> entries;
  std::string preloaded = drop_in;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.starts_with(place)) continue;
    if (!text.starts_with(preload)) {
      entries.emplace_back(text);
    } else if (const auto more = text.substr(preload.size()); more != drop_in) {
      preloaded += ':' + std::string(more);
    }
  }
  entries.push_back(std::string(preload) + preloaded);
  entries.push_back(std::string(place) + space);
  return entries;
}

/// Octal; its owner must get in.
auto mode_of(const std::string& digits) -> std::optional<mode_t> {
  mode_t mode = 0;
  const auto* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, mode, 8);
  const bool fits = error == std::errc{} && rest == end && mode <= 07777 && (mode & 0700U) == 0700U;
  return fits ? std::optional(mode) : std::nullopt;
}

class Run {
 public:
  Run(const Options& options, const std::vector<std::string>& command)
      : options_(options), command_(command) {}

  auto operator()() -> int {
    SpaceOptions options;
    auto& limits = options.limits;
    if (const auto mode = mode_of(options_.mode)) {
      options.mode = *mode;
    } else {
      return refuse(printable(options_.mode) + ": no mode of a directory, such as 0700 or 1777",
                    Status::usage);
    }
    for (const auto& assignment : options_.limits) {
      if (const auto why = why_not_set(limits, assignment); !why.empty()) {
        return refuse(why, Status::usage);
      }
    }
    const auto program = find_program(command_.front());
    if (program.empty()) {
      return refuse(printable(command_.front()) + ": " + message(Error::not_found),
                    RunnerStatus::command_not_found);
    }
    if (const auto why = why_out_of_reach(program); !why.empty()) {
      return refuse(
          fmt::format("{}: the drop-in does not reach it: {}", printable(command_.front()), why),
          RunnerStatus::cannot_be_run);
    }
    drop_in_ = find_drop_in();
    if (drop_in_.empty()) {
      return refuse("libparley-compat.so is not where it was installed", RunnerStatus::failure);
    }
    // The loader takes the names in LD_PRELOAD apart there.
    if (drop_in_.find_first_of(": ") != std::string::npos) {
      return refuse(printable(drop_in_) + ": there is a space or a colon in its path",
                    RunnerStatus::failure);
    }
    return options_.space.empty() ? in_private_space(options) : in_shared_space(options);
  }

 private:
  template <class Kind>
  static auto refuse(const std::string& why, Kind status) -> int {
    complain("run: " + why);
    return static_cast<int>(status);
  }

  auto in_private_space(const SpaceOptions& options) -> int {
    const auto space = PrivateSpace::create(options);
    if (!space) {
      return refuse("no space can be made: " + message(space.error()), RunnerStatus::failure);
    }
    const int status = run_holder("run", [&](Holder& holder) {
      holder.when_parley_is_killed([&] { space->remove(); });
      const int ended = run_in(holder, space->path());
      holder.outlast();
      return ended;
    });
    tell_what_is_left(space->path());
    space->remove();
    return status;
  }

  auto in_shared_space(const SpaceOptions& options) -> int {
    const auto path = std::filesystem::absolute(options_.space).string();
    const auto space = Space::open_or_create(path, options);
    const auto who = naming("run", options_.space);
    if (!space) {
      complain(who + ": " + message(space.error()));
      return static_cast<int>(RunnerStatus::failure);
    }
    if (!options_.limits.empty() && space->limits() != options.limits) {
      complain(who + ": is there already, with other limits");
      return static_cast<int>(Status::usage);
    }
    const int status = run_holder(who, [&](Holder& holder) { return run_in(holder, path); });
    tell_what_is_left(path);
    return status;
  }

  /// On standard error: standard output is the program's.
  void tell_what_is_left(const std::string& path) const {
    if (!options_.ipcs) return;
    if (auto space = Space::open(path)) {
      static_cast<void>(
          write_all(os::BorrowedFd::from_number(STDERR_FILENO), as_text(contents_of(*space))));
    }
  }

  auto run_in(Holder& holder, const std::string& space) -> int {
    holder.wait([] {});  // from here on it outlives parley, to clean up
    const auto end = holder.run({.program = command_.front(),
                                 .arguments = {command_.begin() + 1, command_.end()},
                                 .environment = environment(drop_in_, space)});
    return end ? status_of(*end) : end.error();
  }

  const Options& options_;
  const std::vector<std::string>& command_;
  std::string drop_in_;
};

}  // namespace

void add_run(CLI::App& parley, const std::vector<std::string>& command, int& exit_status) {
  CLI::App* run = parley.add_subcommand(
      "run", "Run a program on System V and POSIX objects of its own: parley run -- PROGRAM...");
  const auto options = std::make_shared<Options>();
  run->add_option("--space", options->space,
                  "A directory that keeps the objects and shares them; made where it is missing")
      ->type_name("DIR");
  run->add_option("--limit", options->limits, "Set a limit of a new space: " + names_of_limits())
      ->type_name("NAME=N")
      ->allow_extra_args(false);
  run->add_option("--mode", options->mode,
                  "Of a new space's directory: who may share its objects; 1777 lets everybody in")
      ->type_name("MODE")
      ->capture_default_str();
  run->add_flag("--ipcs", options->ipcs, "Tell at the end what is left in the space");
  run->callback([options, &command, &exit_status] {
    require_command(command);
    exit_status = Run(*options, command)();
  });
}

}  // namespace parley::cli
