// A System V message queue: both directions in one, told apart by the messages' type.
#include <parley/os/sysv/message_queue.hpp>

#include <algorithm>
#include <optional>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr long there_type = 1;
constexpr long back_type = 2;

class SysvQueue : public BufferedMechanism {
 public:
  SysvQueue() : BufferedMechanism(0) {}

  auto make(Leftovers& leftovers) -> Result<void> override {
    queue_ = PARLEY_TRY(os::sysv::MessageQueue::create(os::sysv::Key::private_key()));
    leftovers.add_object([queue = *queue_] { return queue.remove(); });
    const auto limits = PARLEY_TRY(os::sysv::MessageQueue::limits());
    const auto status = PARLEY_TRY(queue_->status());
    resize(std::min(limits.message_bytes, status.capacity_bytes));
    return {};
  }

  auto join(Side side) -> Result<void> override {
    out_type_ = side == Side::sender ? there_type : back_type;
    in_type_ = side == Side::sender ? back_type : there_type;
    return {};
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    return queue_->send(out_type_, message(count_bytes), Deadline::never());
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    const auto selector = os::sysv::Selector::of_type(in_type_);
    return message(PARLEY_TRY(queue_->receive(selector, buffer(), Deadline::never())).size_bytes);
  }

 private:
  std::optional<os::sysv::MessageQueue> queue_;
  long out_type_ = there_type;
  long in_type_ = back_type;
};

}  // namespace

auto sysv_queue() -> std::unique_ptr<Mechanism> {
  return std::make_unique<SysvQueue>();
}

}  // namespace parley::cli
