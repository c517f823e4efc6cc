// parley_bench: every benchmark, one after the other.
#include "os.hpp"

auto main() -> int {
  parley::bench::os();
  return 0;
}
