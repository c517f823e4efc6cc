// The body of a Stream, or of a StreamPair.
//
//   0      StreamBody                  128   latch, shape
//   128    StreamRing × ring_count     640 each: who is at its ends, and how far they have come
//   4096   bytes of the first ring     capacity_bytes
//          bytes of the second ring    capacity_bytes, in a pair
//
// The byte at position p of a ring is at p % capacity_bytes. Positions count from 0 and only grow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/layout/latch.hpp"

namespace parley::shm {

inline constexpr std::uint32_t stream_version = 1;

struct StreamBody {
  LatchWords latch;  ///< See shm/latch.hpp.
  // From here on nothing changes after creation.
  Atomic<std::uint64_t> capacity_bytes;  ///< Of each ring: a power of two, 4 KiB to 1 GiB.
  Atomic<std::uint32_t> ring_count;      ///< 1: a Stream; 2: a StreamPair.
  std::uint32_t unused[27];              ///< Zero.
};
static_assert(offsetof(StreamBody, latch) == 0);
static_assert(offsetof(StreamBody, capacity_bytes) == 8);
static_assert(offsetof(StreamBody, ring_count) == 16);
static_assert(offsetof(StreamBody, unused) == 20);
static_assert(sizeof(StreamBody) == 128 && std::is_standard_layout_v<StreamBody>);

/// Where one side sleeps until the other has come as far as it waits for.
struct StreamSleeper {
  Atomic<std::uint64_t>
      wake_at;                   ///< The other's position. Written by the sleeper, before `sleeps`.
  Atomic<std::uint32_t> sleeps;  ///< 1: it may sleep here. Set by it, cleared by who wakes it.
  std::uint32_t unused[29];      ///< Zero.
};
static_assert(offsetof(StreamSleeper, wake_at) == 0);
static_assert(offsetof(StreamSleeper, sleeps) == 8);
static_assert(offsetof(StreamSleeper, unused) == 12);
static_assert(sizeof(StreamSleeper) == 128 && std::is_standard_layout_v<StreamSleeper>);

/// Each word has a line, and the one beside it that processors fetch along, for those that the same
/// side writes.
struct StreamRing {
  /// Role words: see StreamRoleWord. Written under the latch; one that names a holder, by it alone.
  Atomic<std::uint32_t> writer;
  Atomic<std::uint32_t> reader;
  /// Where a writer died whose successor came before the reader was told, plus 1. 0: nowhere. The
  /// first, where it were several. Under the latch.
  Atomic<std::uint64_t> died_at;
  std::uint64_t unused[14];          ///< Zero.
  Atomic<std::uint64_t> written;     ///< All before this position may be read. By the writer.
  std::uint64_t unused_written[15];  ///< Zero.
  Atomic<std::uint64_t> read;     ///< All before this position may be written again. By the reader.
  std::uint64_t unused_read[15];  ///< Zero.
  StreamSleeper reader_sleeper;
  StreamSleeper writer_sleeper;
};
static_assert(offsetof(StreamRing, writer) == 0);
static_assert(offsetof(StreamRing, reader) == 4);
static_assert(offsetof(StreamRing, died_at) == 8);
static_assert(offsetof(StreamRing, unused) == 16);
static_assert(offsetof(StreamRing, written) == 128);
static_assert(offsetof(StreamRing, unused_written) == 136);
static_assert(offsetof(StreamRing, read) == 256);
static_assert(offsetof(StreamRing, unused_read) == 264);
static_assert(offsetof(StreamRing, reader_sleeper) == 384);
static_assert(offsetof(StreamRing, writer_sleeper) == 512);
static_assert(sizeof(StreamRing) == 640 && std::is_standard_layout_v<StreamRing>);

/// What a role word says: the place of its holder with this bit;
inline constexpr std::uint32_t role_held = 0x8000'0000;

/// or how the last one left.
enum StreamRoleWord : std::uint32_t {
  role_vacant = 0,  ///< Nobody came yet, or it was handed over.
  role_closed = 1,
  role_died = 2,
  role_told = 4,  ///< Of a writer, beside the two before: its reader has seen the end.
};

inline constexpr std::uint64_t stream_capacity_at_least = 4096;
inline constexpr std::uint64_t stream_capacity_at_most = std::uint64_t{1} << 30U;

inline constexpr std::size_t stream_data_offset = 4096;  ///< Of the first ring, in the body.

constexpr auto stream_body_bytes(std::uint64_t capacity_bytes, std::uint32_t ring_count)
    -> std::size_t {
  return stream_data_offset + ring_count * static_cast<std::size_t>(capacity_bytes);
}
static_assert(sizeof(StreamBody) + 2 * sizeof(StreamRing) <= stream_data_offset);

}  // namespace parley::shm
