#include "objects/stream_table.hpp"

#include <bit>

namespace parley {

auto StreamTable::of(std::span<std::byte> body, std::uint32_t place_count) -> Result<StreamTable> {
  if (place_count >= shm::role_held || body.size() < shm::stream_data_offset) {
    return failure(Error::corrupt);
  }
  StreamTable table(body);
  const auto& fixed = table.part<shm::StreamBody>(0);
  const auto capacity = fixed.capacity_bytes.load_relaxed();
  const auto rings = fixed.ring_count.load_relaxed();
  const bool sound = (rings == 1 || rings == 2) && std::has_single_bit(capacity) &&
                     capacity >= shm::stream_capacity_at_least &&
                     capacity <= shm::stream_capacity_at_most &&
                     body.size() == shm::stream_body_bytes(capacity, rings);
  if (!sound) return failure(Error::corrupt);
  table.capacity_bytes_ = capacity;
  table.ring_count_ = rings;
  return table;
}

void StreamTable::create(std::span<std::byte> body, std::uint64_t capacity_bytes,
                         std::uint32_t ring_count) {
  const StreamTable table(body);
  auto& fixed = table.part<shm::StreamBody>(0);
  fixed.capacity_bytes.store_relaxed(capacity_bytes);
  fixed.ring_count.store_relaxed(ring_count);
}

auto StreamTable::require_free(End end) const -> Result<void> {
  const auto role = word(ring(end.ring), end.side).load_acquire();  // ROLE
  return is_held(role) ? failure(Error::busy) : Result<void>();
}

auto StreamTable::claim(End end, std::uint32_t place, WakeList& wakes) -> Result<void> {
  auto& ring = this->ring(end.ring);
  auto& mine = word(ring, end.side);
  const auto read = ring.read.load_acquire();        // CONSUME
  const auto written = ring.written.load_acquire();  // PUBLISH
  if (written - read > capacity_bytes_) return failure(Error::corrupt);
  if (end.side == Side::writer) {
    const bool untold = mine.load_acquire() == shm::role_died && ring.died_at.load_relaxed() == 0;
    if (untold) ring.died_at.store_release(written + 1);
    // A reader that left before this writer came is none of this one's.
    if (!is_held(ring.reader.load_relaxed())) ring.reader.store_release(shm::role_vacant);
  } else if (const auto writer = ring.writer.load_relaxed();
             !is_held(writer) && (writer & shm::role_told) != 0) {
    ring.writer.store_release(shm::role_vacant);
  }
  mine.store_release(shm::role_held | place);  // ROLE
  auto& others = sleeper(ring, other(end.side));
  others.sleeps.exchange_acq_rel(0);
  wakes.add(others.sleeps.futex_word());
  return {};
}

void StreamTable::tell(std::uint32_t ring_index, std::uint64_t position) {
  auto& ring = this->ring(ring_index);
  if (ring.died_at.load_relaxed() == position + 1) ring.died_at.store_release(0);
  const auto writer = ring.writer.load_acquire();  // ROLE
  if (is_held(writer) || writer == shm::role_vacant) return;
  const bool at_end = ring.written.load_acquire() == position;  // PUBLISH
  if (at_end) ring.writer.store_release(writer | shm::role_told);
}

auto StreamTable::bury(std::uint32_t place) -> Result<void> {
  for (std::uint32_t i = 0; i < ring_count_; ++i) {
    for (const auto side : both_sides) {
      auto& role = word(ring(i), side);
      if (role.load_acquire() != (shm::role_held | place)) continue;
      role.store_release(shm::role_died);  // ROLE
    }
  }
  return {};
}

void StreamTable::wake_decided(WakeList& wakes) const noexcept {
  for (std::uint32_t i = 0; i < ring_count_; ++i) {
    for (const auto side : both_sides) {
      auto& sleeps = sleeper(ring(i), side).sleeps;
      sleeps.exchange_acq_rel(0);
      wakes.add(sleeps.futex_word());
    }
  }
}

}  // namespace parley
