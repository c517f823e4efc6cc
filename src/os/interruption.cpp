#include "os/interruption.hpp"

#include <parley/deadline.hpp>

namespace parley {
namespace {

// Of this model since a handler may not allocate, as the first touch of another might.
[[gnu::tls_model("initial-exec")]] constinit thread_local std::uint32_t signals_come = 0;

}  // namespace

auto os::signal_count() noexcept -> const std::uint32_t* {
  return &signals_come;
}

auto Deadline::or_signal() const noexcept -> Deadline {
  Deadline deadline = *this;
  // Relaxed, as everywhere: the handlers run on this very thread.
  deadline.signals_ = __atomic_load_n(&signals_come, __ATOMIC_RELAXED);
  deadline.ends_at_signal_ = true;
  return deadline;
}

auto Deadline::has_signal_come() const noexcept -> bool {
  return __atomic_load_n(&signals_come, __ATOMIC_RELAXED) != signals_;
}

void interrupt_wait() noexcept {
  __atomic_fetch_add(&signals_come, 1, __ATOMIC_RELAXED);
}

}  // namespace parley
