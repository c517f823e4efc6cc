// The first words of every object: written when it is made, checked before anything is believed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <parley/error.hpp>

#include "shm/layout/segment.hpp"

namespace parley::shm {

/// What a new object's header says.
struct HeaderFields {
  ObjectKind kind;
  std::uint32_t body_version;
  std::uint32_t place_count;
  std::uint64_t segment_bytes;
  std::uint64_t body_offset;
  std::array<std::uint64_t, 2> uuid;
  std::uint64_t inode;
};

/// Which start of the system this is; zeros where it is not known.
auto this_boot() -> std::array<std::uint64_t, 2>;

auto header_of(std::span<std::byte> segment) -> SegmentHeader&;

/// Of a segment of zeros. The magic comes last.
void write_header(SegmentHeader& header, const HeaderFields& fields);

/// Whether it is an object of this kind at all. `invalid`: no object of ours; `wrong_kind`: another
/// one; `not_supported`: of a newer layout. The sizes are still to be checked.
auto check_kind(const SegmentHeader& header, ObjectKind kind, std::uint32_t body_version)
    -> Result<void>;

}  // namespace parley::shm
