// The numbers that a folder of /proc lists: this process's descriptors, its threads.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "os/sys.hpp"

#include <parley/os/descriptor.hpp>

namespace parley::os {

/// Calls `visit` with each number but that of the descriptor by which it reads. What is listed may
/// be closed by `visit`. Does nothing that signal-safety(7) forbids.
template <class Visit>
auto for_each_number(const char* folder, Visit visit) -> Result<void> {
  const auto fd = OwnedFd::from_number(
      PARLEY_TRY(sys::call<::open>(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  alignas(dirent64) std::array<char, 2048> buffer{};
  for (;;) {
    const long size = PARLEY_TRY(sys::call<::syscall>(
        long{SYS_getdents64}, long{fd.number()}, buffer.data(), static_cast<long>(buffer.size())));
    if (size == 0) return {};
    for (long offset = 0; offset < size;) {
      const char* entry = buffer.data() + offset;
      std::uint16_t length = 0;
      std::memcpy(&length, entry + offsetof(dirent64, d_reclen), sizeof length);
      const char* name = entry + offsetof(dirent64, d_name);
      int number = -1;  // stays so for "." and ".."
      std::from_chars(name, name + std::strlen(name), number);
      if (number >= 0 && number != fd.number()) visit(number);
      offset += length;
    }
  }
}

}  // namespace parley::os
