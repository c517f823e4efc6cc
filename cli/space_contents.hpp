// What is in a space, for `parley ipcs`, `parley space` and `parley run --ipcs`.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <parley/space.hpp>

namespace parley::cli {

struct Listed {
  SpaceEntry entry;
  std::uint64_t bytes = 0;     ///< Of a queue: in it.
  std::uint64_t messages = 0;  ///< Of a queue.
};

/// A POSIX object: a file.
struct ListedName {
  std::string kind;  ///< "queue", "semaphore" or "memory".
  std::string name;  ///< With its slash.
  uid_t owner;
  mode_t mode;
  std::uint64_t bytes;
};

struct SpaceContents {
  std::vector<Listed> queues;
  std::vector<Listed> memory;
  std::vector<Listed> semaphores;
  std::vector<ListedName> names;
};
auto contents_of(Space& space) -> SpaceContents;

/// Which of it is told.
struct Chosen {
  bool queues = true;
  bool memory = true;
  bool semaphores = true;
  bool names = true;
};
/// As ipcs(1) has it.
auto as_text(const SpaceContents& contents, const Chosen& chosen = {}) -> std::string;
auto as_json(const SpaceContents& contents, const Chosen& chosen = {}) -> nlohmann::ordered_json;

/// The space that PARLEY_SPACE names, else the user's own; or the one that was given.
auto space_path(const std::string& given) -> Result<std::string>;

/// Why a space cannot be opened.
auto why_no_space(Error error) -> std::string;

}  // namespace parley::cli
