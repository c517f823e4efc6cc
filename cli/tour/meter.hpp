// How far the tour is: one line on a terminal, rewritten in place and gone in the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "terminal.hpp"

namespace parley::cli {

/// Silent where standard error is no terminal.
class Meter {
 public:
  Meter(const Terminal& terminal, std::size_t step_count)
      : terminal_(terminal), step_count_(step_count) {}
  Meter(const Meter&) = delete;
  auto operator=(const Meter&) -> Meter& = delete;
  ~Meter() { clear(); }

  void begin(std::string_view step);
  void show(std::uint64_t done_bytes, std::uint64_t all_bytes);

  /// For whatever else is to be written there.
  void clear();

 private:
  void draw(double share);

  Terminal terminal_;
  std::size_t step_count_;
  std::size_t step_number_ = 0;
  std::string_view step_;
  int drawn_percent_ = -1;
};

}  // namespace parley::cli
