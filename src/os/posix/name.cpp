#include <parley/os/posix/name.hpp>

namespace parley::os::posix {

auto checked_name(NameKind kind, std::string_view name) -> Result<std::string> {
  if (!name.starts_with('/')) return failure(Error::invalid);
  const std::string_view rest = name.substr(1);
  if (rest.empty() || rest == "." || rest == "..") return failure(Error::invalid);
  if (rest.contains('/') || rest.contains('\0')) return failure(Error::invalid);
  if (rest.size() > longest_name_bytes(kind)) return failure(Error::name_too_long);
  return std::string(name);
}

}  // namespace parley::os::posix
