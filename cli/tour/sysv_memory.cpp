// System V shared memory and semaphores, for messages through guarded memory.
#include <parley/os/sysv/semaphore_set.hpp>
#include <parley/os/sysv/shared_memory.hpp>

#include <optional>

#include "tour/guarded_memory.hpp"

namespace parley::cli {
namespace {

class SysvArea : public Area {
 public:
  auto make(std::size_t size_bytes, Leftovers& leftovers) -> Result<void> override {
    memory_ = PARLEY_TRY(os::sysv::SharedMemory::create(os::sysv::Key::private_key(), size_bytes));
    // Once it is attached everywhere its id is no more than a name: removed, it lives on unseen.
    leftovers.add_name([memory = *memory_] { return memory.remove(); });
    return {};
  }

  auto attach() -> Result<std::span<std::byte>> override {
    attachment_ = PARLEY_TRY(memory_->attach());
    return attachment_->bytes();
  }

 private:
  std::optional<os::sysv::SharedMemory> memory_;
  std::optional<os::sysv::Attachment> attachment_;
};

class SysvGate : public Gate {
 public:
  auto make(std::span<std::byte>, const std::array<std::uint16_t, count>& values,
            Leftovers& leftovers) -> Result<void> override {
    set_ = PARLEY_TRY(os::sysv::SemaphoreSet::create(os::sysv::Key::private_key(), values));
    leftovers.add_object([set = *set_] { return set.remove(); });
    return {};
  }

  auto join(std::span<std::byte>) -> Result<void> override { return {}; }

  auto wait(std::uint16_t index) -> Result<void> override {
    return set_->operate({.index = index, .delta = -1}, Deadline::never());
  }
  auto post(std::uint16_t index) -> Result<void> override {
    return set_->operate({.index = index, .delta = 1}, Deadline::never());
  }

 private:
  std::optional<os::sysv::SemaphoreSet> set_;
};

}  // namespace

auto sysv_area() -> std::unique_ptr<Area> {
  return std::make_unique<SysvArea>();
}
auto sysv_gate() -> std::unique_ptr<Gate> {
  return std::make_unique<SysvGate>();
}

}  // namespace parley::cli
