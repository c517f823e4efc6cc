// Who is to be woken once the latch is free again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace parley {

/// The sleepers whose wait is decided. Where there are many, some are woken at once.
class WakeList {
 public:
  void add(const std::uint32_t* futex_word) noexcept;
  void wake_all() noexcept {
    if (count_ != 0) [[unlikely]]
      wake();
  }

 private:
  void wake() noexcept;

  std::array<const std::uint32_t*, 16> words_;
  std::size_t count_ = 0;
};

}  // namespace parley
