// FIFOs: two of them, in a directory of their own, found by their paths.
#include <parley/os/fifo.hpp>

#include <optional>
#include <string>
#include <utility>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr std::size_t chunk_bytes = 64 << 10;  // what a FIFO holds by default

class Fifos : public BufferedMechanism {
 public:
  Fifos() : BufferedMechanism(chunk_bytes) {}

  auto make(Leftovers& leftovers) -> Result<void> override {
    path_ = PARLEY_TRY(leftovers.make_directory()) + "/fifo";
    PARLEY_TRY(os::FifoDuplex::create(path_));
    return {};
  }

  auto join(Side side) -> Result<void> override {
    const auto fifos = PARLEY_TRY(os::FifoDuplex::open(path_));
    ends_ = PARLEY_TRY(side == Side::sender ? fifos.first_side(Deadline::never())
                                            : fifos.second_side(Deadline::never()));
    return {};
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    return ends_->writer.write(message(count_bytes), Deadline::never());
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    return message(PARLEY_TRY(ends_->reader.read(buffer(), Deadline::never())));
  }

 private:
  std::string path_;
  std::optional<os::FifoEnds> ends_;
};

}  // namespace

auto fifos() -> std::unique_ptr<Mechanism> {
  return std::make_unique<Fifos>();
}

}  // namespace parley::cli
