#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// How long one word is watched where the others cannot be.
constexpr std::chrono::milliseconds slice{5};

/// What a futex call of ours ended with, where it is no error but a reason to look again.
auto as_outcome(const Result<long>& result, Deadline deadline) -> Result<void> {
  if (result || result.error() == Error::would_block) return {};
  if (result.error() == Error::timed_out) return failure(deadline.error());
  return failure(result.error());
}

/// The deadline as a point of CLOCK_MONOTONIC; null for never.
class Timeout {
 public:
  explicit Timeout(Deadline deadline)
      : none_(deadline.is_never()),
        point_(to_timespec(none_ ? Deadline::Clock::duration{}
                                 : std::max(deadline.point().time_since_epoch(), {}))) {}

  [[nodiscard]] auto get() const -> const timespec* { return none_ ? nullptr : &point_; }

 private:
  bool none_;
  timespec point_;
};

auto wait_for_one(const WatchedWord& word, Deadline deadline) -> Result<void> {
  const Timeout timeout(deadline);
  return as_outcome(
      sys::call<::syscall>(long{SYS_futex}, word.word, FUTEX_WAIT_BITSET, word.expected,
                           timeout.get(), nullptr, FUTEX_BITSET_MATCH_ANY),
      deadline);
}

/// Whether this kernel, under its filters, has futex_waitv; asked once.
auto has_waitv() -> bool {
  static const bool answer = [] {
    const auto result =
        sys::call<::syscall>(long{SYS_futex_waitv}, nullptr, 0U, 0U, nullptr, CLOCK_MONOTONIC);
    return !result && result.error() == Error::invalid;
  }();
  return answer;
}

auto wait_for_any(std::span<const WatchedWord> words, Deadline deadline) -> Result<void> {
  std::array<futex_waitv, watched_words_at_most> waiters;
  for (std::size_t i = 0; i < words.size(); ++i) {
    waiters[i] = {.val = words[i].expected,
                  .uaddr = reinterpret_cast<std::uintptr_t>(words[i].word),
                  .flags = FUTEX_32,
                  .__reserved = 0};
  }
  const Timeout timeout(deadline);
  return as_outcome(
      sys::call<::syscall>(long{SYS_futex_waitv}, waiters.data(),
                           static_cast<unsigned>(words.size()), 0U, timeout.get(), CLOCK_MONOTONIC),
      deadline);
}

}  // namespace

auto futex_wait(std::span<const WatchedWord> words, Deadline deadline) -> Result<void> {
#if PARLEY_TEST_SEAM
  if (seam::director != nullptr) {
    if (const auto woken = seam::director->sleep(words, !deadline.is_never())) {
      return *woken ? Result<void>() : failure(deadline.error());
    }
  }
#endif
  if (words.size() == 1) return wait_for_one(words[0], deadline);
  if (words.size() <= watched_words_at_most && has_waitv()) return wait_for_any(words, deadline);
  const auto end = Deadline::after(slice);
  if (deadline.point() <= end.point()) return wait_for_one(words[0], deadline);
  const auto result = wait_for_one(words[0], end);
  return !result && result.error() == Error::timed_out ? Result<void>() : result;
}

void futex_wake(const std::uint32_t* word, unsigned count) noexcept {
#if PARLEY_TEST_SEAM
  if (seam::director != nullptr && seam::director->wake(word, count)) return;
#endif
  sys::release<::syscall>(long{SYS_futex}, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

}  // namespace parley::os
