// POSIX shared memory, memfd, and POSIX semaphores, for messages through guarded memory.
#include <parley/os/memfd.hpp>
#include <parley/os/posix/semaphore.hpp>
#include <parley/os/posix/shared_memory.hpp>

#include <optional>
#include <string>
#include <vector>

#include "tour/guarded_memory.hpp"

namespace parley::cli {
namespace {

class PosixArea : public Area {
 public:
  auto make(std::size_t size_bytes, Leftovers& leftovers) -> Result<void> override {
    PARLEY_TRY(os::posix::SharedMemory::create(name_, {.size_bytes = size_bytes}));
    leftovers.add_name([name = name_] { return os::posix::SharedMemory::unlink(name); });
    return {};
  }

  auto attach() -> Result<std::span<std::byte>> override {
    const auto memory = PARLEY_TRY(os::posix::SharedMemory::open(name_));
    mapping_ = PARLEY_TRY(memory.map());
    return mapping_->bytes();
  }

 private:
  std::string name_ = unused_name();
  std::optional<os::Mapping> mapping_;
};

/// Anonymous: both processes inherit its descriptor.
class MemfdArea : public Area {
 public:
  auto make(std::size_t size_bytes, Leftovers&) -> Result<void> override {
    memory_ = PARLEY_TRY(os::Memfd::create("parley tour", {.size_bytes = size_bytes}));
    PARLEY_TRY(memory_->reserve());
    return memory_->add_seals({.shrink = true, .grow = true, .seal = true});
  }

  auto attach() -> Result<std::span<std::byte>> override {
    mapping_ = PARLEY_TRY(memory_->map());
    return mapping_->bytes();
  }

 private:
  std::optional<os::Memfd> memory_;
  std::optional<os::Mapping> mapping_;
};

/// Unnamed ones, in the memory that they guard.
class PosixGate : public Gate {
 public:
  auto make(std::span<std::byte> place, const std::array<std::uint16_t, count>& values, Leftovers&)
      -> Result<void> override {
    for (std::size_t i = 0; i < count; ++i) {
      PARLEY_TRY(
          os::posix::UnnamedSemaphore::create(part(place, i), {.initial_value = values.at(i)}));
    }
    return {};
  }

  auto join(std::span<std::byte> place) -> Result<void> override {
    for (std::size_t i = 0; i < count; ++i) {
      semaphores_.push_back(PARLEY_TRY(os::posix::UnnamedSemaphore::attach(part(place, i))));
    }
    return {};
  }

  auto wait(std::uint16_t index) -> Result<void> override {
    return semaphores_.at(index).wait(Deadline::never());
  }
  auto post(std::uint16_t index) -> Result<void> override { return semaphores_.at(index).post(); }

 private:
  static auto part(std::span<std::byte> place, std::size_t index) -> std::span<std::byte> {
    const auto part_bytes = place.size() / count;
    return place.subspan(index * part_bytes, part_bytes);
  }

  std::vector<os::posix::UnnamedSemaphore> semaphores_;
};

}  // namespace

auto posix_area() -> std::unique_ptr<Area> {
  return std::make_unique<PosixArea>();
}
auto memfd_area() -> std::unique_ptr<Area> {
  return std::make_unique<MemfdArea>();
}
auto posix_gate() -> std::unique_ptr<Gate> {
  return std::make_unique<PosixGate>();
}

}  // namespace parley::cli
