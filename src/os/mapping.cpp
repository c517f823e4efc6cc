#include <parley/os/mapping.hpp>

#include <sys/stat.h>

#include "os/sys.hpp"

namespace parley::os {
namespace {

auto protection_bits(Protection protection) -> int {
  return (protection.read ? PROT_READ : 0) | (protection.write ? PROT_WRITE : 0) |
         (protection.execute ? PROT_EXEC : 0);
}

auto map_flags(const MapOptions& options) -> int {
  int flags = options.sharing == MapSharing::shared ? MAP_SHARED : MAP_PRIVATE;
  if (options.populate) flags |= MAP_POPULATE;
  if (options.locked) flags |= MAP_LOCKED;
  if (options.no_reserve) flags |= MAP_NORESERVE;
  if (options.address != nullptr) flags |= MAP_FIXED_NOREPLACE;
  if (options.huge_pages != HugePages::none) {
    constexpr int size_shift = 26;  // MAP_HUGE_SHIFT
    // Unsigned, because the logarithm may reach the sign bit.
    flags |= MAP_HUGETLB |
             static_cast<int>(static_cast<unsigned>(options.huge_pages) << unsigned{size_shift});
  }
  return flags;
}

/// How much of an object there is from the range's offset on; `invalid` where that is nothing.
auto size_of_range(BorrowedFd fd, ByteRange range) -> Result<std::size_t> {
  if (range.size_bytes != ByteRange::to_the_end) return range.size_bytes;
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd.number(), &status));
  const auto end = static_cast<std::size_t>(status.st_size);
  if (range.offset_bytes >= end) return failure(Error::invalid);
  return end - range.offset_bytes;
}

}  // namespace

MappedMemory::~MappedMemory() {
  if (address_ != nullptr) sys::release<::munmap>(address_, size_bytes_);
}

auto MappedMemory::map(BorrowedFd fd, int protection, int flags, const MapOptions& options)
    -> Result<MappedMemory> {
  const bool anonymous = (flags & MAP_ANONYMOUS) != 0;
  const std::size_t size =
      anonymous ? options.range.size_bytes : PARLEY_TRY(size_of_range(fd, options.range));
  void* const address = PARLEY_TRY(sys::call<::mmap>(
      options.address, size, protection | (options.execute ? PROT_EXEC : 0),
      flags | map_flags(options), fd.number(), static_cast<off_t>(options.range.offset_bytes)));
  MappedMemory memory(address, size);
  // Kernels before 4.17 take the address for a hint.
  if (options.address != nullptr && address != options.address) return failure(Error::exists);
  return memory;
}

auto MappedMemory::part(ByteRange range) const -> Result<std::span<std::byte>> {
  if (range.offset_bytes > size_bytes_) return failure(Error::out_of_range);
  const std::size_t rest = size_bytes_ - range.offset_bytes;
  if (range.size_bytes == ByteRange::to_the_end) range.size_bytes = rest;
  if (range.size_bytes > rest) return failure(Error::out_of_range);
  return std::span(address() + range.offset_bytes, range.size_bytes);
}

auto MappedMemory::sync(SyncOptions options, ByteRange range) -> Result<void> {
  const auto pages = PARLEY_TRY(part(range));
  const int flags = (options.wait ? MS_SYNC : MS_ASYNC) | (options.invalidate ? MS_INVALIDATE : 0);
  PARLEY_TRY(sys::call<::msync>(pages.data(), pages.size(), flags));
  return {};
}

auto MappedMemory::advise(Advice advice, ByteRange range) -> Result<void> {
  const auto pages = PARLEY_TRY(part(range));
  PARLEY_TRY(sys::call<::madvise>(pages.data(), pages.size(), static_cast<int>(advice)));
  return {};
}

auto MappedMemory::protect(Protection protection, ByteRange range) -> Result<void> {
  const auto pages = PARLEY_TRY(part(range));
  PARLEY_TRY(sys::call<::mprotect>(pages.data(), pages.size(), protection_bits(protection)));
  return {};
}

auto MappedMemory::lock(LockWhen when, ByteRange range) -> Result<void> {
  const auto pages = PARLEY_TRY(part(range));
  const unsigned flags = when == LockWhen::on_fault ? MLOCK_ONFAULT : 0U;
  PARLEY_TRY(sys::call<::mlock2>(pages.data(), pages.size(), flags));
  return {};
}

auto MappedMemory::unlock(ByteRange range) -> Result<void> {
  const auto pages = PARLEY_TRY(part(range));
  PARLEY_TRY(sys::call<::munlock>(pages.data(), pages.size()));
  return {};
}

auto MappedMemory::resize(std::size_t size_bytes) -> Result<void> {
  address_ =
      PARLEY_TRY(sys::call<::mremap>(address_, size_bytes_, size_bytes, int{MREMAP_MAYMOVE}));
  size_bytes_ = size_bytes;
  return {};
}

auto MappedMemory::resize_in_place(std::size_t size_bytes) -> Result<void> {
  PARLEY_TRY(sys::call<::mremap>(address_, size_bytes_, size_bytes, 0));
  size_bytes_ = size_bytes;
  return {};
}

auto ReadMapping::of(BorrowedFd fd, const MapOptions& options) -> Result<ReadMapping> {
  return ReadMapping(PARLEY_TRY(map(fd, PROT_READ, 0, options)));
}

auto Mapping::of(BorrowedFd fd, const MapOptions& options) -> Result<Mapping> {
  return Mapping(PARLEY_TRY(map(fd, PROT_READ | PROT_WRITE, 0, options)));
}

auto Mapping::anonymous(std::size_t size_bytes, MapOptions options) -> Result<Mapping> {
  options.range = {.size_bytes = size_bytes};
  return Mapping(
      PARLEY_TRY(map(BorrowedFd::from_number(-1), PROT_READ | PROT_WRITE, MAP_ANONYMOUS, options)));
}

}  // namespace parley::os
