#include "shm/latch.hpp"

#include "os/futex.hpp"
#include "os/keeper.hpp"
#include "shm/spin.hpp"

namespace parley::shm {

void Latch::wake_next() noexcept { os::futex_wake(word_.futex_word(), 1); }

auto Latch::acquire_slowly(std::uint32_t spins, Deadline deadline, bool heir) -> Result<Found> {
  for (; spins > 0; --spins) {
    pause_processor();
    std::uint32_t expected = 0;
    // No order: the exchange makes it, where the latch looks free.
    if (word_.load_relaxed() == 0 && word_.compare_exchange_acq_rel(expected, mine())) {
      return Found::free;
    }
  }
  for (int strays = 0;;) {
    std::uint32_t seen = word_.load_acquire();
    if (seen == 0) {
      if (word_.compare_exchange_acq_rel(seen, mine() | contended)) return Found::free;  // LATCH
      continue;
    }
    const std::uint32_t holder = (seen & ~contended) - 1;
    if (holder >= segment_.place_count()) return failure(Error::corrupt);
    const auto life = segment_.life(holder).load_acquire();
    if (is_dead(life) || (heir && holder == segment_.place())) {
      // TAKEOVER: nobody of the dead process may still be at work inside.
      os::await_stillness();
      if (word_.compare_exchange_acq_rel(seen, mine() | contended)) return Found::left_by_the_dead;
      continue;
    }
    // A place is freed by whoever holds the latch, so one that is free and named was left and
    // claimed again since the word was read; more than a few times it is a lie.
    constexpr int strays_at_most = 100;
    if (life == 0 && ++strays > strays_at_most) return failure(Error::corrupt);
    if (life == 0) continue;
    if ((seen & contended) == 0 && !word_.compare_exchange_acq_rel(seen, seen | contended)) continue;
    const auto woken = segment_.wait(word_.futex_word(), seen | contended, deadline);
    if (!woken && woken.error() != Error::interrupted) {
      wake_next();
      return failure(woken.error());
    }
  }
}

}  // namespace parley::shm
