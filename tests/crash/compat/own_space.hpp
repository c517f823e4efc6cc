// The space of a program that has the drop-in linked into it: its C calls are the drop-in's.
#pragma once

#include <sys/ipc.h>
#include <sys/sem.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "crash/crash.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {

/// Of this program and all its children; removed at its end.
class OwnSpace {
 public:
  static auto get() -> const OwnSpace& {
    static const OwnSpace space;
    return space;
  }

  /// The files of a kind, but its table.
  [[nodiscard]] auto files(const std::string& kind) const -> std::set<std::string> {
    std::set<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(directory_ / ("space/" + kind))) {
      names.insert(file.path().filename());
    }
    names.erase("table");
    return names;
  }

 private:
  OwnSpace() { REQUIRE(setenv("PARLEY_SPACE", (directory_ / "space").c_str(), 1) == 0); }

  TempDir directory_;
};

/// What the call returns, or the error that it fails with, negative.
inline auto result_of(int returned) -> int {
  return returned < 0 ? -errno : returned;
}

}  // namespace parley::test
