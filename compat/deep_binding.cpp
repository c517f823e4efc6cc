// dlopen(3) without RTLD_DEEPBIND: what is loaded with that looks for names in the C library first,
// before the drop-in. PHP loads its extensions so.
#include <dlfcn.h>

#include "export.hpp"
#include "next.hpp"

// The real one sees who calls it by where it returns to, and looks for files beside that: so the
// last thing that this does is to jump there.
PARLEY_COMPAT auto dlopen(const char* file, int mode) noexcept -> void* {
  static constinit parley::compat::Next<void*(const char*, int) noexcept> next("dlopen");
  return next.get()(file, mode & ~RTLD_DEEPBIND);
}
