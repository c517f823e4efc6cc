#include "shm/header.hpp"

#include <bit>
#include <new>

#include "os/object_file.hpp"

namespace parley::shm {

auto this_boot() -> std::array<std::uint64_t, 2> {
  // Read once: it does not change while the system runs.
  static const auto id = std::bit_cast<std::array<std::uint64_t, 2>>(os::boot_id());
  return id;
}

auto header_of(std::span<std::byte> segment) -> SegmentHeader& {
  return *std::launder(reinterpret_cast<SegmentHeader*>(segment.data()));
}

void write_header(SegmentHeader& header, const HeaderFields& fields) {
  header.version.store_relaxed(segment_version);
  header.kind.store_relaxed(static_cast<std::uint32_t>(fields.kind));
  header.body_version.store_relaxed(fields.body_version);
  header.place_count.store_relaxed(fields.place_count);
  header.segment_bytes.store_relaxed(fields.segment_bytes);
  header.body_offset.store_relaxed(fields.body_offset);
  for (std::size_t i = 0; i < fields.uuid.size(); ++i) {
    header.uuid[i].store_relaxed(fields.uuid[i]);
    header.boot[i].store_relaxed(this_boot()[i]);
  }
  header.inode.store_relaxed(fields.inode);
  header.magic.store_release(segment_magic);
}

auto check_kind(const SegmentHeader& header, ObjectKind kind, std::uint32_t body_version)
    -> Result<void> {
  if (header.magic.load_acquire() != segment_magic) return failure(Error::invalid);
  if (header.version.load_relaxed() != segment_version) return failure(Error::not_supported);
  if (header.kind.load_relaxed() != static_cast<std::uint32_t>(kind)) {
    return failure(Error::wrong_kind);
  }
  const bool known =
      header.body_version.load_relaxed() == body_version && header.features.load_relaxed() == 0;
  return known ? Result<void>() : failure(Error::not_supported);
}

}  // namespace parley::shm
