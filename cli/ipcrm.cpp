// parley ipcrm: removes System V and POSIX objects from a space, as ipcrm(1) does from the kernel.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <array>
#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.hpp"
#include "objects.hpp"
#include "space_contents.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

/// A kind, and what of it is to be removed.
struct Wanted {
  SpaceKind kind;
  const char* by_id;
  const char* by_key;
  const char* what;
  std::vector<int> ids = {};
  std::vector<std::string> keys = {};  ///< Decimal, or hexadecimal as ipcs(1) shows them.
};

struct Options {
  std::string space;
  std::array<Wanted, 3> objects{
      Wanted{SpaceKind::semaphores, "-s,--semaphore-id", "-S,--semaphore-key", "set of semaphores"},
      Wanted{SpaceKind::messages, "-q,--queue-id", "-Q,--queue-key", "message queue"},
      Wanted{SpaceKind::memory, "-m,--shmem-id", "-M,--shmem-key", "shared memory"}};
  std::vector<std::string> posix_queues;
  std::vector<std::string> posix_semaphores;
  std::vector<std::string> posix_memory;
};

auto key_of(std::string_view text) -> std::optional<key_t> {
  const bool is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (is_hexadecimal) text.remove_prefix(2);
  std::uint32_t key = 0;
  const auto [end, error] =
      std::from_chars(text.begin(), text.end(), key, is_hexadecimal ? 16 : 10);
  if (error != std::errc{} || end != text.end() || key == 0) return std::nullopt;
  return static_cast<key_t>(key);
}

class Removal {
 public:
  Removal(Space& space, std::string who) : space_(space), who_(std::move(who)) {}

  void remove(const Wanted& wanted) {
    auto& table = space_.table(wanted.kind);
    for (const int id : wanted.ids) remove(table, id, fmt::format("{} {}", wanted.what, id));
    for (const auto& text : wanted.keys) {
      const auto called = fmt::format("{} with key {}", wanted.what, printable(text));
      const auto key = key_of(text);
      const auto id = key ? find(table, *key) : failure(Error::invalid);
      if (id) {
        remove(table, *id, called);
      } else {
        refuse(called, key ? message(id.error()) : "is no key");
      }
    }
  }

  void remove_name(const std::string& directory, const std::string& name) {
    const auto bare = name.starts_with('/') ? name.substr(1) : name;
    const bool is_name = !bare.empty() && bare != "." && bare != ".." && !bare.contains('/');
    if (!is_name) return refuse(printable(name), "is no POSIX name");
    std::error_code error;
    if (std::filesystem::remove(directory + bare, error)) return;
    refuse(printable(name), error ? error.message() : message(Error::not_found));
  }

  [[nodiscard]] auto status() const -> Status { return status_; }

 private:
  static auto find(const SpaceTable& table, key_t key) -> Result<int> {
    for (int index = 0; index <= table.status().highest_index; ++index) {
      const auto entry = table.at(index);
      if (entry && entry->key == key && !entry->is_marked) return entry->id;
    }
    return failure(Error::not_found);
  }

  void remove(SpaceTable& table, int id, const std::string& called) {
    const SpaceUser user{
        .uid = geteuid(), .gid = getegid(), .groups = {}, .is_privileged = geteuid() == 0};
    const auto removed = table.remove(id, [&](const SpaceEntry& entry) {
      return entry.is_of(user) ? Result<void>() : failure(Error::not_permitted);
    });
    if (removed) return;
    refuse(called, removed.error() == Error::invalid ? "there is none" : message(removed.error()));
  }

  void refuse(const std::string& called, const std::string& why) {
    complain(fmt::format("{}: {}: {}", who_, called, why));
    status_ = Status::failure;
  }

  Space& space_;
  std::string who_;
  Status status_ = Status::success;
};

auto run(const Options& options) -> Status {
  const auto path = space_path(options.space);
  auto space = path ? Space::open(*path) : failure(path.error());
  const auto who = naming("ipcrm", path.value_or("the space"));
  if (!space) {
    complain(who + ": " + why_no_space(space.error()));
    return Status::usage;
  }
  Removal removal(*space, who);
  for (const auto& wanted : options.objects) removal.remove(wanted);
  for (const auto& name : options.posix_queues) removal.remove_name(space->posix_queues(), name);
  for (const auto& name : options.posix_memory) removal.remove_name(space->posix_memory(), name);
  for (const auto& name : options.posix_semaphores) {
    removal.remove_name(space->posix_semaphores(), name);
  }
  return removal.status();
}

}  // namespace

void add_ipcrm(CLI::App& parley, int& exit_status) {
  CLI::App* ipcrm =
      parley.add_subcommand("ipcrm", "Remove System V and POSIX objects from a space.");
  const auto options = std::make_shared<Options>();
  ipcrm->add_option("--space", options->space, "By default $PARLEY_SPACE, else your own")
      ->type_name("DIR");
  for (auto& wanted : options->objects) {
    ipcrm->add_option(wanted.by_id, wanted.ids, std::string("A ") + wanted.what + ", by its id")
        ->type_name("ID")
        ->allow_extra_args(false);
    ipcrm->add_option(wanted.by_key, wanted.keys, "The same, by its key")
        ->type_name("KEY")
        ->allow_extra_args(false);
  }
  const auto add_names = [&](const char* option, std::vector<std::string>& names,
                             const char* what) {
    ipcrm->add_option(option, names, what)->type_name("NAME")->allow_extra_args(false);
  };
  add_names("--posix-queue", options->posix_queues, "A POSIX message queue");
  add_names("--posix-semaphore", options->posix_semaphores, "A POSIX semaphore");
  add_names("--posix-memory", options->posix_memory, "POSIX shared memory");
  ipcrm->callback([options, &exit_status] { exit_status = static_cast<int>(run(*options)); });
}

}  // namespace parley::cli
