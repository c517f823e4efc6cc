// The C library's own functions, in whose place the drop-in's stand.
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace parley::compat {

/// The C library's function of a name, or that of whoever stands between; found at the first use,
/// by several threads at once if it so happens. dlsym(3) may not be called in a handler of a
/// signal: what may be called there is looked up at the start.
template <class Function>
class Next {
 public:
  constexpr explicit Next(const char* name) noexcept : name_(name) {}

  auto get() noexcept -> Function* {
    auto* known = function_.load(std::memory_order_relaxed);
    if (known == nullptr) [[unlikely]] {
      known = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name_));
      function_.store(known, std::memory_order_relaxed);
    }
    return known;
  }

 private:
  const char* name_;
  std::atomic<Function*> function_{nullptr};
};

}  // namespace parley::compat
