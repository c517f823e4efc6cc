// The list of the tour's stops: a mechanism joins it with one line.
#include <array>

#include "tour/mechanisms.hpp"

namespace parley::cli {

auto stops() -> std::span<const Stop> {
  static constexpr std::array all{
      Stop{"pipe", "pipe", pipes},
      Stop{"fifo", "FIFO", fifos},
      Stop{"posix-queue", "POSIX queue", posix_queues},
      Stop{"posix-shm-posix-sem", "POSIX shm, POSIX sem", guarded_memory<posix_area, posix_gate>},
      Stop{"memfd-posix-sem", "memfd, POSIX sem", guarded_memory<memfd_area, posix_gate>},
  };
  return all;
}

}  // namespace parley::cli
