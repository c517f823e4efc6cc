// A space that is there for as long as what runs in it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <parley/os/descriptor.hpp>
#include <parley/space.hpp>

namespace parley::cli {

/// A new space, among the objects with bare names, or where others can go. It is kept by this
/// process and those that it forks: by a lock that ends with the last of them, and that no program
/// inherits.
class PrivateSpace {
 public:
  /// Makes one. Removes those first whose keepers have all been killed.
  static auto create(const SpaceOptions& options) -> Result<PrivateSpace>;

  [[nodiscard]] auto path() const -> const std::string& { return path_; }

  /// With all that is in it. Once more does nothing.
  void remove() const;

 private:
  PrivateSpace(std::string path, os::OwnedFd lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  os::OwnedFd lock_;
};

struct FoundPrivateSpace {
  std::string path;
  bool is_kept;
};
/// All of this user's, by their paths.
auto find_private_spaces() -> Result<std::vector<FoundPrivateSpace>>;

}  // namespace parley::cli
