#include "objects/stream_state.hpp"

#include <algorithm>
#include <bit>

#include "objects/stream_role.hpp"
#include "os/futex.hpp"
#include "os/object_file.hpp"

namespace parley {
namespace {

auto end_of(std::uint32_t role) -> StreamEnd {
  if (is_held(role)) return StreamEnd::held;
  if ((role & shm::role_closed) != 0) return StreamEnd::closed;
  return (role & shm::role_died) != 0 ? StreamEnd::died : StreamEnd::vacant;
}

}  // namespace

auto StreamState::create(std::string_view name, const StreamOptions& options,
                         std::uint32_t ring_count) -> Result<std::shared_ptr<StreamState>> {
  if (options.capacity_bytes < shm::stream_capacity_at_least ||
      options.capacity_bytes > shm::stream_capacity_at_most) {
    return failure(Error::invalid);
  }
  const std::uint64_t capacity = std::bit_ceil(std::uint64_t{options.capacity_bytes});
  const auto body_bytes = shm::stream_body_bytes(capacity, ring_count);
  if (name.empty()) PARLEY_TRY(os::require_machine_has(body_bytes));
  auto segment = PARLEY_TRY(shm::Segment::create(
      {.name = name, .mode = options.mode},
      {.kind = shm::ObjectKind::stream,
       .body_version = shm::stream_version,
       .participants = options.participants,
       .body_bytes = body_bytes},
      [&](std::span<std::byte> body) { StreamTable::create(body, capacity, ring_count); }));
  auto state = PARLEY_TRY(of(std::move(segment), ring_count));
  if (!name.empty()) PARLEY_TRY(state->segment().publish(name));
  return state;
}

auto StreamState::open(std::string_view name, std::uint32_t ring_count)
    -> Result<std::shared_ptr<StreamState>> {
  return of(PARLEY_TRY(shm::Segment::open(name, shm::ObjectKind::stream, shm::stream_version)),
            ring_count);
}

auto StreamState::adopt(os::OwnedFd fd, std::uint32_t ring_count)
    -> Result<std::shared_ptr<StreamState>> {
  return of(
      PARLEY_TRY(shm::Segment::adopt(std::move(fd), shm::ObjectKind::stream, shm::stream_version)),
      ring_count);
}

auto StreamState::of(shm::Segment segment, std::uint32_t ring_count)
    -> Result<std::shared_ptr<StreamState>> {
  const auto table = PARLEY_TRY(StreamTable::of(segment.body(), segment.place_count()));
  if (table.ring_count() != ring_count) return failure(Error::wrong_kind);
  std::array<std::byte*, 2> data{};
  const auto bytes = static_cast<std::size_t>(table.capacity_bytes());
  for (std::uint32_t i = 0; i < ring_count; ++i) {
    data.at(i) = PARLEY_TRY(segment.map_ring(shm::stream_data_offset + i * bytes, bytes)).data();
  }
  std::shared_ptr<StreamState> state(new StreamState(std::move(segment), table));
  state->data_ = data;
  PARLEY_TRY(state->object_.stand());
  return state;
}

auto StreamState::bury(Deadline deadline) -> Result<void> {
  Object::Locked locked(object_);
  PARLEY_TRY(locked.take(deadline));
  return locked.close();
}

void StreamState::wake(shm::StreamSleeper& sleeper) noexcept {
  sleeper.sleeps.exchange_acq_rel(0);
  os::futex_wake(sleeper.sleeps.futex_word(), 1);
}

auto StreamState::claim(std::initializer_list<End> ends) -> Result<void> {
  Object::Locked locked(object_);
  PARLEY_TRY(locked.take(Object::patient()));
  for (const auto& end : ends) PARLEY_TRY(table().require_free(end));
  for (const auto& end : ends) {
    PARLEY_TRY(object_.table().claim(end, segment().place(), locked.wakes));
  }
  return locked.close();
}

void StreamState::release(End end, shm::StreamRoleWord left) noexcept {
  auto& ring = table().ring(end.ring);
  StreamTable::word(ring, end.side).store_release(left);  // ROLE
  wake(StreamTable::sleeper(ring, StreamTable::other(end.side)));
}

auto StreamState::tell(std::uint32_t ring_index, std::uint64_t position, Deadline deadline)
    -> Result<void> {
  Object::Locked locked(object_);
  PARLEY_TRY(locked.take(deadline));
  object_.table().tell(ring_index, position);
  return locked.close();
}

auto StreamState::writer() -> Result<StreamWriter> {
  const End end{.ring = 0, .side = Side::writer};
  PARLEY_TRY(claim({end}));
  return StreamWriter(StreamRole::State::held(shared_from_this(), end));
}

auto StreamState::reader() -> Result<StreamReader> {
  const End end{.ring = 0, .side = Side::reader};
  PARLEY_TRY(claim({end}));
  return StreamReader(StreamRole::State::held(shared_from_this(), end));
}

auto StreamState::side(std::uint32_t writes) -> Result<StreamSide> {
  const End writer{.ring = writes, .side = Side::writer};
  const End reader{.ring = 1 - writes, .side = Side::reader};
  PARLEY_TRY(claim({writer, reader}));
  return StreamSide{.writer = StreamWriter(StreamRole::State::held(shared_from_this(), writer)),
                    .reader = StreamReader(StreamRole::State::held(shared_from_this(), reader))};
}

auto StreamState::status() -> Result<StreamStatus> {
  Object::Locked locked(object_);
  PARLEY_TRY(locked.take(Object::patient()));
  const auto& ring = table().ring(0);
  // The position that is behind first: a reader that runs meanwhile makes it no more than there is.
  const auto read = ring.read.load_acquire();        // CONSUME
  const auto written = ring.written.load_acquire();  // PUBLISH
  const StreamStatus status{
      .bytes_waiting = static_cast<std::size_t>(std::min(written - read, table().capacity_bytes())),
      .writer = end_of(ring.writer.load_acquire()),  // ROLE
      .reader = end_of(ring.reader.load_acquire()),  // ROLE
      .participants = object_.participants()};
  PARLEY_TRY(locked.close());
  return status;
}

}  // namespace parley
