// The table of one kind of System V objects in a space: which there are, whose, and under which
// key.
//
//   0            SegmentHeader, with `place_count` 0   128
//   body_offset  SpaceTableBody                        256
//                bucket × bucket_count                   4 each: the first record of a chain of
//                keys SpaceRecord × records_at_most         128 each, from a multiple of 4096 on
//
// The table's file is locked by whoever changes it; who reads looks at `version` before and after.
// Every change puts one whole record in place of another. What it is to be stands in `staged`
// before anything changes, so whoever finds `version` odd under the lock does it again, and makes
// the chains and the counts anew. Indexes of records are one more than what they name; 0 is none.
//
// Records have memory up to `backed_records` only; the rest of the file is a hole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/atomic.hpp"

namespace parley::shm {

inline constexpr std::uint32_t space_table_version = 1;

/// As many as Linux's ids can tell apart: an id is `index | sequence << 15`.
inline constexpr unsigned space_index_bits = 15;
inline constexpr std::uint32_t space_records_at_most = 1U << space_index_bits;
inline constexpr std::uint32_t space_sequences = 1U << 16U;
inline constexpr std::uint32_t space_buckets = 8192;

enum SpaceRecordState : std::uint32_t {
  record_free = 0,
  record_lives = 1,
  record_marked = 2,  ///< Removed, but still in use: it has no key any more.
};

struct SpaceRecord {
  Atomic<std::uint64_t> stamp;  ///< How often this record was changed.
  Atomic<std::uint32_t> id;     ///< Of the object; of a free record, of the last that was here.
  Atomic<std::uint32_t> state;  ///< SpaceRecordState
  Atomic<std::uint32_t> key;    ///< IPC_PRIVATE: none.
  Atomic<std::uint32_t> next;   ///< In its chain; of a free record: the next free one.
  Atomic<std::uint32_t> uid;
  Atomic<std::uint32_t> gid;
  Atomic<std::uint32_t> creator_uid;
  Atomic<std::uint32_t> creator_gid;
  Atomic<std::uint32_t> mode;
  Atomic<std::uint32_t> creator_process;
  Atomic<std::uint64_t> size;      ///< Semaphores; bytes that a queue may hold; bytes of memory.
  Atomic<std::uint64_t> changed;   ///< Seconds since 1970: creation, or IPC_SET.
  Atomic<std::uint64_t> attached;  ///< Of memory; 0: never.
  Atomic<std::uint64_t> detached;
  Atomic<std::uint32_t> last_process;      ///< That attached or detached it.
  std::array<std::uint32_t, 11> reserved;  ///< Zero.
};
static_assert(offsetof(SpaceRecord, stamp) == 0);
static_assert(offsetof(SpaceRecord, id) == 8);
static_assert(offsetof(SpaceRecord, state) == 12);
static_assert(offsetof(SpaceRecord, key) == 16);
static_assert(offsetof(SpaceRecord, next) == 20);
static_assert(offsetof(SpaceRecord, uid) == 24);
static_assert(offsetof(SpaceRecord, gid) == 28);
static_assert(offsetof(SpaceRecord, creator_uid) == 32);
static_assert(offsetof(SpaceRecord, creator_gid) == 36);
static_assert(offsetof(SpaceRecord, mode) == 40);
static_assert(offsetof(SpaceRecord, creator_process) == 44);
static_assert(offsetof(SpaceRecord, size) == 48);
static_assert(offsetof(SpaceRecord, changed) == 56);
static_assert(offsetof(SpaceRecord, attached) == 64);
static_assert(offsetof(SpaceRecord, detached) == 72);
static_assert(offsetof(SpaceRecord, last_process) == 80);
static_assert(offsetof(SpaceRecord, reserved) == 84);
static_assert(sizeof(SpaceRecord) == 128 && std::is_standard_layout_v<SpaceRecord>);

struct SpaceTableBody {
  Atomic<std::uint64_t> version;           ///< Odd while the table is being changed.
  Atomic<std::uint32_t> kind;              ///< SpaceKind. Does not change.
  Atomic<std::uint32_t> first_free;        ///< Of the chain of free records.
  Atomic<std::uint32_t> backed_records;    ///< So many have memory. Only grows.
  Atomic<std::uint32_t> used_records;      ///< From here on none was ever used. Only grows.
  Atomic<std::uint32_t> count;             ///< Objects, with those that are marked.
  Atomic<std::uint32_t> marked;            ///< Objects that are.
  Atomic<std::uint64_t> total;             ///< Of their sizes.
  Atomic<std::uint32_t> staged_index;      ///< Where `staged` goes; 0: nothing is under way.
  Atomic<std::uint32_t> doomed;            ///< The record whose object is being removed.
  std::array<std::uint64_t, 10> reserved;  ///< Zero.
  SpaceRecord staged;
};
static_assert(offsetof(SpaceTableBody, version) == 0);
static_assert(offsetof(SpaceTableBody, kind) == 8);
static_assert(offsetof(SpaceTableBody, first_free) == 12);
static_assert(offsetof(SpaceTableBody, backed_records) == 16);
static_assert(offsetof(SpaceTableBody, used_records) == 20);
static_assert(offsetof(SpaceTableBody, count) == 24);
static_assert(offsetof(SpaceTableBody, marked) == 28);
static_assert(offsetof(SpaceTableBody, total) == 32);
static_assert(offsetof(SpaceTableBody, staged_index) == 40);
static_assert(offsetof(SpaceTableBody, doomed) == 44);
static_assert(offsetof(SpaceTableBody, reserved) == 48);
static_assert(offsetof(SpaceTableBody, staged) == 128);
static_assert(sizeof(SpaceTableBody) == 256 && std::is_standard_layout_v<SpaceTableBody>);

inline constexpr std::size_t space_buckets_offset = sizeof(SpaceTableBody);
inline constexpr std::size_t space_records_offset = 36864;
static_assert(space_records_offset % 4096 == 0 &&
              space_records_offset >= space_buckets_offset + std::size_t{space_buckets} * 4);
inline constexpr std::size_t space_table_bytes =
    space_records_offset + std::size_t{space_records_at_most} * sizeof(SpaceRecord);

}  // namespace parley::shm
