// Pipes: one each way.
#include <parley/os/pipe.hpp>

#include <optional>
#include <utility>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr std::size_t chunk_bytes = 64 << 10;  // what a pipe holds by default

class Pipes : public BufferedMechanism {
 public:
  Pipes() : BufferedMechanism(chunk_bytes) {}

  auto make(Leftovers&) -> Result<void> override {
    there_ = PARLEY_TRY(os::Pipe::create());
    back_ = PARLEY_TRY(os::Pipe::create());
    return {};
  }

  auto join(Side side) -> Result<void> override {
    auto& out = side == Side::sender ? there_ : back_;
    auto& in = side == Side::sender ? back_ : there_;
    writer_ = std::move(out->writer);
    reader_ = std::move(in->reader);
    there_.reset();
    back_.reset();
    return {};
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    return writer_->write(message(count_bytes), Deadline::never());
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    return message(PARLEY_TRY(reader_->read(buffer(), Deadline::never())));
  }

 private:
  std::optional<os::Pipe> there_;
  std::optional<os::Pipe> back_;
  std::optional<os::PipeWriter> writer_;
  std::optional<os::PipeReader> reader_;
};

}  // namespace

auto pipes() -> std::unique_ptr<Mechanism> {
  return std::make_unique<Pipes>();
}

}  // namespace parley::cli
