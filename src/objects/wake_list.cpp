#include "objects/wake_list.hpp"

#include "os/futex.hpp"

namespace parley {

void WakeList::add(const std::uint32_t* futex_word) noexcept {
  if (count_ == words_.size()) wake_all();
  words_[count_++] = futex_word;
}

void WakeList::wake() noexcept {
  for (std::size_t i = 0; i < count_; ++i) os::futex_wake(words_[i], 1);
  count_ = 0;
}

}  // namespace parley
