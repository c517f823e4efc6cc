// Mutex: mutual exclusion of processes that survives its holder.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include <parley/deadline.hpp>
#include <parley/object.hpp>
#include <parley/os/descriptor.hpp>

namespace parley {

struct MutexOptions {
  mode_t mode = 0600;               ///< Of a named object's file, as it is: no umask is applied.
  std::uint32_t participants = 64;  ///< At most at one time; up to 8175.
};

/// A lock in shared memory, held by one participant. Not recursive. When its holder dies, or gives
/// up its handle while holding it, the next who wants the lock gets it and is told (`peer_died`),
/// so that it can repair what the lock guards.
///
/// `Lockable` and `TimedLockable`, for std::lock_guard, std::unique_lock and std::scoped_lock. What
/// all objects have in common, also the errors of `create`, `open` and `adopt`: object.hpp.
class Mutex {
 public:
  static auto create(const MutexOptions& options = {}) -> Result<Mutex>;
  static auto create(std::string_view name, const MutexOptions& options = {}) -> Result<Mutex>;
  static auto open(std::string_view name) -> Result<Mutex>;
  static auto open_or_create(std::string_view name, const MutexOptions& options = {})
      -> Result<Mutex>;
  static auto adopt(os::OwnedFd fd) -> Result<Mutex>;
  static auto unlink(std::string_view name) -> Result<void>;

  Mutex(Mutex&&) noexcept;
  auto operator=(Mutex&&) noexcept -> Mutex&;
  Mutex(const Mutex&) = delete;
  auto operator=(const Mutex&) -> Mutex& = delete;
  ~Mutex();

  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd;
  void set_wait_strategy(WaitStrategy strategy) noexcept;

  /// Takes the lock; `peer_died()` then says whether its last holder died with it. At the deadline
  /// `timed_out` or `would_block`.
  auto acquire(Deadline deadline) -> Result<void>;

  /// `not_permitted` if this participant does not hold it.
  auto release() -> Result<void>;

  /// For the holder: whether the last holder died with the lock, or found that its last holder had
  /// and died as well. Until the release.
  [[nodiscard]] auto peer_died() const noexcept -> bool;

  /// As the standard's requirements name them. `lock` throws, as `Result::value` does, where the
  /// object is broken; the others are then false.
  void lock() { acquire(Deadline::never()).value(); }
  auto try_lock() -> bool { return acquire(Deadline::now()).has_value(); }
  template <class Rep, class Period>
  auto try_lock_for(std::chrono::duration<Rep, Period> duration) -> bool {
    return acquire(Deadline::after(std::chrono::ceil<Deadline::Clock::duration>(duration)))
        .has_value();
  }
  template <class Clock, class Duration>
  auto try_lock_until(std::chrono::time_point<Clock, Duration> point) -> bool {
    return try_lock_for(point - Clock::now());
  }
  void unlock() { static_cast<void>(release()); }

 private:
  class State;
  explicit Mutex(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace parley
