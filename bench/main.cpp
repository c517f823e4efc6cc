// parley_bench: every benchmark, one after the other.
#include "drop_in.hpp"
#include "message_queue.hpp"
#include "objects.hpp"
#include "os.hpp"
#include "stream.hpp"

auto main() -> int {
  parley::bench::os();
  parley::bench::objects();
  parley::bench::streams();
  parley::bench::message_queues();
  parley::bench::drop_in();
  return 0;
}
