// dlopen(3) without RTLD_DEEPBIND: what is loaded with that looks for names in the C library first,
// before the drop-in. PHP loads its extensions so.
#include <dlfcn.h>

#include <atomic>

#include "export.hpp"

// The real one sees who calls it by where it returns to, and looks for files beside that: so the
// last thing that this does is to jump there.
PARLEY_COMPAT auto dlopen(const char* file, int mode) noexcept -> void* {
  using Function = void*(const char*, int) noexcept;
  static constinit std::atomic<Function*> found{nullptr};
  Function* real = found.load(std::memory_order_relaxed);
  if (real == nullptr) {
    real = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "dlopen"));
    found.store(real, std::memory_order_relaxed);
  }
  return real(file, mode & ~RTLD_DEEPBIND);
}
