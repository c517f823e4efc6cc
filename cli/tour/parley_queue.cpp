// A queue of Parley's: both directions in one, told apart by the messages' tag.
#include <parley/message_queue.hpp>

#include <optional>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr std::uint64_t there_tag = 1;
constexpr std::uint64_t back_tag = 2;
constexpr std::size_t largest_bytes = std::size_t{64} << 10U;

/// Without a name: both processes inherit its descriptor, and nothing of it is left behind.
class ParleyQueue : public BufferedMechanism {
 public:
  ParleyQueue() : BufferedMechanism(largest_bytes) {}

  auto make(Leftovers&) -> Result<void> override {
    queue_ = PARLEY_TRY(MessageQueue::create({.messages = 256, .message_bytes = largest_bytes}));
    return {};
  }

  auto join(Side side) -> Result<void> override {
    out_tag_ = side == Side::sender ? there_tag : back_tag;
    in_tag_ = side == Side::sender ? back_tag : there_tag;
    return {};
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    return queue_->send(message(count_bytes), {.tag = out_tag_}, Deadline::never());
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    const ReceiveOptions options{.selection = Selection::tag(in_tag_)};
    return message(PARLEY_TRY(queue_->receive(buffer(), options, Deadline::never())).copied_bytes);
  }

 private:
  std::optional<MessageQueue> queue_;
  std::uint64_t out_tag_ = there_tag;
  std::uint64_t in_tag_ = back_tag;
};

}  // namespace

auto parley_queue() -> std::unique_ptr<Mechanism> {
  return std::make_unique<ParleyQueue>();
}

}  // namespace parley::cli
