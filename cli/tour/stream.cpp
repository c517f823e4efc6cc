// Parley's streams: a pair of them, written and read in place.
#include <parley/stream.hpp>

#include <optional>
#include <utility>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr std::size_t chunk_bytes = 64 << 10;

/// Without a name: both processes inherit its descriptor, and nothing of it is left behind.
class Streams : public Mechanism {
 public:
  auto make(Leftovers&) -> Result<void> override {
    pair_ = PARLEY_TRY(StreamPair::create());
    return {};
  }

  auto join(Side side) -> Result<void> override {
    side_ = PARLEY_TRY(side == Side::sender ? pair_->first() : pair_->second());
    return {};
  }

  auto room() -> Result<std::span<std::byte>> override {
    return PARLEY_TRY(side_->writer.reserve(chunk_bytes, Deadline::never())).first(chunk_bytes);
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    return side_->writer.commit(count_bytes);
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    PARLEY_TRY(side_->reader.consume(std::exchange(received_bytes_, 0)));
    const auto there = side_->reader.peek(1, Deadline::never());
    if (!there && there.error() == Error::peer_died) return std::span<const std::byte>();
    const auto bytes = PARLEY_TRY(there);
    received_bytes_ = bytes.size();
    return bytes;
  }

 private:
  std::optional<StreamPair> pair_;
  std::optional<StreamSide> side_;
  std::size_t received_bytes_ = 0;  ///< Looked at and not consumed.
};

}  // namespace

auto streams() -> std::unique_ptr<Mechanism> {
  return std::make_unique<Streams>();
}

}  // namespace parley::cli
