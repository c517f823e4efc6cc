// The rings of a stream and who holds their ends: all that is done under the latch.
//
// Owners      role words and died_at: the latch's holder; a role word that names a holder: that one
//             alone, who may leave without the latch. written: the writer. read: the reader.
//             wake_at, and sleeps from 0 to 1: the sleeper; sleeps from 1 to 0: who wakes it.
// Invariants  I1 read <= written <= read + capacity; both only grow.
//             I2 a role word names a place whose participant is alive or not buried yet.
//             I3 what lies in a ring from `read` to `written` was written whole, and nobody changes
//                it.
// Edges       PUBLISH  store of `written` -> the reader's load: the bytes before it.
//             CONSUME  store of `read` -> the writer's load: the reader is done with them.
//             ROLE  store of a role word -> load by the other side: all that its holder did. So
//             `written` is loaded after the writer's word: where that says that it is gone, nothing
//             more comes.
//             ASLEEP  a sleeper stores wake_at and `sleeps`, fences all processors (membarrier) and
//             then looks once more; the other side stores its position and then loads `sleeps`,
//             with no barrier of its own: one of the two sees the other's store.
// Crash       Dead while copying, before PUBLISH or CONSUME: the position stays, as if that call
// had
//             never been. Between a position and the wake-up: the sleeper watches all lives, wakes
//             and looks. Holding an end: whoever buries it stores that it died. While claiming one:
//             each store by itself is sound, and the last one claims.
#pragma once

#include <array>
#include <cstdint>
#include <new>
#include <span>

#include <parley/error.hpp>

#include "objects/wake_list.hpp"
#include "shm/layout/stream.hpp"

namespace parley {

class StreamTable {
 public:
  enum class Side : std::uint8_t { writer, reader };
  static constexpr std::array both_sides{Side::writer, Side::reader};

  /// Checks that the body holds what it says: `corrupt`.
  static auto of(std::span<std::byte> body, std::uint32_t place_count) -> Result<StreamTable>;

  /// Writes a new stream into a body that is all zeros.
  static void create(std::span<std::byte> body, std::uint64_t capacity_bytes,
                     std::uint32_t ring_count);

  [[nodiscard]] auto capacity_bytes() const noexcept -> std::uint64_t { return capacity_bytes_; }
  [[nodiscard]] auto ring_count() const noexcept -> std::uint32_t { return ring_count_; }
  [[nodiscard]] auto ring(std::uint32_t index) const noexcept -> shm::StreamRing& {
    return part<shm::StreamRing>(sizeof(shm::StreamBody) + index * sizeof(shm::StreamRing));
  }

  static auto other(Side side) noexcept -> Side {
    return side == Side::writer ? Side::reader : Side::writer;
  }
  static auto word(shm::StreamRing& ring, Side side) noexcept -> shm::Atomic<std::uint32_t>& {
    return side == Side::writer ? ring.writer : ring.reader;
  }
  static auto sleeper(shm::StreamRing& ring, Side side) noexcept -> shm::StreamSleeper& {
    return side == Side::writer ? ring.writer_sleeper : ring.reader_sleeper;
  }

  /// An end of a ring.
  struct End {
    std::uint32_t ring;
    Side side;
  };

  /// `busy` where somebody holds it.
  [[nodiscard]] auto require_free(End end) const -> Result<void>;

  /// Gives a free end to the participant.
  auto claim(End end, std::uint32_t place, WakeList& wakes) -> Result<void>;

  /// Notes that the reader, at this position, was told what became of the writer.
  void tell(std::uint32_t ring_index, std::uint64_t position);

  // What LatchedObject asks of a table. Nobody has to be served here: a sleeper looks for itself.
  [[nodiscard]] auto latch_words() const noexcept -> shm::LatchWords& {
    return part<shm::StreamBody>(0).latch;
  }
  static auto recover() -> Result<void> { return {}; }
  auto bury(std::uint32_t place) -> Result<void>;
  static auto somebody_waits() noexcept -> bool { return false; }
  static auto serve(WakeList& /*wakes*/) -> Result<void> { return {}; }
  void wake_decided(WakeList& wakes) const noexcept;

 private:
  template <class T>
  [[nodiscard]] auto part(std::size_t offset) const noexcept -> T& {
    return *std::launder(reinterpret_cast<T*>(body_.data() + offset));
  }

  explicit StreamTable(std::span<std::byte> body) noexcept : body_(body) {}

  std::span<std::byte> body_;
  std::uint64_t capacity_bytes_ = 0;
  std::uint32_t ring_count_ = 0;
};

/// Whether a role word names a holder.
constexpr auto is_held(std::uint32_t role) noexcept -> bool {
  return (role & shm::role_held) != 0;
}

}  // namespace parley
