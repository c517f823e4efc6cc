// One end of a ring, as the process that holds it sees it.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include <parley/stream.hpp>

#include "objects/spins.hpp"
#include "objects/stream_state.hpp"
#include "os/keeper.hpp"

namespace parley {

/// Bytes in several areas, taken from one end to the other.
class AreaCursor {
 public:
  explicit AreaCursor(std::span<const iovec> areas) noexcept : areas_(areas) { skip_empty(); }

  [[nodiscard]] auto is_at_end() const noexcept -> bool { return areas_.empty(); }

  /// The next bytes that lie in one piece, at most so many.
  auto next(std::size_t at_most_bytes) noexcept -> std::span<std::byte> {
    const auto& area = areas_.front();
    const auto taken = std::min(area.iov_len - offset_, at_most_bytes);
    auto* const begin = static_cast<std::byte*>(area.iov_base) + offset_;
    offset_ += taken;
    skip_empty();
    return {begin, taken};
  }

 private:
  void skip_empty() noexcept {
    while (!areas_.empty() && offset_ == areas_.front().iov_len) {
      areas_ = areas_.subspan(1);
      offset_ = 0;
    }
  }

  std::span<const iovec> areas_;
  std::size_t offset_ = 0;
};

class StreamRole::State {
 public:
  using Side = StreamTable::Side;

  /// What a look at the other side found.
  enum class Sight : std::uint8_t {
    ready,     ///< As many bytes, or as much room, as are wanted.
    nothing,   ///< To be waited for.
    closed,    ///< Less than is wanted, and no more will come.
    died,      ///< The same, because the other side's process died.
    unburied,  ///< The other side's process died and nobody has noted it.
    corrupt,
  };

  using End = StreamTable::End;

  /// Of an end that this process has just claimed.
  static auto held(std::shared_ptr<StreamState> stream, End end) -> std::unique_ptr<State>;

  State(const State&) = delete;
  auto operator=(const State&) -> State& = delete;
  ~State() { leave(shm::role_closed); }

  [[nodiscard]] auto stream() const noexcept -> const StreamState& { return *stream_; }
  [[nodiscard]] auto bytes_waiting() const noexcept -> std::size_t;
  void set_wait_strategy(WaitStrategy strategy) noexcept { spins_ = spins_of(strategy); }
  void leave(shm::StreamRoleWord left) noexcept;

  /// Between the position of this end and the limit: bytes to read, or room to write.
  [[nodiscard]] auto extent() const noexcept -> std::uint64_t { return limit_ - position_; }
  [[nodiscard]] auto here() const noexcept -> std::byte* {
    return data_ + (position_ & (capacity_bytes_ - 1));
  }
  [[nodiscard]] auto capacity_bytes() const noexcept -> std::uint64_t { return capacity_bytes_; }

  /// Whether this process holds the end, and the object has all its memory.
  [[nodiscard]] auto is_current() const noexcept -> bool {
    return is_held() && !stream_->segment().is_lost();
  }
  [[nodiscard]] auto is_held() const noexcept -> bool { return process_ == os::process_number(); }
  [[nodiscard]] auto check() const noexcept -> Result<void> {
    return stream_->segment().is_lost() ? failure(Error::corrupt) : Result<void>();
  }
  /// Where it does not hold it: claims it, in a child of fork(2).
  auto make_current() -> Result<void>;

  /// Looks for `wanted` bytes or so much room.
  auto look(std::uint64_t wanted) noexcept -> Sight {
    return end_.side == Side::writer ? look_for_room(wanted) : look_for_bytes(wanted);
  }
  /// Looks until there is something to see. Never `nothing` nor `unburied`; `corrupt` is an error.
  auto await(std::uint64_t wanted, Deadline deadline) -> Result<Sight>;
  /// Until the other side was there, or is gone: `ready`, or how it left.
  auto await_other(Deadline deadline) -> Result<Sight>;

  /// Whether so many bytes are within the extent, and few enough to be copied in one go.
  [[nodiscard]] auto copies_at_once(std::size_t bytes) const noexcept -> bool {
    return bytes - 1 < std::min<std::uint64_t>(extent(), published_at_once_bytes);
  }

  // The writer's. `broken_pipe` where the reader is gone.
  auto await_room(std::uint64_t wanted, Deadline deadline) -> Result<void>;
  /// Writes what there is room for.
  auto fill_from(AreaCursor& areas) -> Result<std::size_t>;

  // The reader's. How many bytes there are; fewer than wanted before the end, none at the end.
  auto await_bytes(std::uint64_t wanted, Deadline deadline) -> Result<std::uint64_t>;
  /// Reads what is there.
  auto drain_into(AreaCursor& areas) -> Result<std::size_t>;

  /// Whether the reader is there, or may still come: to be asked before anything is written.
  [[nodiscard]] auto is_reader_well() const noexcept -> bool;

  /// Moves on by so many bytes, and wakes the other side where it waits for them.
  void advance(std::uint64_t bytes) noexcept {
    position_ += bytes;
    if (end_.side == Side::writer) {
      ring_.written.store_release(position_);  // PUBLISH
    } else {
      ring_.read.store_release(position_);  // CONSUME
    }
    shm::compiler_barrier();
    // No barrier of its own: ASLEEP
    if (others_.sleeps.load_acquire() != 0) [[unlikely]]
      wake_other();
  }

  /// Notes that the reader was told what became of the writer. Where that cannot be done by the
  /// deadline it is told so again.
  auto tell(Deadline deadline) -> Result<void>;

 private:
  static constexpr std::uint32_t nobody = ~std::uint32_t{0};
  /// Of a long write or read, so that the other side can begin with it.
  static constexpr std::size_t published_at_once_bytes = std::size_t{32} * 1024;

  State(std::shared_ptr<StreamState> stream, End end) noexcept;

  void take_position() noexcept;
  auto look_for_room(std::uint64_t wanted) noexcept -> Sight;
  auto look_for_bytes(std::uint64_t wanted) noexcept -> Sight;
  [[nodiscard]] auto sight_of(std::uint32_t role) const noexcept -> Sight;
  void wake_other() noexcept;
  template <class Look>
  auto wait(Look look, std::uint64_t wake_at, Deadline deadline) -> Result<Sight>;
  template <class Look>
  auto sleep(Look look, std::uint64_t wake_at, Deadline deadline) -> Result<void>;

  // What every call reads, then what it changes.
  shm::StreamRing& ring_;
  shm::StreamSleeper& others_;
  std::byte* data_;
  std::uint64_t capacity_bytes_;
  End end_;
  /// The process that holds the end, as `os::process_number`; 0 is one that takes part in nothing.
  std::uint32_t process_ = nobody;
  std::uint32_t spins_ = spins_of(WaitStrategy::adaptive);
  bool left_ = false;
  std::uint64_t position_ = 0;
  std::uint64_t limit_ = 0;
  std::shared_ptr<StreamState> stream_;
};

inline auto StreamRole::State::is_reader_well() const noexcept -> bool {
  return sight_of(ring_.reader.load_acquire()) == Sight::nothing;  // ROLE
}

inline auto StreamRole::State::sight_of(std::uint32_t role) const noexcept -> Sight {
  if (parley::is_held(role)) [[likely]] {
    const auto at = role & ~shm::role_held;
    const auto& segment = stream_->segment();
    if (at >= segment.place_count()) return Sight::corrupt;
    return shm::is_dead(segment.life(at).load_acquire()) ? Sight::unburied : Sight::nothing;
  }
  if ((role & shm::role_closed) != 0) return Sight::closed;
  return (role & shm::role_died) != 0 ? Sight::died : Sight::nothing;
}

}  // namespace parley
