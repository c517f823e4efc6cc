// A handle on a stream's object, which its ends share.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>

#include <parley/stream.hpp>

#include "objects/latched_object.hpp"
#include "objects/stream_table.hpp"

namespace parley {

class StreamState : public std::enable_shared_from_this<StreamState> {
 public:
  using Side = StreamTable::Side;
  using End = StreamTable::End;
  using Object = LatchedObject<StreamTable>;

  static auto create(std::string_view name, const StreamOptions& options, std::uint32_t ring_count)
      -> Result<std::shared_ptr<StreamState>>;
  static auto open(std::string_view name, std::uint32_t ring_count)
      -> Result<std::shared_ptr<StreamState>>;
  static auto adopt(os::OwnedFd fd, std::uint32_t ring_count)
      -> Result<std::shared_ptr<StreamState>>;

  [[nodiscard]] auto object() noexcept -> Object& { return object_; }
  [[nodiscard]] auto segment() const noexcept -> const shm::Segment& { return object_.segment(); }
  [[nodiscard]] auto table() const noexcept -> const StreamTable& { return object_.table(); }
  /// A ring's bytes; behind them they come again.
  [[nodiscard]] auto data(std::uint32_t index) const noexcept -> std::byte* {
    return data_.at(index);
  }

  auto writer() -> Result<StreamWriter>;
  auto reader() -> Result<StreamReader>;
  /// Of a pair: who writes into that ring and reads the other.
  auto side(std::uint32_t writes) -> Result<StreamSide>;
  auto status() -> Result<StreamStatus>;

  /// Claims all of them or none.
  auto claim(std::initializer_list<End> ends) -> Result<void>;

  /// Gives back an end that this process holds; `left` says how. Without the latch.
  void release(End end, shm::StreamRoleWord left) noexcept;

  /// Buries the dead, where there are any.
  auto bury(Deadline deadline) -> Result<void>;
  auto tell(std::uint32_t ring_index, std::uint64_t position, Deadline deadline) -> Result<void>;

  /// Wakes who sleeps there.
  static void wake(shm::StreamSleeper& sleeper) noexcept;

 private:
  StreamState(shm::Segment segment, const StreamTable& table) noexcept
      : object_(std::move(segment), table) {}
  static auto of(shm::Segment segment, std::uint32_t ring_count)
      -> Result<std::shared_ptr<StreamState>>;

  Object object_;
  std::array<std::byte*, 2> data_{};
};

}  // namespace parley
