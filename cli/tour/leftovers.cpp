#include "tour/leftovers.hpp"

#include <unistd.h>

#include <cstdlib>

namespace parley::cli {

auto Leftovers::make_directory() -> Result<std::string> {
  const char* parent = std::getenv("TMPDIR");
  std::string path = parent == nullptr || *parent == '\0' ? "/tmp" : parent;
  path += "/parley-tour-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return failure(last_error());
  add_name([path] { rmdir(path.c_str()); });
  return path;
}

}  // namespace parley::cli
