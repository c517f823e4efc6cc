#include "tour/quantities.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

namespace parley::cli {
namespace {

/// The number, scaled to the largest of the units, a thousand apart, in which it is at least 1.
auto scaled(double number, std::span<const std::string_view> units) -> std::string {
  std::size_t unit = 0;
  // Not 1000: what rounds up to it is to be written as 1.00 of the next.
  while (number >= 999.5 && unit + 1 < units.size()) {
    number /= 1000;
    ++unit;
  }
  const int decimals = unit == 0 || number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", number, decimals, units[unit]);
}

}  // namespace

auto with_byte_unit(double bytes) -> std::string {
  constexpr std::array<std::string_view, 5> units{"B", "kB", "MB", "GB", "TB"};
  return scaled(bytes, units);
}

auto with_time_unit(std::int64_t time_ns, const char* micro) -> std::string {
  const std::string us = std::string(micro) + "s";
  const std::array<std::string_view, 4> units{"ns", us, "ms", "s"};
  return scaled(static_cast<double>(time_ns), units);
}

auto with_separators(std::uint64_t number) -> std::string {
  const std::string digits = fmt::format("{}", number);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

auto bar(double share, std::size_t columns, bool unicode) -> std::string {
  constexpr std::array<std::string_view, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const std::size_t steps = unicode ? eighths.size() : 1;  // per column
  const double exact = std::clamp(share, 0.0, 1.0) * static_cast<double>(columns * steps);
  const auto filled =
      std::max(static_cast<std::size_t>(std::lround(exact)), std::size_t{share > 0 ? 1U : 0U});
  std::string result;
  for (std::size_t i = 0; i < filled / steps; ++i) result += unicode ? "█" : "#";
  std::size_t drawn = filled / steps;
  if (filled % steps != 0) {
    result += eighths.at(filled % steps);
    ++drawn;
  }
  return result.append(columns - drawn, ' ');
}

}  // namespace parley::cli
