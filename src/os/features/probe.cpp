#include "os/features/probe.hpp"

#include <charconv>
#include <cstdarg>
#include <cstdio>

#include <parley/os/descriptor.hpp>

namespace parley::os::probe {

auto told(Presence presence, const char* format, ...) -> Fact {
  Fact fact{.presence = presence};
  va_list arguments;
  va_start(arguments, format);
  static_cast<void>(std::vsnprintf(fact.detail.data(), fact.detail.size(), format, arguments));
  va_end(arguments);
  return fact;
}

auto measured(std::uint64_t value) -> Fact {
  return {.has_value = true, .value = value};
}

auto measured_at_least(std::uint64_t value, std::uint64_t enough) -> Fact {
  if (value >= enough) return measured(value);
  Fact fact = told(Presence::limited, "less than %llu", static_cast<unsigned long long>(enough));
  fact.has_value = true;
  fact.value = value;
  return fact;
}

auto unlimited() -> Fact {
  return told(Presence::present, "unlimited");
}

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
    return failure(Error::invalid);
  }
  return value;
}

}  // namespace parley::os::probe
