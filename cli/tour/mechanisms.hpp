// Each mechanism of the tour: one function that prepares it, defined in a file of its own.
#pragma once

#include <memory>

#include "tour/guarded_memory.hpp"
#include "tour/mechanism.hpp"

namespace parley::cli {

auto pipes() -> std::unique_ptr<Mechanism>;
auto fifos() -> std::unique_ptr<Mechanism>;
auto local_stream() -> std::unique_ptr<Mechanism>;
auto local_seqpacket() -> std::unique_ptr<Mechanism>;
auto local_datagrams() -> std::unique_ptr<Mechanism>;
auto passed_descriptor() -> std::unique_ptr<Mechanism>;
auto tcp_connection() -> std::unique_ptr<Mechanism>;
auto sysv_queue() -> std::unique_ptr<Mechanism>;
auto posix_queues() -> std::unique_ptr<Mechanism>;
auto streams() -> std::unique_ptr<Mechanism>;
auto parley_queue() -> std::unique_ptr<Mechanism>;

/// `guarded_memory<posix_area, posix_gate>` is one such function.
template <auto area, auto gate>
auto guarded_memory() -> std::unique_ptr<Mechanism> {
  return guarded_memory(area(), gate());
}

}  // namespace parley::cli
