// The list of the tour's stops: a mechanism joins it with one line.
#include <array>

#include "tour/mechanisms.hpp"

namespace parley::cli {

auto stops() -> std::span<const Stop> {
  static constexpr std::array all{
      Stop{"pipe", "pipe", pipes},
      Stop{"fifo", "FIFO", fifos},
      Stop{"local-stream", "local stream socket", local_stream},
      Stop{"local-seqpacket", "local seqpacket socket", local_seqpacket},
      Stop{"local-datagram", "local datagram socket", local_datagrams},
      Stop{"descriptor", "file's own descriptor", passed_descriptor},
      Stop{"tcp", "TCP on loopback", tcp_connection},
      Stop{"sysv-queue", "System V queue", sysv_queue},
      Stop{"posix-queue", "POSIX queue", posix_queues},
      Stop{"parley-queue", "Parley queue", parley_queue},
      Stop{"sysv-shm-sysv-sem", "System V shm, System V sem", guarded_memory<sysv_area, sysv_gate>},
      Stop{"sysv-shm-posix-sem", "System V shm, POSIX sem", guarded_memory<sysv_area, posix_gate>},
      Stop{"posix-shm-sysv-sem", "POSIX shm, System V sem", guarded_memory<posix_area, sysv_gate>},
      Stop{"posix-shm-posix-sem", "POSIX shm, POSIX sem", guarded_memory<posix_area, posix_gate>},
      Stop{"memfd-sysv-sem", "memfd, System V sem", guarded_memory<memfd_area, sysv_gate>},
      Stop{"memfd-posix-sem", "memfd, POSIX sem", guarded_memory<memfd_area, posix_gate>},
      Stop{"memfd-parley-sem", "memfd, Parley sem", guarded_memory<memfd_area, parley_gate>},
      Stop{"parley-stream", "Parley stream", streams},
  };
  return all;
}

}  // namespace parley::cli
