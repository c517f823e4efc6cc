#include "objects/stream_role.hpp"

#include "os/keeper.hpp"
#include "shm/spin.hpp"

namespace parley {

StreamRole::State::State(std::shared_ptr<StreamState> stream, End end) noexcept
    : ring_(stream->table().ring(end.ring)),
      others_(StreamTable::sleeper(ring_, StreamTable::other(end.side))),
      data_(stream->data(end.ring)),
      capacity_bytes_(stream->table().capacity_bytes()),
      end_(end),
      stream_(std::move(stream)) {}

auto StreamRole::State::held(std::shared_ptr<StreamState> stream, End end)
    -> std::unique_ptr<State> {
  std::unique_ptr<State> state(new State(std::move(stream), end));
  state->take_position();
  return state;
}

auto StreamRole::State::make_current() -> Result<void> {
  if (stream_->segment().is_lost()) return failure(Error::corrupt);
  if (left_) return failure(Error::bad_descriptor);
  PARLEY_TRY(stream_->claim({end_}));
  take_position();
  return {};
}

/// Both are the same to begin with: nothing of the other side was seen yet.
void StreamRole::State::take_position() noexcept {
  position_ = end_.side == Side::writer ? ring_.written.load_acquire()  // PUBLISH
                                        : ring_.read.load_acquire();    // CONSUME
  limit_ = position_;
  process_ = os::process_number();
}

void StreamRole::State::leave(shm::StreamRoleWord left) noexcept {
  if (process_ == os::process_number() && !left_) stream_->release(end_, left);
  process_ = nobody;
  left_ = true;
}

auto StreamRole::State::bytes_waiting() const noexcept -> std::size_t {
  const auto read = ring_.read.load_acquire();        // CONSUME
  const auto written = ring_.written.load_acquire();  // PUBLISH
  return std::min(written - read, capacity_bytes_);
}

auto StreamRole::State::look_for_room(std::uint64_t wanted) noexcept -> Sight {
  const auto sight = sight_of(ring_.reader.load_acquire());  // ROLE
  if (sight != Sight::nothing) return sight;
  const auto limit = ring_.read.load_acquire() + capacity_bytes_;  // CONSUME
  if (limit - position_ > capacity_bytes_ || limit - position_ < extent()) return Sight::corrupt;
  limit_ = limit;
  return extent() >= wanted ? Sight::ready : Sight::nothing;
}

auto StreamRole::State::look_for_bytes(std::uint64_t wanted) noexcept -> Sight {
  const auto role = ring_.writer.load_acquire();      // ROLE
  const auto written = ring_.written.load_acquire();  // PUBLISH
  // After the bytes of a new writer were seen, so that the death of the one before is seen too.
  const auto died_at = ring_.died_at.load_acquire();
  if (written - position_ > capacity_bytes_ || written - position_ < extent()) {
    return Sight::corrupt;
  }
  limit_ = written;
  if (died_at != 0) [[unlikely]] {
    if (died_at - 1 - position_ > written - position_) return Sight::corrupt;
    limit_ = died_at - 1;
  }
  if (extent() >= wanted) return Sight::ready;
  return died_at != 0 ? Sight::died : sight_of(role);
}

void StreamRole::State::wake_other() noexcept {
  // Stored before `sleeps`. What is no further than that changes nothing for the sleeper.
  const auto missing = others_.wake_at.load_relaxed() - position_;
  if (missing == 0 || missing > capacity_bytes_) StreamState::wake(others_);
}

auto StreamRole::State::await(std::uint64_t wanted, Deadline deadline) -> Result<Sight> {
  // Where the other side must come to: for the writer, how far the reader must have read.
  const auto end = position_ + wanted;
  return wait([&] { return look(wanted); }, end_.side == Side::writer ? end - capacity_bytes_ : end,
              deadline);
}

auto StreamRole::State::await_other(Deadline deadline) -> Result<Sight> {
  if (!is_current()) PARLEY_TRY(make_current());
  const auto look = [this] {
    const auto role =
        StreamTable::word(ring_, StreamTable::other(end_.side)).load_acquire();  // ROLE
    const auto sight = sight_of(role);
    if (sight == Sight::nothing && parley::is_held(role)) return Sight::ready;
    // A writer that is gone has come, but for a reader that was told so.
    const bool to_be_told = end_.side == Side::reader && (role & shm::role_told) == 0;
    const bool gone = sight == Sight::closed || sight == Sight::died;
    if (gone && end_.side == Side::reader) return to_be_told ? Sight::ready : Sight::nothing;
    return sight;
  };
  return wait(look, position_, deadline);
}

template <class Look>
auto StreamRole::State::wait(Look look, std::uint64_t wake_at, Deadline deadline) -> Result<Sight> {
  bool has_buried = false;
  for (std::uint32_t looks = 0;;) {
    const auto sight = look();
    if (sight == Sight::corrupt) return failure(Error::corrupt);
    if (sight == Sight::unburied) {
      // A peer that changes the words all the time could keep us here.
      if (has_buried && deadline.has_passed()) return failure(deadline.error());
      PARLEY_TRY(stream_->bury(deadline));
      has_buried = true;
      continue;
    }
    if (sight != Sight::nothing) return sight;
    if (deadline.is_now()) return failure(Error::would_block);
    if (looks < spins_) {
      shm::pause_between_looks(looks);
      if (++looks % shm::looks_between_clocks != 0) continue;
      PARLEY_TRY(deadline.check());
    } else {
      PARLEY_TRY(sleep(look, wake_at, deadline));
    }
    if (stream_->segment().is_lost()) return failure(Error::corrupt);
  }
}

/// Until it may be worth to look again.
template <class Look>
auto StreamRole::State::sleep(Look look, std::uint64_t wake_at, Deadline deadline) -> Result<void> {
  const auto& segment = stream_->segment();
  auto& own = StreamTable::sleeper(ring_, end_.side);
  shm::Segment::Watch watch;
  segment.watch(watch);
  own.wake_at.store_relaxed(wake_at);  // before `sleeps`
  own.sleeps.exchange_acq_rel(1);      // ASLEEP
  os::fence_all();
  Result<void> woken;
  if (look() == Sight::nothing && !watch.has_dead()) {
    woken = segment.wait_fenced(watch, own.sleeps.futex_word(), 1, deadline);
  } else {
    woken = deadline.check();  // a peer could show us dead participants all the time
  }
  own.sleeps.store_release(0);
  PARLEY_TRY(stream_->object().tend_after_sleep(deadline));
  if (woken) return {};
  // What came in the last moment counts.
  return look() == Sight::nothing ? woken : Result<void>();
}

auto StreamRole::State::tell(Deadline deadline) -> Result<void> {
  const auto role = ring_.writer.load_acquire();  // ROLE
  if ((role & shm::role_told) != 0 && ring_.died_at.load_acquire() == 0) return {};
  const auto told = stream_->tell(end_.ring, position_, deadline);
  const bool in_vain = !told && (told.error() == deadline.error() || told.error() == Error::busy);
  return in_vain ? Result<void>() : told;
}

StreamRole::StreamRole(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
StreamRole::StreamRole(StreamRole&&) noexcept = default;
auto StreamRole::operator=(StreamRole&&) noexcept -> StreamRole& = default;
StreamRole::~StreamRole() = default;

auto StreamRole::capacity_bytes() const noexcept -> std::size_t {
  return state_->capacity_bytes();
}

auto StreamRole::bytes_waiting() const noexcept -> std::size_t {
  return state_->bytes_waiting();
}

void StreamRole::set_wait_strategy(WaitStrategy strategy) noexcept {
  state_->set_wait_strategy(strategy);
}

}  // namespace parley
