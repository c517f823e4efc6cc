#include "space_contents.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <variant>

#include <parley/inspect.hpp>

#include "terminal.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;

auto entries_of(Space& space, SpaceKind kind) -> std::vector<Listed> {
  std::vector<Listed> listed;
  const auto& table = space.table(kind);
  const int highest = table.status().highest_index;
  for (int index = 0; index <= highest; ++index) {
    const auto entry = table.at(index);
    if (!entry) continue;
    Listed one{.entry = *entry};
    if (kind == SpaceKind::messages) {
      const auto seen = inspect(table.path_of(entry->id));
      const auto* const queue = seen ? std::get_if<MessageQueueInspection>(&seen->what) : nullptr;
      if (queue != nullptr) {
        one.bytes = queue->bytes;
        one.messages = queue->messages;
      }
    }
    listed.push_back(one);
  }
  return listed;
}

void add_names(std::vector<ListedName>& names, const std::string& kind,
               const std::string& directory) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    struct stat status{};
    if (lstat(file.path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    names.push_back({.kind = kind,
                     .name = '/' + file.path().filename().string(),
                     .owner = status.st_uid,
                     .mode = status.st_mode & 0777U,
                     .bytes = static_cast<std::uint64_t>(status.st_size)});
  }
}

auto user_name(uid_t uid) -> std::string {
  const passwd* const user = getpwuid(uid);  // NOLINT(concurrency-mt-unsafe)
  return user != nullptr ? user->pw_name : std::to_string(uid);
}

auto section(std::string_view title, std::string_view id, const std::vector<Listed>& listed,
             std::string_view columns, auto more) -> std::string {
  auto text = fmt::format("\n------ {} --------\n{:10} {:10} {:10} {:10} {}\n", title, "key", id,
                          "owner", "perms", columns);
  for (const auto& one : listed) {
    text +=
        fmt::format("0x{:08x} {:<10} {:10} {:<10o} {}\n", static_cast<std::uint32_t>(one.entry.key),
                    one.entry.id, user_name(one.entry.uid), one.entry.mode & 0777U, more(one));
  }
  return text;
}

auto names_section(const std::vector<ListedName>& names) -> std::string {
  auto text = fmt::format("\n------ POSIX Objects --------\n{:10} {:10} {:10} {:12} {}\n", "kind",
                          "owner", "perms", "bytes", "name");
  for (const auto& one : names) {
    text += fmt::format("{:10} {:10} {:<10o} {:<12} {}\n", one.kind, user_name(one.owner), one.mode,
                        one.bytes, printable(one.name));
  }
  return text;
}

auto as_json(const std::vector<Listed>& listed, auto more) -> ordered_json {
  auto all = ordered_json::array();
  for (const auto& one : listed) {
    ordered_json json{{"id", one.entry.id},
                      {"key", static_cast<std::uint32_t>(one.entry.key)},
                      {"uid", one.entry.uid},
                      {"gid", one.entry.gid},
                      {"mode", one.entry.mode & 0777U}};
    more(one, json);
    all.push_back(std::move(json));
  }
  return all;
}

}  // namespace

auto contents_of(Space& space) -> SpaceContents {
  SpaceContents contents{.queues = entries_of(space, SpaceKind::messages),
                         .memory = entries_of(space, SpaceKind::memory),
                         .semaphores = entries_of(space, SpaceKind::semaphores),
                         .names = {}};
  add_names(contents.names, "queue", space.posix_queues());
  add_names(contents.names, "memory", space.posix_memory());
  add_names(contents.names, "semaphore", space.posix_semaphores());
  std::ranges::sort(contents.names, {},
                    [](const ListedName& one) { return std::tie(one.kind, one.name); });
  return contents;
}

auto as_text(const SpaceContents& contents, const Chosen& chosen) -> std::string {
  std::string text;
  if (chosen.queues) {
    text += section(
        "Message Queues", "msqid", contents.queues, "used-bytes   messages",
        [](const Listed& one) { return fmt::format("{:<12} {}", one.bytes, one.messages); });
  }
  if (chosen.memory) {
    text += section("Shared Memory Segments", "shmid", contents.memory, "bytes      status",
                    [](const Listed& one) {
                      return fmt::format("{:<10} {}", one.entry.size,
                                         one.entry.is_marked ? "dest" : "");
                    });
  }
  if (chosen.semaphores) {
    text += section("Semaphore Arrays", "semid", contents.semaphores, "nsems",
                    [](const Listed& one) { return std::to_string(one.entry.size); });
  }
  if (chosen.names) text += names_section(contents.names);
  return text + '\n';
}

auto as_json(const SpaceContents& contents, const Chosen& chosen) -> ordered_json {
  auto json = ordered_json::object();
  if (chosen.queues) {
    json["queues"] = as_json(contents.queues, [](const Listed& one, ordered_json& of) {
      of["bytes"] = one.bytes;
      of["messages"] = one.messages;
      of["bytes_at_most"] = one.entry.size;
    });
  }
  if (chosen.memory) {
    json["memory"] = as_json(contents.memory, [](const Listed& one, ordered_json& of) {
      of["bytes"] = one.entry.size;
      of["is_marked"] = one.entry.is_marked;
    });
  }
  if (chosen.semaphores) {
    json["semaphores"] = as_json(contents.semaphores, [](const Listed& one, ordered_json& of) {
      of["count"] = one.entry.size;
    });
  }
  if (!chosen.names) return json;
  auto& names = json["posix"] = ordered_json::array();
  for (const auto& one : contents.names) {
    names.push_back({{"kind", one.kind},
                     {"name", one.name},
                     {"uid", one.owner},
                     {"mode", one.mode},
                     {"bytes", one.bytes}});
  }
  return json;
}

auto space_path(const std::string& given) -> Result<std::string> {
  if (!given.empty()) return given;
  const char* const named = std::getenv("PARLEY_SPACE");  // NOLINT(concurrency-mt-unsafe)
  return named != nullptr ? Result<std::string>(named) : Space::own_path();
}

auto why_no_space(Error error) -> std::string {
  switch (error) {
    case Error::not_found:
      return "there is no space";
    case Error::invalid:
    case Error::wrong_kind:
    case Error::corrupt:
      return "is no space, or a damaged one";
    default:
      return message(error);
  }
}

}  // namespace parley::cli
