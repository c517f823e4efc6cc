// The only way to touch a shared word: an atomic whose methods name their memory order.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "base/seam.hpp"

namespace parley::shm {

/// The compiler keeps what is before it before what is after it; the processor may not.
inline void compiler_barrier() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// A word in shared memory. Never constructed there: a new segment is all zeros, and zero is every
/// word's first value.
template <class T>
  requires std::is_unsigned_v<T> && std::atomic<T>::is_always_lock_free
class Atomic {
 public:
  [[nodiscard]] auto load_relaxed() const noexcept -> T { return load(std::memory_order_relaxed); }
  [[nodiscard]] auto load_acquire() const noexcept -> T { return load(std::memory_order_acquire); }

  void store_relaxed(T value) noexcept { store(value, std::memory_order_relaxed); }
  void store_release(T value) noexcept { store(value, std::memory_order_release); }

  auto exchange_acq_rel(T value) noexcept -> T {
    seam::before(seam::Step::exchange, &value_);
    return value_.exchange(value, std::memory_order_acq_rel);
  }

  auto fetch_add_acq_rel(T value) noexcept -> T {
    seam::before(seam::Step::exchange, &value_);
    return value_.fetch_add(value, std::memory_order_acq_rel);
  }

  /// Where the word is `expected` it becomes `desired`; else `expected` becomes what it is.
  auto compare_exchange_acq_rel(T& expected, T desired) noexcept -> bool {
    seam::before(seam::Step::exchange, &value_);
    return value_.compare_exchange_strong(expected, desired, std::memory_order_acq_rel,
                                          std::memory_order_acquire);
  }

  /// The 32 bits that a futex call is given: the word, or its low half.
  [[nodiscard]] auto futex_word() const noexcept -> const std::uint32_t* {
    static_assert(std::atomic<T>::is_always_lock_free && sizeof(T) == sizeof(std::atomic<T>));
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    return reinterpret_cast<const std::uint32_t*>(&value_);
  }

 private:
  [[nodiscard]] auto load(std::memory_order order) const noexcept -> T {
    seam::before(seam::Step::load, &value_);
    return value_.load(order);
  }

  void store(T value, std::memory_order order) noexcept {
    seam::before(seam::Step::store, &value_);
    value_.store(value, order);
  }

  std::atomic<T> value_;
};

}  // namespace parley::shm
