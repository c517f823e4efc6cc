#include <algorithm>
#include <map>

#include "objects/inspect.hpp"
#include "shm/layout/message_queue.hpp"

namespace parley {
namespace {

using shm::high_half;
using shm::low_half;

auto shape_of(const shm::MessageQueueBody& body, const ObjectLook& look)
    -> Result<shm::MessageQueueShape> {
  const shm::MessageQueueShape shape{.messages = body.messages.load_relaxed(),
                                     .message_bytes = body.message_bytes.load_relaxed(),
                                     .bytes = body.bytes.load_relaxed(),
                                     .waiters = body.waiters.load_relaxed(),
                                     .place_count = look.place_count};
  const bool sound =
      shape.messages >= 1 && shape.messages <= shm::messages_at_most && shape.message_bytes >= 1 &&
      shape.message_bytes <= shm::message_bytes_at_most && shape.bytes >= shape.message_bytes &&
      shape.bytes <= shm::queue_bytes_at_most && shape.waiters >= 1 && shape.waiters <= 0xffff &&
      shape.body_bytes() == look.body_bytes;
  return sound ? Result<shm::MessageQueueShape>(shape) : failure(Error::corrupt);
}

/// Counts the messages in the slots that were ever used.
auto look_at_messages(const ObjectLook& look, const shm::MessageQueueShape& shape,
                      std::uint32_t used, MessageQueueInspection& queue) -> Result<void> {
  std::map<std::uint64_t, std::size_t> by_tag;
  PARLEY_TRY(
      look.reader.scan(shape.slots(), sizeof(shm::MessageSlot) / sizeof(std::uint64_t),
                       std::min(used, shape.messages), [&](ObjectWords record) -> Result<void> {
                         const auto& slot = record_as<shm::MessageSlot>(record);
                         const auto state = shm::MessageState::unpack(slot.state.load_relaxed());
                         const auto about = shm::MessageShape::unpack(slot.shape.load_relaxed());
                         switch (state.kind) {
                           case shm::message_queued:
                             ++by_tag[slot.tag.load_relaxed()];
                             if (about.dead_letter) ++queue.dead_letters;
                             return {};
                           case shm::message_reserved:
                             ++queue.reserved;
                             break;
                           case shm::message_copied:
                           case shm::message_taken:
                           case shm::message_moving:
                           case shm::message_finished:
                           case shm::message_returned:
                             ++queue.taken;
                             break;
                           default:
                             return {};
                         }
                         if (auto* const who = look.participants.at(state.place)) ++who->holding;
                         return {};
                       }));
  for (const auto& [tag, messages] : by_tag) queue.depths.push_back({tag, messages});
  return {};
}

auto look_at_waiters(const ObjectLook& look, const shm::MessageQueueShape& shape,
                     std::uint64_t backed_waiters, MessageQueueInspection& queue) -> Result<void> {
  return look.reader.scan(shape.waiter_records(), shape.waiter_bytes() / sizeof(std::uint64_t),
                          std::min<std::uint64_t>(backed_waiters, shape.waiters),
                          [&](ObjectWords record) -> Result<void> {
                            const auto& waiter = record_as<shm::Waiter>(record);
                            if (!look.participants.note_waiter(waiter)) return {};
                            const bool sends =
                                (waiter.request.load_relaxed() & 0xffU) == shm::request_send;
                            ++(sends ? queue.senders_waiting : queue.receivers_waiting);
                            return {};
                          });
}

}  // namespace

auto look_at_message_queue(const ObjectLook& look) -> Result<MessageQueueInspection> {
  const auto copy = PARLEY_TRY(look.reader.read_body<shm::MessageQueueBody>(0, 1));
  const auto& body = copy[0];
  const auto shape = PARLEY_TRY(shape_of(body, look));
  const auto load = shm::MessageLoad::unpack(body.load.load_relaxed());
  const auto limit = shm::MessageLoad::unpack(body.limit.load_relaxed());
  const auto last_send = body.last_send.load_relaxed();
  const auto last_receive = body.last_receive.load_relaxed();
  MessageQueueInspection queue{};
  queue.is_removed = body.removed.load_relaxed() != 0;
  queue.messages = load.messages;
  queue.bytes = load.bytes;
  queue.sent = body.sequence.load_relaxed();
  queue.messages_at_most = limit.messages;
  queue.bytes_at_most = limit.bytes;
  queue.message_bytes_at_most = shape.message_bytes;
  queue.waiters_at_most = shape.waiters;
  if (body.has_dead_letters.load_relaxed() != 0) {
    queue.dead_letter_tag = body.dead_letter_tag.load_relaxed();
  }
  queue.redeliveries_at_most = body.redeliveries.load_relaxed();
  queue.last_sender = high_half(last_send);
  queue.last_receiver = high_half(last_receive);
  queue.last_send = time_if_any(low_half(last_send));
  queue.last_receive = time_if_any(low_half(last_receive));
  queue.last_change =
      std::chrono::sys_seconds(std::chrono::seconds(body.last_change.load_relaxed()));
  PARLEY_TRY(look_at_messages(look, shape, high_half(body.slots.load_relaxed()), queue));
  PARLEY_TRY(look_at_waiters(look, shape, body.backed_waiters.load_relaxed(), queue));
  return queue;
}

}  // namespace parley
