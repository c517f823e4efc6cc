#include "support/temp_dir.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <system_error>

namespace parley::test {

TempDir::TempDir() {
  auto name = std::filesystem::temp_directory_path() / "parley-test-XXXXXX";
  std::string text = name;
  REQUIRE(mkdtemp(text.data()) != nullptr);
  path_ = text;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace parley::test
