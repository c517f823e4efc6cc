#include "shm/latch.hpp"

#include "os/futex.hpp"
#include "os/keeper.hpp"
#include "shm/spin.hpp"

namespace parley::shm {
namespace {

constexpr unsigned everybody = 0x7fff'ffff;

}  // namespace

void Latch::wake_next() noexcept {
  words_.sleepers.exchange_acq_rel(0);
  os::futex_wake(words_.sleepers.futex_word(), 1);
}

void Latch::pass_the_bell_on() const noexcept {
  os::futex_wake(words_.sleepers.futex_word(), everybody);
}

void Latch::give_up() noexcept {
  wake_next();
  segment_.pass_on_deaths();
}

auto Latch::is_held_by_the_dead() const noexcept -> bool {
  const std::uint32_t holder = words_.holder.load_relaxed() - 1;  // only a reason to look closely
  return holder < segment_.place_count() && is_dead(segment_.life(holder).load_relaxed());
}

auto Latch::acquire_slowly(std::uint32_t spins, Deadline deadline, bool heir) -> Result<Found> {
  deadline = deadline.despite_signals();
  for (; spins > 0; --spins) {
    if (spins % looks_between_clocks == 0 && (deadline.has_passed() || is_held_by_the_dead()))
      break;
    pause_between_looks(spins);
    std::uint32_t expected = 0;
    // No order: the exchange makes it, where the latch looks free.
    if (words_.holder.load_relaxed() == 0 &&
        words_.holder.compare_exchange_acq_rel(expected, mine())) {
      return Found::free;
    }
  }
  Segment::Watch watch;
  for (int rounds = 0, strays = 0;; ++rounds) {
    // A peer that changes the words all the time could keep us here.
    if (rounds != 0 && deadline.has_passed()) {
      give_up();
      return failure(deadline.error());
    }
    // First, and the fence later: of those who are not watched since they are dead, nobody runs any
    // more when the holder is looked at, and may take the latch and die before its wake-up.
    segment_.watch(watch);
    words_.sleepers.exchange_acq_rel(1);  // ASLEEP
    os::fence_all();
    std::uint32_t seen = words_.holder.load_acquire();
    if (seen == 0) {
      // `sleepers` stays: there may be others.
      if (words_.holder.compare_exchange_acq_rel(seen, mine())) return Found::free;  // LATCH
      continue;
    }
    const std::uint32_t holder = seen - 1;
    if (holder >= segment_.place_count()) return failure(Error::corrupt);
    const auto life = segment_.life(holder).load_acquire();
    if (is_dead(life) || (heir && holder == segment_.place())) {
      // TAKEOVER: nobody of the dead process may still be at work inside.
      os::await_stillness();
      if (words_.holder.compare_exchange_acq_rel(seen, mine())) return Found::left_by_the_dead;
      continue;
    }
    // A place is freed by whoever holds the latch, so one that is free and named was left and
    // claimed again since the word was read; more than a few times it is a lie.
    constexpr int strays_at_most = 100;
    if (life == 0 && ++strays > strays_at_most) return failure(Error::corrupt);
    if (life == 0) continue;
    // The watch was begun, and then `sleepers` set, before the holder was last looked at.
    const auto woken = segment_.wait_fenced(watch, words_.sleepers.futex_word(), 1, deadline);
    if (!woken) {
      give_up();
      return failure(woken.error());
    }
  }
}

}  // namespace parley::shm
