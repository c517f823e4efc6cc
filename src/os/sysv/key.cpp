#include <parley/os/sysv/key.hpp>

#include "os/sys.hpp"

namespace parley::os::sysv {

auto Key::from_file(const std::string& path, std::uint8_t project) -> Result<Key> {
  if (project == 0) return failure(Error::invalid);
  errno = 0;
  const auto number = sys::call<::ftok>(path.c_str(), int{project});
  // -1 without an error is a key like any other.
  if (!number && number.error() == Error{}) return Key(-1);
  return Key(PARLEY_TRY(number));
}

}  // namespace parley::os::sysv
