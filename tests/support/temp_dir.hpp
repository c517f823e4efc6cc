// A directory of a test's own, gone with all that is in it when the test ends.
#pragma once

#include <filesystem>
#include <string>

namespace parley::test {

class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  auto operator=(const TempDir&) -> TempDir& = delete;
  ~TempDir();

  [[nodiscard]] auto path() const -> const std::filesystem::path& { return path_; }

  /// The path of `name` in it.
  [[nodiscard]] auto operator/(const std::string& name) const -> std::string {
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace parley::test
