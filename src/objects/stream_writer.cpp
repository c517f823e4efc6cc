#include <algorithm>
#include <cstring>

#include <parley/stream.hpp>

#include "objects/stream_role.hpp"

namespace parley {
namespace {

auto area_of(std::span<const std::byte> bytes) -> iovec {
  // Only read from. NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

}  // namespace

auto StreamRole::State::await_room(std::uint64_t wanted, Deadline deadline) -> Result<void> {
  if (!is_current()) PARLEY_TRY(make_current());
  if (extent() >= wanted && is_reader_well()) return {};
  const auto sight = PARLEY_TRY(await(wanted, deadline));
  return sight == Sight::ready ? Result<void>() : failure(Error::broken_pipe);
}

auto StreamRole::State::fill_from(AreaCursor& areas) -> Result<std::size_t> {
  std::size_t all = 0;
  while (!areas.is_at_end() && (extent() != 0 || look_for_room(1) == Sight::ready)) {
    auto* const begin = here();
    const auto most = std::min<std::size_t>(extent(), published_at_once_bytes);
    std::size_t filled = 0;
    while (filled < most && !areas.is_at_end()) {
      const auto bytes = areas.next(most - filled);
      std::memcpy(begin + filled, bytes.data(), bytes.size());
      filled += bytes.size();
    }
    advance(filled);
    all += filled;
  }
  return stream_->segment().is_lost() ? failure(Error::corrupt) : Result<std::size_t>(all);
}

auto StreamWriter::write(std::span<const std::byte> bytes, Deadline deadline) -> Result<void> {
  auto& state = *state_;
  if (state.is_current() && state.copies_at_once(bytes.size()) && state.is_reader_well())
      [[likely]] {
    std::memcpy(state.here(), bytes.data(), bytes.size());
    state.advance(bytes.size());
    return state.check();
  }
  const iovec area = area_of(bytes);
  return write(std::span(&area, 1), deadline);
}

auto StreamWriter::write(std::span<const iovec> areas, Deadline deadline) -> Result<void> {
  for (AreaCursor rest(areas); !rest.is_at_end();) {
    PARLEY_TRY(state_->await_room(1, deadline));
    PARLEY_TRY(state_->fill_from(rest));
  }
  return {};
}

auto StreamWriter::write_some(std::span<const std::byte> bytes, Deadline deadline)
    -> Result<std::size_t> {
  const iovec area = area_of(bytes);
  return write_some(std::span(&area, 1), deadline);
}

auto StreamWriter::write_some(std::span<const iovec> areas, Deadline deadline)
    -> Result<std::size_t> {
  AreaCursor rest(areas);
  if (rest.is_at_end()) return 0;
  PARLEY_TRY(state_->await_room(1, deadline));
  return state_->fill_from(rest);
}

auto StreamWriter::reserve(std::size_t at_least_bytes, Deadline deadline)
    -> Result<std::span<std::byte>> {
  if (at_least_bytes > state_->capacity_bytes()) return failure(Error::invalid);
  PARLEY_TRY(state_->await_room(at_least_bytes, deadline));
  return std::span(state_->here(), static_cast<std::size_t>(state_->extent()));
}

auto StreamWriter::commit(std::size_t bytes) -> Result<void> {
  auto& state = *state_;
  if (!state.is_held()) return failure(Error::bad_descriptor);
  if (bytes > state.extent()) return failure(Error::invalid);
  if (!state.is_reader_well()) PARLEY_TRY(state.await_room(0, Deadline::now()));
  state.advance(bytes);
  return state.check();
}

auto StreamWriter::wait_for_reader(Deadline deadline) -> Result<void> {
  const auto sight = PARLEY_TRY(state_->await_other(deadline));
  return sight == StreamRole::State::Sight::ready ? Result<void>() : failure(Error::broken_pipe);
}

void StreamWriter::close() noexcept {
  state_->leave(shm::role_closed);
}

void StreamWriter::hand_over() noexcept {
  state_->leave(shm::role_vacant);
}

}  // namespace parley
