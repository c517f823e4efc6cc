#include <algorithm>
#include <cstring>

#include <parley/stream.hpp>

#include "objects/stream_role.hpp"

namespace parley {

auto StreamRole::State::await_bytes(std::uint64_t wanted, Deadline deadline)
    -> Result<std::uint64_t> {
  if (!is_current()) PARLEY_TRY(make_current());
  if (extent() >= wanted) return extent();
  const auto sight = PARLEY_TRY(await(wanted, deadline));
  if (sight == Sight::ready || extent() != 0) return extent();
  PARLEY_TRY(tell(deadline));
  return sight == Sight::closed ? Result<std::uint64_t>(0) : failure(Error::peer_died);
}

auto StreamRole::State::drain_into(AreaCursor& areas) -> Result<std::size_t> {
  std::size_t all = 0;
  while (!areas.is_at_end() && (extent() != 0 || look_for_bytes(1) == Sight::ready)) {
    const auto* const begin = here();
    const auto most = std::min<std::size_t>(extent(), published_at_once_bytes);
    std::size_t drained = 0;
    while (drained < most && !areas.is_at_end()) {
      const auto bytes = areas.next(most - drained);
      std::memcpy(bytes.data(), begin + drained, bytes.size());
      drained += bytes.size();
    }
    advance(drained);
    all += drained;
  }
  return stream_->segment().is_lost() ? failure(Error::corrupt) : Result<std::size_t>(all);
}

auto StreamReader::read(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t> {
  auto& state = *state_;
  const auto there = std::min<std::size_t>(into.size(), state.extent());
  if (state.is_current() && state.copies_at_once(there)) [[likely]] {
    std::memcpy(into.data(), state.here(), there);
    state.advance(there);
    if (!state.check()) return failure(Error::corrupt);
    return there;
  }
  const iovec area{.iov_base = into.data(), .iov_len = into.size()};
  return read(std::span(&area, 1), deadline);
}

auto StreamReader::read(std::span<const iovec> areas, Deadline deadline) -> Result<std::size_t> {
  AreaCursor rest(areas);
  if (rest.is_at_end()) return 0;
  if (PARLEY_TRY(state_->await_bytes(1, deadline)) == 0) return 0;
  return state_->drain_into(rest);
}

auto StreamReader::read_all(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t> {
  const iovec area{.iov_base = into.data(), .iov_len = into.size()};
  return read_all(std::span(&area, 1), deadline);
}

auto StreamReader::read_all(std::span<const iovec> areas, Deadline deadline)
    -> Result<std::size_t> {
  std::size_t all = 0;
  for (AreaCursor rest(areas); !rest.is_at_end();) {
    if (PARLEY_TRY(state_->await_bytes(1, deadline)) == 0) break;
    all += PARLEY_TRY(state_->drain_into(rest));
  }
  return all;
}

auto StreamReader::peek(std::size_t at_least_bytes, Deadline deadline)
    -> Result<std::span<const std::byte>> {
  if (at_least_bytes > state_->capacity_bytes()) return failure(Error::invalid);
  const auto there = PARLEY_TRY(state_->await_bytes(at_least_bytes, deadline));
  return std::span(std::as_const(*state_).here(), static_cast<std::size_t>(there));
}

auto StreamReader::consume(std::size_t bytes) -> Result<void> {
  auto& state = *state_;
  if (!state.is_held()) return failure(Error::bad_descriptor);
  if (bytes > state.extent()) return failure(Error::invalid);
  state.advance(bytes);
  return state.check();
}

auto StreamReader::wait_for_writer(Deadline deadline) -> Result<void> {
  PARLEY_TRY(state_->await_other(deadline));
  return {};
}

void StreamReader::close() noexcept {
  state_->leave(shm::role_closed);
}

void StreamReader::hand_over() noexcept {
  state_->leave(shm::role_vacant);
}

}  // namespace parley
