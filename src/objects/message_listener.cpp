// Who is told of a message that arrives at an empty queue.
//
// Edges       TOLD  the listener's word is changed -> it is seen to be another's: the message is in
//                   the queue then, and `told` says who sent it, unless another was told since.
// Crash       The word changes in the transaction that puts the message into the queue: both are
//             done or neither. Who dies before the wake-up leaves it to whoever buries it. A
//             listener that dies is ended when it is buried.
#include "objects/message_table.hpp"
#include "os/keeper.hpp"

namespace parley {

using shm::Draft;
using shm::MessageListener;

auto MessageTable::listen(std::uint32_t place) -> Result<std::uint64_t> {
  auto listener = MessageListener::unpack(body_.listener.load_relaxed());
  if (listener.place != 0) return failure(Error::busy);
  listener.place = place;
  ++listener.number;
  Draft draft;
  draft.set(body_.listener, listener.pack());
  PARLEY_TRY(commit(draft));
  return listener.pack();
}

/// The number stays, so that the next has another.
void MessageTable::end_listener(Draft& draft) {
  auto listener = MessageListener::unpack(body_.listener.load_relaxed());
  listener.place = 0;
  draft.set(body_.listener, listener.pack());
}

auto MessageTable::stop_listening(std::uint64_t listener, WakeList& wakes) -> Result<bool> {
  if (body_.listener.load_relaxed() != listener) return false;
  Draft draft;
  end_listener(draft);
  PARLEY_TRY(commit(draft));
  wakes.add(body_.listener.futex_word());
  return true;
}

auto MessageTable::tell(Draft& draft, Caller caller) -> Result<void> {
  const auto listener = body_.listener.load_relaxed();
  if (MessageListener::unpack(listener).place == 0) [[likely]]
    return {};
  if (shm::low_half(body_.order.load_relaxed()) != 0) return {};
  if (somebody_waits() && PARLEY_TRY(waiting()).receivers != 0) return {};
  draft.set(body_.told, listener);
  draft.set(body_.told_by, shm::halves(caller.process, os::user_id()));
  end_listener(draft);  // TOLD
  tells_ = true;
  return {};
}

auto MessageTable::arrival(std::uint64_t listener) const -> Arrival {
  if (body_.told.load_relaxed() != listener) return {};
  const auto sender = body_.told_by.load_relaxed();
  return {.process = static_cast<pid_t>(shm::low_half(sender)), .user = shm::high_half(sender)};
}

void MessageTable::wake_decided(WakeList& wakes) const noexcept {
  line_.wake_decided(wakes);
  const auto listener = MessageListener::unpack(body_.listener.load_relaxed());
  if (listener.place == 0 && listener.number != 0) wakes.add(body_.listener.futex_word());
}

}  // namespace parley
