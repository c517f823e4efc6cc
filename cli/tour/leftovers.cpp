#include "tour/leftovers.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <system_error>

#include "terminal.hpp"

namespace parley::cli {

auto unused_name() -> std::string {
  std::random_device random;
  return fmt::format("/parley-tour-{:08x}{:08x}", random(), random());
}

auto Leftovers::make_directory() -> Result<std::string> {
  const char* parent = std::getenv("TMPDIR");
  std::string path = parent == nullptr || *parent == '\0' ? "/tmp" : parent;
  path += "/parley-tour-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return failure(last_error());
  add_name([path]() -> Result<void> {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return failure(static_cast<Error>(error.value()));
    return {};
  });
  return path;
}

void Leftovers::undo(std::vector<Removal>& removals) {
  for (; !removals.empty(); removals.pop_back()) {
    const auto removed = removals.back()();
    if (removed || removed.error() == Error::not_found) continue;
    complain("tour: something is left behind: " + message(removed.error()));
  }
}

}  // namespace parley::cli
