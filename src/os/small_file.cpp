#include "os/small_file.hpp"

#include <array>
#include <charconv>

#include <parley/os/descriptor.hpp>

#include "os/sys.hpp"

namespace parley::os {

auto read_file(const char* path, std::span<char> into) -> Result<std::string_view> {
  const auto fd = OwnedFd::from_number(PARLEY_TRY(sys::call<::open>(path, O_RDONLY | O_CLOEXEC)));
  std::size_t size = 0;
  while (size < into.size()) {
    const auto rest = into.subspan(size);
    const auto count = PARLEY_TRY(sys::call<::read>(fd.number(), rest.data(), rest.size()));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  return std::string_view(into.data(), size);
}

auto read_number(const char* path) -> Result<std::uint64_t> {
  std::array<char, 64> buffer{};
  const std::string_view text = PARLEY_TRY(read_file(path, buffer));
  std::uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
    return failure(Error::corrupt);
  }
  return value;
}

}  // namespace parley::os
