#include "os/region.hpp"

#include <sys/mman.h>

#include <csignal>
#include <cstdint>
#include <new>
#include <utility>

#include "os/keeper.hpp"
#include "os/sys.hpp"

namespace parley::os {

namespace {

/// Never freed, only used again, so that the handler may walk them at any time.
constinit TruncationGuard* guards = nullptr;
constinit struct sigaction action_before{};

auto guard_of(std::uintptr_t address) -> TruncationGuard* {
  for (auto* guard = __atomic_load_n(&guards, __ATOMIC_ACQUIRE); guard != nullptr;
       guard = guard->next) {
    const auto begin = __atomic_load_n(&guard->begin, __ATOMIC_ACQUIRE);
    const auto size = __atomic_load_n(&guard->size_bytes, __ATOMIC_RELAXED);
    if (begin != 0 && address >= begin && address - begin < size) return guard;
  }
  return nullptr;
}

/// Private zeros in place of the object's pages.
auto replace(const TruncationGuard& guard) -> bool {
  void* const at = reinterpret_cast<void*>(guard.begin);  // NOLINT(performance-no-int-to-ptr)
  return sys::call<::mmap>(at, guard.size_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, off_t{0})
      .has_value();
}

/// As if this handler were not there. A default action needs the fault to happen once more.
void pass_on(int signal, siginfo_t* info, void* context) {
  if ((action_before.sa_flags & SA_SIGINFO) != 0) {
    action_before.sa_sigaction(signal, info, context);
  } else if (action_before.sa_handler != SIG_DFL && action_before.sa_handler != SIG_IGN) {
    action_before.sa_handler(signal);
  } else {
    sys::release<::sigaction>(signal, &action_before, nullptr);
  }
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  auto* const guard = guard_of(reinterpret_cast<std::uintptr_t>(info->si_addr));
  if (guard != nullptr && replace(*guard)) {
    __atomic_store_n(&guard->lost, true, __ATOMIC_RELEASE);
  } else {
    pass_on(signal, info, context);
  }
  errno = saved;
}

auto install_handler() -> Result<void> {
  struct sigaction ours{};
  ours.sa_sigaction = on_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  struct sigaction before{};
  PARLEY_TRY(sys::call<::sigaction>(SIGBUS, nullptr, &before));
  if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction == on_bus_error) return {};
  action_before = before;
  PARLEY_TRY(sys::call<::sigaction>(SIGBUS, &ours, nullptr));
  return {};
}

/// Takes a free guard, or makes one. No lock: a child that is forked meanwhile could not open it.
auto guard_for(std::span<std::byte> bytes) -> Result<TruncationGuard*> {
  PARLEY_TRY(install_handler());
  constexpr std::uintptr_t taken = 1;  // an address that nobody has
  auto* guard = __atomic_load_n(&guards, __ATOMIC_ACQUIRE);
  for (; guard != nullptr; guard = guard->next) {
    std::uintptr_t nobody = 0;
    if (__atomic_compare_exchange_n(&guard->begin, &nobody, taken, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
      break;
    }
  }
  if (guard == nullptr) {
    guard = new (std::nothrow) TruncationGuard{.begin = taken,
                                               .size_bytes = 0,
                                               .lost = false,
                                               .next = __atomic_load_n(&guards, __ATOMIC_RELAXED)};
    if (guard == nullptr) return failure(Error::out_of_memory);
    while (!__atomic_compare_exchange_n(&guards, &guard->next, guard, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
    }
  }
  __atomic_store_n(&guard->lost, false, __ATOMIC_RELAXED);
  __atomic_store_n(&guard->size_bytes, bytes.size(), __ATOMIC_RELAXED);
  __atomic_store_n(&guard->begin, reinterpret_cast<std::uintptr_t>(bytes.data()), __ATOMIC_RELEASE);
  return guard;
}

#ifdef MADV_POPULATE_WRITE
constexpr int populate_write = MADV_POPULATE_WRITE;
#else
constexpr int populate_write = 23;
#endif

constexpr auto whole_pages(std::size_t size_bytes) -> std::size_t {
  constexpr std::size_t page_bytes = 4096;
  return (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
}

}  // namespace

auto Region::map(BorrowedFd fd, std::size_t size_bytes, bool may_shrink, bool rings)
    -> Result<Region> {
  const std::size_t reserved = rings ? 3 * whole_pages(size_bytes) : size_bytes;
  void* const nodes =
      PARLEY_TRY(sys::call<::mmap>(nullptr, node_distance_bytes + reserved, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, off_t{0}));
  Region region({static_cast<std::byte*>(nodes) + node_distance_bytes, size_bytes},
                node_distance_bytes, reserved);
  PARLEY_TRY(sys::call<::mmap>(static_cast<void*>(region.bytes_.data()), size_bytes,
                               PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.number(),
                               off_t{0}));
  if (rings) {
    // A stray access to what is not mapped there yet is to show.
    auto* const room = region.bytes_.data() + whole_pages(size_bytes);
    PARLEY_TRY(
        sys::call<::mprotect>(static_cast<void*>(room), 2 * whole_pages(size_bytes), PROT_NONE));
  }
  if (may_shrink) PARLEY_TRY(region.guard());
  return region;
}

auto Region::map_alone(BorrowedFd fd, std::size_t size_bytes, Access access, bool may_shrink)
    -> Result<Region> {
  const bool writes = access == Access::read_write;
  const auto map_with = [&](int sharing) {
    return sys::call<::mmap>(nullptr, size_bytes, PROT_READ | (writes ? PROT_WRITE : 0), sharing,
                             fd.number(), off_t{0});
  };
  auto mapped = map_with(MAP_SHARED);
  // Before Linux 6.7 a descriptor that writes cannot map, shared, what is sealed against writing.
  // Since that never changes, a private mapping is the same.
  if (!mapped && mapped.error() == Error::not_permitted && !writes) mapped = map_with(MAP_PRIVATE);
  auto* const bytes = static_cast<std::byte*>(PARLEY_TRY(mapped));
  Region region({bytes, size_bytes}, 0, size_bytes);
  if (may_shrink) PARLEY_TRY(region.guard());
  return region;
}

auto Region::map_ring(BorrowedFd fd, std::size_t offset_bytes, std::size_t size_bytes)
    -> Result<std::span<std::byte>> {
  const std::size_t begin_bytes = whole_pages(bytes_.size()) + rings_bytes_;
  if (begin_bytes > reserved_bytes_ || size_bytes > (reserved_bytes_ - begin_bytes) / 2) {
    return failure(Error::invalid);
  }
  auto* const begin = bytes_.data() + begin_bytes;
  for (std::byte* const part : {begin, begin + size_bytes}) {
    PARLEY_TRY(sys::call<::mmap>(static_cast<void*>(part), size_bytes, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_FIXED, fd.number(),
                                 static_cast<off_t>(offset_bytes)));
    // Only to have the page faults behind us, where the kernel can: Linux 5.14.
    sys::release<::madvise>(static_cast<void*>(part), size_bytes, populate_write);
  }
  rings_bytes_ += 2 * size_bytes;
  return std::span(begin, size_bytes);
}

auto Region::guard() -> Result<void> {
  guard_ = PARLEY_TRY(guard_for({bytes_.data(), reserved_bytes_}));
  return {};
}

Region::Region(Region&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      nodes_bytes_(other.nodes_bytes_),
      reserved_bytes_(other.reserved_bytes_),
      rings_bytes_(other.rings_bytes_),
      guard_(std::exchange(other.guard_, nullptr)) {}

Region::~Region() {
  if (guard_ != nullptr) __atomic_store_n(&guard_->begin, 0, __ATOMIC_RELEASE);
  if (bytes_.empty()) return;
  sys::release<::munmap>(bytes_.data() - nodes_bytes_, nodes_bytes_ + reserved_bytes_);
}

}  // namespace parley::os
