#include "tour/axis.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace parley::cli {
namespace {

constexpr std::array<double, 3> round_digits{1, 2, 5};
constexpr double tolerance = 1e-9;  // of what repeated multiplication does to a round value

/// The greatest of 1, 2, 5, 10, 20, 50, … that is not above the value.
auto rounded_down(double value) -> double {
  const double decade = std::pow(10, std::floor(std::log10(value)));
  double result = decade;
  for (const double digit : round_digits) {
    if (digit * decade <= value * (1 + tolerance)) result = digit * decade;
  }
  return result;
}

/// The next of them after a round value.
auto next_round(double value) -> double {
  return rounded_down(value * 2.6);
}

}  // namespace

auto Axis::place(double value) const -> double {
  if (is_logarithmic) return std::log(value / from) / std::log(to / from);
  return (value - from) / (to - from);
}

auto linear_axis(double largest) -> Axis {
  constexpr double most_steps = 5;
  const double below = rounded_down(largest / most_steps);
  const double step = below * most_steps < largest ? next_round(below) : below;
  Axis axis{.ticks = {0}};
  for (int i = 1; axis.ticks.back() < largest; ++i) axis.ticks.push_back(i * step);
  axis.to = axis.ticks.back();
  return axis;
}

auto logarithmic_axis(double smallest, double largest) -> Axis {
  constexpr std::size_t most_ticks = 8;
  Axis axis{.from = rounded_down(std::max(smallest, 1.0)), .is_logarithmic = true};
  axis.ticks.push_back(axis.from);
  while (axis.ticks.back() < largest || axis.ticks.size() < 2) {
    axis.ticks.push_back(next_round(axis.ticks.back()));
  }
  axis.to = axis.ticks.back();
  if (axis.ticks.size() > most_ticks) {
    std::erase_if(axis.ticks, [](double tick) {
      const double decades = std::log10(tick);
      return std::abs(decades - std::round(decades)) > tolerance;
    });
  }
  return axis;
}

}  // namespace parley::cli
