// parley lock: runs a command while a Mutex is held.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>

#include <parley/mutex.hpp>

#include "command.hpp"
#include "guarded.hpp"
#include "objects.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

/// In the lock at once, holding it or waiting.
constexpr std::uint32_t participants_at_most = 1000;

class Lock {
 public:
  Lock(const WaitOptions& options, const std::string& who) : options_(options), who_(who) {}

  /// Opens it and waits until it is held. Else the exit status; why has been told.
  auto take() -> std::optional<int> {
    auto opened = Mutex::open_or_create(options_.path, {.participants = participants_at_most});
    if (!opened) return refuse(why_not(opened.error(), "a mutex"), RunnerStatus::failure);
    mutex_ = *std::move(opened);
    mutex_->set_wait_strategy(WaitStrategy::block);
    const auto deadline = options_.deadline();
    const auto acquired = mutex_->acquire(deadline);
    if (acquired) {
      if (mutex_->peer_died()) complain(who_ + ": whoever held it before died with it");
      return std::nullopt;
    }
    if (acquired.error() != deadline.error()) {
      return refuse(why_not(acquired.error(), "a mutex"), RunnerStatus::failure);
    }
    complain(who_ + ": is held by another");
    return options_.not_obtained_status;
  }

  void give_back() { static_cast<void>(mutex_->release()); }

 private:
  auto refuse(const std::string& why, RunnerStatus status) -> int {
    complain(who_ + ": " + why);
    return static_cast<int>(status);
  }

  const WaitOptions& options_;
  const std::string& who_;
  std::optional<Mutex> mutex_;
};

}  // namespace

void add_lock(CLI::App& parley, const std::vector<std::string>& command, int& exit_status) {
  CLI::App* lock = parley.add_subcommand(
      "lock", "Run a command while no other holds the lock: parley lock PATH -- CMD...");
  const auto options = std::make_shared<WaitOptions>();
  add_wait_options(*lock, *options);
  lock->callback([options, &command, &exit_status] {
    require_command(command);
    const auto who = naming("lock", options->path);
    exit_status = run_while_held(who, Lock(*options, who), command);
  });
}

}  // namespace parley::cli
