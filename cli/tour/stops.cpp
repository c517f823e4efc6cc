// The list of the tour's stops: a mechanism joins it with one line.
#include <array>

#include "tour/mechanisms.hpp"

namespace parley::cli {

auto stops() -> std::span<const Stop> {
  static constexpr auto all = std::to_array<Stop>({
      {.name = "pipe", .title = "pipe", .prepare = pipe_pair},
  });
  return all;
}

}  // namespace parley::cli
