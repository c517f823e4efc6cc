#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "os/interruption.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// How long one word is watched where the others cannot be.
constexpr std::chrono::milliseconds slice{5};

/// What a futex call of ours ended with, where it is no error but a reason to look again.
auto as_outcome(const Result<long>& result, Deadline deadline) -> Result<void> {
  if (deadline.is_interrupted()) return failure(Error::interrupted);
  if (result || result.error() == Error::would_block) return {};
  if (result.error() == Error::interrupted && !deadline.ends_at_signal()) return {};
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

/// While it lives, the death of this thread wakes one of those who sleep on the bell.
///
/// Where a thread dies with a futex named as pending in its robust list, and the word names no
/// owner, the kernel wakes one sleeper: made for a mutex's waiter who is killed when it was woken
/// (handle_futex_death in kernel/futex/core.c, since Linux 5.5). The list is the C library's, which
/// has no use for that field while the thread is in here.
class RingsWhenKilled {
 public:
  explicit RingsWhenKilled(const std::uint32_t* bell) {
    robust_list_head* list = nullptr;
    std::size_t bytes = 0;
    if (bell == nullptr || !sys::call<::syscall>(long{SYS_get_robust_list}, 0L, &list, &bytes)) {
      return;
    }
    if (list == nullptr) {
      // A thread that clone(2) made, or of a C library that has not needed one yet.
      static constinit thread_local robust_list_head own{};
      own = {.list = {.next = &own.list}, .futex_offset = 0, .list_op_pending = nullptr};
      if (!sys::call<::syscall>(long{SYS_set_robust_list}, &own, sizeof own)) return;
      list = &own;
    }
    list_ = list;
    before_ = list->list_op_pending;
    const auto node =
        reinterpret_cast<std::uintptr_t>(bell) - static_cast<std::uintptr_t>(list->futex_offset);
    // Read by the kernel, at the end of this very thread.
    __atomic_store_n(&list->list_op_pending,
                     reinterpret_cast<robust_list*>(node),  // NOLINT(performance-no-int-to-ptr)
                     __ATOMIC_RELAXED);
  }
  RingsWhenKilled(const RingsWhenKilled&) = delete;
  auto operator=(const RingsWhenKilled&) -> RingsWhenKilled& = delete;
  ~RingsWhenKilled() {
    if (list_ != nullptr) __atomic_store_n(&list_->list_op_pending, before_, __ATOMIC_RELAXED);
  }

 private:
  robust_list_head* list_ = nullptr;
  robust_list* before_ = nullptr;
};

auto wait_for_any(std::span<const WatchedWord> words, Deadline deadline, const std::uint32_t* bell)
    -> Result<void> {
  std::array<futex_waitv, watched_words_at_most> waiters;
  std::size_t count = 0;
  const auto add = [&](const std::uint32_t* word, std::uint32_t expected, unsigned flags) {
    waiters[count++] = {.val = expected,
                        .uaddr = reinterpret_cast<std::uintptr_t>(word),
                        .flags = FUTEX_32 | flags,
                        .__reserved = 0};
  };
  // First: who may miss a wake-up on one of the others must already hear the bell.
  if (bell != nullptr) add(bell, 0, 0);
  for (const auto& word : words) add(word.word, word.expected, 0);
  if (deadline.ends_at_signal()) add(signal_count(), deadline.signals(), FUTEX_PRIVATE_FLAG);
  const Timeout timeout(deadline);
  const RingsWhenKilled rings(bell);
  return as_outcome(
      sys::call<::syscall>(long{SYS_futex_waitv}, waiters.data(), static_cast<unsigned>(count), 0U,
                           timeout.get(), CLOCK_MONOTONIC),
      deadline);
}

}  // namespace

auto futex_wait(std::span<const WatchedWord> words, Deadline deadline, const std::uint32_t* bell)
    -> Result<void> {
#if PARLEY_TEST_SEAM
  if (seam::director != nullptr) {
    if (const auto woken = seam::director->sleep(words, !deadline.is_never())) {
      return *woken ? Result<void>() : failure(deadline.error());
    }
  }
#endif
  const std::size_t count =
      words.size() + (bell == nullptr ? 0 : 1) + (deadline.ends_at_signal() ? 1 : 0);
  if (count == 1) return wait_for_one(words[0], deadline);
  if (count <= watched_words_at_most && has_waitv()) return wait_for_any(words, deadline, bell);
  if (deadline.is_interrupted()) return failure(Error::interrupted);
  const auto end = deadline.no_later_than(Deadline::after(slice).point());
  const auto result = wait_for_one(words[0], end);
  const bool goes_on = !result && result.error() == end.error() && end.point() < deadline.point();
  return goes_on ? Result<void>() : result;
}

void futex_wake(const std::uint32_t* word, unsigned count) noexcept {
#if PARLEY_TEST_SEAM
  if (seam::director != nullptr && seam::director->wake(word, count)) return;
#endif
  sys::release<::syscall>(long{SYS_futex}, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

}  // namespace parley::os
