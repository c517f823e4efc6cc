// parley_bench: every benchmark, one after the other.
#include "objects.hpp"
#include "os.hpp"

auto main() -> int {
  parley::bench::os();
  parley::bench::objects();
  return 0;
}
