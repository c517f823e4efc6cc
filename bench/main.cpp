// parley_bench: every benchmark, one after the other.
#include "message_queue.hpp"
#include "objects.hpp"
#include "os.hpp"
#include "stream.hpp"

auto main() -> int {
  parley::bench::os();
  parley::bench::objects();
  parley::bench::streams();
  parley::bench::message_queues();
  return 0;
}
