#include <parley/stream.hpp>

#include "objects/stream_state.hpp"

namespace parley {

Stream::Stream(std::shared_ptr<StreamState> state) noexcept : state_(std::move(state)) {}

auto Stream::create(const StreamOptions& options) -> Result<Stream> {
  return Stream(PARLEY_TRY(StreamState::create({}, options, 1)));
}

auto Stream::create(std::string_view name, const StreamOptions& options) -> Result<Stream> {
  if (name.empty()) return failure(Error::invalid);
  return Stream(PARLEY_TRY(StreamState::create(name, options, 1)));
}

auto Stream::open(std::string_view name) -> Result<Stream> {
  return Stream(PARLEY_TRY(StreamState::open(name, 1)));
}

auto Stream::open_or_create(std::string_view name, const StreamOptions& options) -> Result<Stream> {
  return shm::open_or_create([&] { return open(name); }, [&] { return create(name, options); });
}

auto Stream::adopt(os::OwnedFd fd) -> Result<Stream> {
  return Stream(PARLEY_TRY(StreamState::adopt(std::move(fd), 1)));
}

auto Stream::unlink(std::string_view name) -> Result<void> {
  return shm::Segment::unlink(name);
}

auto Stream::descriptor() const noexcept -> os::BorrowedFd {
  return state_->segment().descriptor();
}

auto Stream::capacity_bytes() const noexcept -> std::size_t {
  return state_->table().capacity_bytes();
}

auto Stream::writer() -> Result<StreamWriter> {
  return state_->writer();
}

auto Stream::reader() -> Result<StreamReader> {
  return state_->reader();
}

auto Stream::status() -> Result<StreamStatus> {
  return state_->status();
}

StreamPair::StreamPair(std::shared_ptr<StreamState> state) noexcept : state_(std::move(state)) {}

auto StreamPair::create(const StreamOptions& options) -> Result<StreamPair> {
  return StreamPair(PARLEY_TRY(StreamState::create({}, options, 2)));
}

auto StreamPair::create(std::string_view name, const StreamOptions& options) -> Result<StreamPair> {
  if (name.empty()) return failure(Error::invalid);
  return StreamPair(PARLEY_TRY(StreamState::create(name, options, 2)));
}

auto StreamPair::open(std::string_view name) -> Result<StreamPair> {
  return StreamPair(PARLEY_TRY(StreamState::open(name, 2)));
}

auto StreamPair::open_or_create(std::string_view name, const StreamOptions& options)
    -> Result<StreamPair> {
  return shm::open_or_create([&] { return open(name); }, [&] { return create(name, options); });
}

auto StreamPair::adopt(os::OwnedFd fd) -> Result<StreamPair> {
  return StreamPair(PARLEY_TRY(StreamState::adopt(std::move(fd), 2)));
}

auto StreamPair::unlink(std::string_view name) -> Result<void> {
  return shm::Segment::unlink(name);
}

auto StreamPair::descriptor() const noexcept -> os::BorrowedFd {
  return state_->segment().descriptor();
}

auto StreamPair::capacity_bytes() const noexcept -> std::size_t {
  return state_->table().capacity_bytes();
}

auto StreamPair::first() -> Result<StreamSide> {
  return state_->side(0);
}

auto StreamPair::second() -> Result<StreamSide> {
  return state_->side(1);
}

}  // namespace parley
