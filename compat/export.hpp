// What the drop-in's functions have in common: how they are exported, and how they fail.
#pragma once

#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include <parley/error.hpp>

/// A function of the C library that the drop-in stands in for.
#define PARLEY_COMPAT extern "C" [[gnu::visibility("default")]]

namespace parley::compat {

/// What a C function says of a failure: -1, with the error in errno.
inline auto fail(int error) noexcept -> int {
  errno = error;
  return -1;
}
inline auto fail(Error error) noexcept -> int {
  return fail(static_cast<int>(error));
}

/// A pointer that the kernel would call bad without looking: null, of its own half, or in the first
/// pages. Others are used as they are: a call of the drop-in that is given one that leads nowhere
/// ends as any function's does.
inline auto is_bad(const void* pointer) noexcept -> bool {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return address < 65536 || address >> 47U != 0;
}

/// No thread is cancelled while it changes what others use.
class NoCancel {
 public:
  NoCancel() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  NoCancel(const NoCancel&) = delete;
  auto operator=(const NoCancel&) -> NoCancel& = delete;
  ~NoCancel() { pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = 0;
};

/// No handler of a signal runs in this thread meanwhile: it might call what it interrupted.
class NoSignals {
 public:
  NoSignals() noexcept {
    sigset_t all{};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  NoSignals(const NoSignals&) = delete;
  auto operator=(const NoSignals&) -> NoSignals& = delete;
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace parley::compat
