// Memory in which a stray access shows: where this program maps an object there is nothing around
// it.
//
//   | list nodes | nothing       | the object | poisoned         | nothing |
//     first page   up to 64 KiB                 to the page's end   a page
//
// For that its mmap and munmap stand in place of the C library's. The library under test reserves
// memory without swap space for objects alone, and maps at a fixed address only the object itself.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "os/keeper.hpp"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address))
#endif

namespace {

constexpr std::size_t page_bytes = 4096;

std::array<std::atomic<void*>, 64> guarded{};
std::array<std::atomic<std::byte*>, 64> poisoned{};  // from there to its page's end

auto whole_pages(std::size_t bytes) -> std::size_t {
  return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

auto system_mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset)
    -> void* {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, fd, offset));
}

/// The region of an object: reserved by the library before the object is mapped into it.
auto map_region(std::size_t bytes, int protection, int flags) -> void* {
  const auto inner = whole_pages(bytes);
  void* const address = system_mmap(nullptr, inner + page_bytes, protection, flags, -1, 0);
  if (address == MAP_FAILED) return address;
  auto* const start = static_cast<std::byte*>(address);
  mprotect(start + inner, page_bytes, PROT_NONE);
  mprotect(start + page_bytes, parley::os::node_distance_bytes - page_bytes, PROT_NONE);
  for (auto& each : guarded) {
    void* none = nullptr;
    if (each.compare_exchange_strong(none, address)) break;
  }
  return address;
}

auto rest_of_page(const std::byte* from) -> std::size_t {
  return (page_bytes - reinterpret_cast<std::uintptr_t>(from) % page_bytes) % page_bytes;
}

void poison_rest_of_page(std::byte* from) {
  if (rest_of_page(from) == 0) return;
  for (auto& each : poisoned) {
    std::byte* none = nullptr;
    if (!each.compare_exchange_strong(none, from)) continue;
    ASAN_POISON_MEMORY_REGION(from, rest_of_page(from));
    return;
  }
}

/// Only these pages: an object may be larger than what the sanitizer can be told of in time.
void unpoison(const std::byte* address, std::size_t bytes) {
  for (auto& each : poisoned) {
    auto* from = each.load();
    if (from < address || from >= address + bytes) continue;
    if (each.compare_exchange_strong(from, nullptr)) {
      ASAN_UNPOISON_MEMORY_REGION(from, rest_of_page(from));
    }
  }
}

}  // namespace

extern "C" auto mmap(void* address, std::size_t bytes, int protection, int flags, int fd,
                     off_t offset) noexcept -> void* {
  if ((flags & MAP_NORESERVE) != 0) return map_region(bytes, protection, flags);
  void* const mapped = system_mmap(address, bytes, protection, flags, fd, offset);
  if ((flags & (MAP_FIXED | MAP_SHARED)) == (MAP_FIXED | MAP_SHARED) && mapped != MAP_FAILED) {
    poison_rest_of_page(static_cast<std::byte*>(mapped) + bytes);
  }
  return mapped;
}

extern "C" auto munmap(void* address, std::size_t bytes) noexcept -> int {
  for (auto& each : guarded) {
    void* expected = address;
    if (address == nullptr || !each.compare_exchange_strong(expected, nullptr)) continue;
    const auto inner = whole_pages(bytes);
    unpoison(static_cast<std::byte*>(address), inner);
    bytes = inner + page_bytes;
  }
  return static_cast<int>(syscall(SYS_munmap, address, bytes));
}
