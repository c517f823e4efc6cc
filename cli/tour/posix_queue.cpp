// POSIX message queues: one each way, with the longest messages that the system gives by default.
#include <parley/os/posix/message_queue.hpp>

#include <optional>
#include <string>
#include <utility>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

class PosixQueues : public BufferedMechanism {
 public:
  PosixQueues() : BufferedMechanism(0), there_(unused_name()), back_(unused_name()) {}

  auto make(Leftovers& leftovers) -> Result<void> override {
    for (const auto& name : {there_, back_}) {
      const auto queue = PARLEY_TRY(os::posix::MessageQueue::create(name));
      leftovers.add_name([name] { return os::posix::MessageQueue::unlink(name); });
      resize(PARLEY_TRY(queue.attributes()).message_size_bytes);
    }
    return {};
  }

  auto join(Side side) -> Result<void> override {
    sender_ = PARLEY_TRY(os::posix::MessageSender::open(side == Side::sender ? there_ : back_));
    receiver_ = PARLEY_TRY(os::posix::MessageReceiver::open(side == Side::sender ? back_ : there_));
    return {};
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    return sender_->send(message(count_bytes), Deadline::never());
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    return message(PARLEY_TRY(receiver_->receive(buffer(), Deadline::never())).size_bytes);
  }

 private:
  std::string there_;
  std::string back_;
  std::optional<os::posix::MessageSender> sender_;
  std::optional<os::posix::MessageReceiver> receiver_;
};

}  // namespace

auto posix_queues() -> std::unique_ptr<Mechanism> {
  return std::make_unique<PosixQueues>();
}

}  // namespace parley::cli
