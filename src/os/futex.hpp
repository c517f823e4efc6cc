// Sleeping until a shared word changes, and waking who sleeps on it.
#pragma once

#include <cstdint>
#include <span>

#include <parley/deadline.hpp>

#include "base/seam.hpp"

namespace parley::os {

using seam::WatchedWord;

/// The most words that one sleep can watch, the bell among them. FUTEX_WAITV_MAX
inline constexpr std::size_t watched_words_at_most = 128;

/// Sleeps until one of the words is woken or is not what was expected of it; may also return
/// without a reason. `timed_out` or `would_block` at the deadline; `interrupted` by a signal, where
/// the deadline ends at one. futex_waitv(2); where that is missing or forbidden, and with more
/// words than it takes, the first word alone is watched, for a few milliseconds at most, and the
/// caller looks at the others.
///
/// A thread that is killed in its sleep still stands in the kernel's queues for a moment, also
/// after its process was marked dead, and takes wake-ups that were meant for others. So those who
/// sleep on the same words share a `bell`, a word that is always 0: the death of one of them inside
/// of this call wakes another, once it has left the queues.
auto futex_wait(std::span<const WatchedWord> words, Deadline deadline,
                const std::uint32_t* bell = nullptr) -> Result<void>;

/// Wakes as many of those who sleep on the word, in any process. futex(2), FUTEX_WAKE
void futex_wake(const std::uint32_t* word, unsigned count) noexcept;

}  // namespace parley::os
