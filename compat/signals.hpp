// Signal handlers of the program, which end the drop-in's waits.
//
// The drop-in stands between the program and sigaction(2): the kernel runs the drop-in's own
// handler, which ends the wait of this thread (`interrupt_wait`) and then calls the program's. So a
// wait under `Deadline::or_signal()` ends at every handler, with SA_RESTART and without.
#pragma once

#include <cstdint>

namespace parley::compat {

/// Of the handlers that have run on this thread since this was made; so make it when a call begins.
class HandlersSince {
 public:
  HandlersSince() noexcept;

  /// For a call that POSIX makes go on under SA_RESTART: whether handlers ran, all of them with it.
  [[nodiscard]] auto let_restart() const noexcept -> bool;

 private:
  std::uint32_t restarting_;
  std::uint32_t ending_;
};

}  // namespace parley::compat
