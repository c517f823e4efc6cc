// What every object begins with: who made it, how large it is, and who takes part in it.
//
//   0    ┌──────────────────────────────────────────────────────────────┐
//        │ SegmentHeader: written before the object has a name, then    │ 128 bytes
//        │ boot, inode, places_used, arrivals, unfenced, under claim lock│
//   128  ├──────────────────────────────────────────────────────────────┤
//        │ Place 0, kept for those who must make room before they claim │ 8 bytes each
//        │ Place 1 … place_count - 1                                    │
//        ├──────────────────────────────────────────────────────────────┤
//   body │ the object's own layout, at a multiple of 4096               │
//   end  └──────────────────────────────────────────────────────────────┘
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

/// "PARLEY" and two zeros, as little-endian bytes.
inline constexpr std::uint64_t segment_magic = 0x0000'5945'4c52'4150;

/// Of the header, the places and what is shared by all objects: latch and journal.
inline constexpr std::uint32_t segment_version = 1;

/// Which object the body is. A kind's number is never given to another.
enum class ObjectKind : std::uint32_t {
  semaphore_set = 1,
  mutex = 2,
  shared_memory = 3,
  stream = 4,
  message_queue = 5,
  space_table = 6,
};

/// Whether parts of the body are mapped twice, as rings.
constexpr auto has_rings(ObjectKind kind) -> bool {
  return kind == ObjectKind::stream;
}

struct SegmentHeader {
  Atomic<std::uint64_t> magic;
  Atomic<std::uint32_t> version;        ///< `segment_version`
  Atomic<std::uint32_t> kind;           ///< ObjectKind
  Atomic<std::uint32_t> body_version;   ///< Of the kind's own layout.
  Atomic<std::uint32_t> place_count;    ///< With place 0; 0: an object without participants.
  Atomic<std::uint64_t> features;       ///< Bits that a reader must know; none is defined yet.
  Atomic<std::uint64_t> segment_bytes;  ///< The size of the whole file.
  Atomic<std::uint64_t> body_offset;
  std::array<Atomic<std::uint64_t>, 2> uuid;
  /// The system's start and the file for which the life words hold. After a restart, or in a copy
  /// of the file, nobody who stands in a place is alive.
  std::array<Atomic<std::uint64_t>, 2> boot;
  Atomic<std::uint64_t> inode;
  Atomic<std::uint32_t> places_used;  ///< No place from here on was ever claimed. Only grows.
  Atomic<std::uint32_t> arrivals;     ///< Counts claims; sleepers watch it. Wraps around.
  /// 1 once a participant came that the barriers of the others do not reach (os::fence_all).
  Atomic<std::uint32_t> unfenced;
  /// Always 0. All who sleep on anything in the object sleep on it too: the kernel wakes one of
  /// them when another is killed in its sleep (os::futex_wait).
  Atomic<std::uint32_t> bell;
  std::array<std::uint32_t, 4> reserved;  ///< Zero.
};
static_assert(offsetof(SegmentHeader, magic) == 0);
static_assert(offsetof(SegmentHeader, version) == 8);
static_assert(offsetof(SegmentHeader, kind) == 12);
static_assert(offsetof(SegmentHeader, body_version) == 16);
static_assert(offsetof(SegmentHeader, place_count) == 20);
static_assert(offsetof(SegmentHeader, features) == 24);
static_assert(offsetof(SegmentHeader, segment_bytes) == 32);
static_assert(offsetof(SegmentHeader, body_offset) == 40);
static_assert(offsetof(SegmentHeader, uuid) == 48);
static_assert(offsetof(SegmentHeader, boot) == 64);
static_assert(offsetof(SegmentHeader, inode) == 80);
static_assert(offsetof(SegmentHeader, places_used) == 88);
static_assert(offsetof(SegmentHeader, arrivals) == 92);
static_assert(offsetof(SegmentHeader, unfenced) == 96);
static_assert(offsetof(SegmentHeader, bell) == 100);
static_assert(offsetof(SegmentHeader, reserved) == 104);
static_assert(sizeof(SegmentHeader) == 120);
static_assert(std::is_standard_layout_v<SegmentHeader>);

/// Where one participant stands. Eight of them share a cache line, since everybody reads all of
/// them and they change only when somebody comes, goes or dies.
struct Place {
  /// 0: free. Else the thread id of the participant's keeper with FUTEX_WAITERS; or, once that is
  /// dead, FUTEX_WAITERS | FUTEX_OWNER_DIED, set by the kernel, until what it left is cleaned up. A
  /// participant that leaves sets FUTEX_OWNER_DIED itself, beside the thread id.
  Atomic<std::uint32_t> life;
  /// How many participants have stood here. Written by whoever frees the place.
  Atomic<std::uint32_t> generation;
};
static_assert(offsetof(Place, life) == 0);
static_assert(offsetof(Place, generation) == 4);
static_assert(sizeof(Place) == 8);
static_assert(std::is_standard_layout_v<Place>);

/// What is set in a life word once its participant is dead. The same bits as FUTEX_WAITERS and
/// FUTEX_OWNER_DIED, since it is the kernel that sets them.
inline constexpr std::uint32_t dead_life = 0xc000'0000;

constexpr auto is_dead(std::uint32_t life) -> bool {
  return (life & 0x4000'0000) != 0;
}

inline constexpr std::size_t places_offset = 128;
inline constexpr std::size_t body_alignment = 4096;

/// The list nodes of the life words lie 64 KiB before them; so the last place must too.
inline constexpr std::uint32_t places_at_most =
    (std::size_t{64} * 1024 - places_offset) / sizeof(Place);

constexpr auto body_offset(std::uint32_t place_count) -> std::size_t {
  const std::size_t end = places_offset + place_count * sizeof(Place);
  return (end + body_alignment - 1) / body_alignment * body_alignment;
}

}  // namespace parley::shm
