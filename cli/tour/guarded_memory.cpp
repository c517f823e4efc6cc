#include "tour/guarded_memory.hpp"

#include <cstring>
#include <utility>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr std::size_t slot_bytes = 256 << 10;  // the most that one message carries
constexpr std::size_t line_bytes = 64;         // each message's length stands before it, on its own
constexpr std::size_t gate_bytes = Gate::count * line_bytes;

/// Slots in one direction, used in turn. Two semaphores count those that are free and those that
/// are full.
struct Lane {
  std::uint16_t free_index;  ///< Of the semaphore.
  std::uint16_t full_index;
  std::size_t slot_count;
  std::size_t offset_bytes;  ///< In the area.
  std::size_t next = 0;      ///< The slot that this process is to use next.
};

constexpr std::size_t there_count = 4;
constexpr std::size_t back_count = 1;
constexpr Lane there{
    .free_index = 0, .full_index = 1, .slot_count = there_count, .offset_bytes = gate_bytes};
constexpr Lane back{.free_index = 2,
                    .full_index = 3,
                    .slot_count = back_count,
                    .offset_bytes = gate_bytes + there_count * (line_bytes + slot_bytes)};
constexpr std::size_t area_bytes = back.offset_bytes + back_count * (line_bytes + slot_bytes);

class GuardedMemory : public Mechanism {
 public:
  GuardedMemory(std::unique_ptr<Area> area, std::unique_ptr<Gate> gate)
      : area_(std::move(area)), gate_(std::move(gate)) {}

  auto make(Leftovers& leftovers) -> Result<void> override {
    PARLEY_TRY(area_->make(area_bytes, leftovers));
    const auto bytes = PARLEY_TRY(area_->attach());
    return gate_->make(bytes.first(gate_bytes), {there_count, 0, back_count, 0}, leftovers);
  }

  auto join(Side side) -> Result<void> override {
    bytes_ = PARLEY_TRY(area_->attach());
    out_ = side == Side::sender ? there : back;
    in_ = side == Side::sender ? back : there;
    return gate_->join(bytes_.first(gate_bytes));
  }

  auto room() -> Result<std::span<std::byte>> override {
    if (!has_room_) PARLEY_TRY(gate_->wait(out_.free_index));
    has_room_ = true;
    return slot(out_).subspan(line_bytes);
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    const std::uint64_t length = count_bytes;
    std::memcpy(slot(out_).data(), &length, sizeof(length));
    has_room_ = false;
    ++out_.next;
    return gate_->post(out_.full_index);
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    if (holds_message_) {
      ++in_.next;
      PARLEY_TRY(gate_->post(in_.free_index));
    }
    PARLEY_TRY(gate_->wait(in_.full_index));
    holds_message_ = true;
    std::uint64_t length = 0;
    std::memcpy(&length, slot(in_).data(), sizeof(length));
    if (length > slot_bytes) return failure(Error::corrupt);
    return slot(in_).subspan(line_bytes, static_cast<std::size_t>(length));
  }

 private:
  [[nodiscard]] auto slot(const Lane& lane) const -> std::span<std::byte> {
    const auto index = lane.next % lane.slot_count;
    return bytes_.subspan(lane.offset_bytes + index * (line_bytes + slot_bytes),
                          line_bytes + slot_bytes);
  }

  std::unique_ptr<Area> area_;
  std::unique_ptr<Gate> gate_;
  std::span<std::byte> bytes_;
  Lane out_ = there;
  Lane in_ = back;
  bool has_room_ = false;
  bool holds_message_ = false;
};

}  // namespace

auto guarded_memory(std::unique_ptr<Area> area, std::unique_ptr<Gate> gate)
    -> std::unique_ptr<Mechanism> {
  return std::make_unique<GuardedMemory>(std::move(area), std::move(gate));
}

}  // namespace parley::cli
