// Scales of the charts: where a value stands, and which round values are marked.
#pragma once

#include <vector>

namespace parley::cli {

struct Axis {
  double from = 0;
  double to = 1;
  bool is_logarithmic = false;
  std::vector<double> ticks = {};

  /// From 0, the start, to 1, the end.
  [[nodiscard]] auto place(double value) const -> double;
};

/// From 0 to a round value that is not below `largest`, in at most five steps of 1, 2 or 5.
auto linear_axis(double largest) -> Axis;

/// Between round values around both, marked at 1, 2 and 5 of each decade, or at decades only where
/// these are many.
auto logarithmic_axis(double smallest, double largest) -> Axis;

}  // namespace parley::cli
