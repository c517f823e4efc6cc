#include "os/features/probe.hpp"

#include <cstdarg>
#include <cstdio>

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

}  // namespace parley::os::probe
