#include <bit>

#include "objects/inspect.hpp"
#include "shm/layout/stream.hpp"

namespace parley {
namespace {

auto role_of(const shm::Atomic<std::uint32_t>& word) -> InspectedRole {
  const auto value = word.load_relaxed();
  InspectedRole role{};
  if ((value & shm::role_held) != 0) {
    role.holder = value & ~shm::role_held;
  } else {
    role.was_closed = (value & shm::role_closed) != 0;
    role.holder_died = (value & shm::role_died) != 0;
  }
  return role;
}

}  // namespace

auto look_at_stream(const ObjectLook& look) -> Result<StreamInspection> {
  const auto body = PARLEY_TRY(look.reader.read_body<shm::StreamBody>(0, 1));
  const auto capacity = body[0].capacity_bytes.load_relaxed();
  const auto count = body[0].ring_count.load_relaxed();
  const bool sound = (count == 1 || count == 2) && std::has_single_bit(capacity) &&
                     capacity >= shm::stream_capacity_at_least &&
                     capacity <= shm::stream_capacity_at_most &&
                     look.body_bytes >= shm::stream_data_offset + count * capacity;
  if (!sound) return failure(Error::corrupt);
  StreamInspection stream{.capacity_bytes = capacity, .rings = {}};
  const auto rings =
      PARLEY_TRY(look.reader.read_body<shm::StreamRing>(sizeof(shm::StreamBody), count));
  for (const auto& ring : rings.all()) {
    stream.rings.push_back({.writer = role_of(ring.writer),
                            .reader = role_of(ring.reader),
                            .written_bytes = ring.written.load_relaxed(),
                            .read_bytes = ring.read.load_relaxed()});
  }
  return stream;
}

}  // namespace parley
