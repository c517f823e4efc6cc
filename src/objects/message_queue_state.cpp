#include "objects/message_queue_state.hpp"

#include <algorithm>

namespace parley {
namespace {

/// Longer messages are copied while others may use the queue, which costs a second round of the
/// latch.
constexpr std::size_t copied_under_latch_bytes = 4096;

/// Memory is had in pieces of so many bytes.
constexpr std::size_t piece_bytes = std::size_t{256} << 10U;

/// For the second part of a call, which is hardly more than the latch away from its end. (Under
/// Deadline::now() the latch is patient by itself.)
auto at_least_patient(Deadline deadline) -> Deadline {
  if (deadline.is_now() || deadline.is_never()) return deadline;
  return Deadline::at(std::max(deadline.point(), Deadline::after(shm::patience).point()));
}

/// A peer that takes memory away again and again could keep us busy.
constexpr int rounds_at_most = 100;

}  // namespace

auto MessageQueue::State::of(shm::Segment segment) -> Result<std::shared_ptr<State>> {
  const auto table = PARLEY_TRY(MessageTable::of(segment.body(), segment.place_count()));
  std::shared_ptr<State> state(new State(std::move(segment), table));
  PARLEY_TRY(state->stand());
  return state;
}

auto MessageQueue::State::begin(Locked& locked, Deadline deadline) -> Result<void> {
  PARLEY_TRY(locked.take(deadline));
  if (__atomic_load_n(&unsettled_, __ATOMIC_RELAXED)) [[unlikely]] {
    PARLEY_TRY(table().settle(segment().place()));
    __atomic_store_n(&unsettled_, false, __ATOMIC_RELAXED);
  }
  if (table().is_trimming()) [[unlikely]]
    PARLEY_TRY(trim());
  return table().is_removed() ? failure(Error::removed) : Result<void>();
}

/// After something went.
auto MessageQueue::State::end(Locked& locked) -> Result<void> {
  table().wake_told(locked.wakes);
  if (table().is_to_be_trimmed()) [[unlikely]]
    PARLEY_TRY(trim());
  return locked.close();
}

/// What was granted is in its place once the latch is free: who granted it may still be storing it,
/// or have died at it. DECIDE
auto MessageQueue::State::collect(std::uint32_t index, Deadline deadline)
    -> Result<std::optional<std::uint32_t>> {
  auto& state = table().line().record(index).state;
  Locked locked(*this);
  if (const auto entered = locked.take(at_least_patient(deadline)); !entered) {
    state.store_release(shm::waiter_given_up);
    __atomic_store_n(&unsettled_, true, __ATOMIC_RELAXED);
    return failure(segment().is_lost() ? Error::corrupt : entered.error());
  }
  const auto slot = table().granted_slot(index);
  state.store_release(shm::waiter_free);
  return PARLEY_TRY(slot);
}

template <class Attempt>
auto MessageQueue::State::call(const MessageTable::Wish& wish, Deadline deadline, Attempt attempt)
    -> Result<std::optional<std::uint32_t>> {
  for (int rounds = 0; rounds < rounds_at_most; ++rounds) {
    std::optional<std::uint32_t> record;
    std::optional<MessageMark> wanted;
    {
      Locked locked(*this);
      PARLEY_TRY(begin(locked, deadline));
      const Result<void> done = attempt(table());
      if (done) {
        PARLEY_TRY(end(locked));
        return std::nullopt;
      }
      if (done.error() == Error::no_buffer_space) {
        wanted = table().wanted();
      } else if (done.error() == Error::would_block && !deadline.is_now()) {
        record = PARLEY_TRY(line_up(locked, [&] { return table().enqueue(wish, caller()); }));
      } else if (segment().is_lost()) {
        return failure(Error::corrupt);
      } else {
        return failure(done.error() == Error::busy ? locked.limit().error() : done.error());
      }
    }
    if (segment().is_lost()) return failure(Error::corrupt);
    if (wanted) PARLEY_TRY(back(*wanted, deadline));
    if (!record) continue;
    if (const auto slot = PARLEY_TRY(wait_in_line(*record, deadline))) return slot;
  }
  return failure(Error::corrupt);
}

/// The slot that was granted; nothing where the call is to try again.
auto MessageQueue::State::wait_in_line(std::uint32_t index, Deadline deadline)
    -> Result<std::optional<std::uint32_t>> {
  auto& record = table().line().record(index);
  const auto decided = PARLEY_TRY(wait_for(record, deadline));
  if (decided == shm::waiter_granted) return collect(index, deadline);
  record.state.store_release(shm::waiter_free);
  switch (decided) {
    case shm::waiter_removed:
      return failure(Error::removed);
    case shm::waiter_too_big:
      return failure(Error::too_big);
    case shm::waiter_again:
      return std::nullopt;
    default:
      return failure(Error::corrupt);
  }
}

// Not a Result, which would be written in parts and read whole, and so stall the processor.
auto MessageQueue::State::describe(std::uint32_t slot, Received& about) const -> Error {
  const auto told = table().describe(slot);
  if (told.shape.size > table().shape().message_bytes) return Error::corrupt;
  about.size_bytes = told.shape.size;
  about.tag = told.tag;
  about.priority = told.shape.priority;
  about.sequence = shm::MessageState::unpack(told.state).sequence;
  about.redeliveries = told.shape.redeliveries;
  if (told.shape.dead_letter) about.dead_letter_of = told.original_tag;
  return Error{};
}

auto MessageQueue::State::holding(std::uint32_t slot, shm::MessageKind kind) const
    -> Result<Holding> {
  const auto word = table().describe(slot).state;
  const auto state = shm::MessageState::unpack(word);
  if (state.kind != kind || state.place != segment().place()) return failure(Error::corrupt);
  Holding held{.slot = slot, .word = word, .bytes = PARLEY_TRY(table().payload(slot)), .about = {}};
  if (const auto error = describe(slot, held.about); error != Error{}) return failure(error);
  return held;
}

template <class Do>
auto MessageQueue::State::with_holding(const Holding& holding, Deadline deadline, Do act)
    -> Result<void> {
  // A child of fork(2) has its parent's word, but another place.
  if (!segment().is_current()) return failure(Error::not_permitted);
  Locked locked(*this);
  PARLEY_TRY(begin(locked, deadline));
  const bool mine = shm::MessageState::unpack(holding.word).place == segment().place();
  if (!mine || !table().is_still(holding.slot, holding.word)) return failure(Error::not_permitted);
  PARLEY_TRY(act());
  return end(locked);
}

/// Has memory for what `act` lacks, until it lacks none.
template <class Do>
auto MessageQueue::State::with_memory(const Holding& holding, Deadline deadline, Do act)
    -> Result<void> {
  for (int rounds = 0; rounds < rounds_at_most; ++rounds) {
    MessageMark wanted{};
    const auto done = with_holding(holding, deadline, [&]() -> Result<void> {
      const Result<void> acted = act();
      wanted = table().wanted();
      return acted;
    });
    if (done || done.error() != Error::no_buffer_space) return done;
    PARLEY_TRY(back(wanted, deadline));
  }
  return failure(Error::corrupt);
}

auto MessageQueue::State::send(std::span<const std::byte> message, MessageLabel label,
                               Deadline deadline) -> Result<void> {
  if (message.size() > table().shape().message_bytes) return failure(Error::message_too_long);
  const MessageTable::Wish wish{
      .request = shm::request_send, .selection = Selection::oldest(), .bytes = message.size()};
  std::optional<std::uint32_t> reserved;
  const auto granted = PARLEY_TRY(call(wish, deadline, [&](MessageTable& table) -> Result<void> {
    if (message.size() <= copied_under_latch_bytes) return table.send(message, label, caller());
    reserved = PARLEY_TRY(table.reserve(static_cast<std::uint32_t>(message.size()), caller()));
    return {};
  }));
  if (granted) {
    PARLEY_TRY(furnish(*granted, deadline));
    reserved = granted;
  }
  return reserved ? fill(*reserved, message, label, deadline) : Result<void>();
}

auto MessageQueue::State::furnish(std::uint32_t slot, Deadline deadline) -> Result<void> {
  const Holding room{.slot = slot, .word = table().describe(slot).state, .bytes = {}, .about = {}};
  const auto done =
      with_memory(room, at_least_patient(deadline), [&] { return table().furnish(slot); });
  if (!done) abandon(room, shm::message_finished);
  return done;
}

/// Writes and sends a message for which there is room.
auto MessageQueue::State::fill(std::uint32_t slot, std::span<const std::byte> message,
                               MessageLabel label, Deadline deadline) -> Result<void> {
  const auto room = PARLEY_TRY(holding(slot, shm::message_reserved));
  auto done = room.bytes.size() == message.size() ? Result<void>() : failure(Error::corrupt);
  if (done) {
    MessageTable::copy(message, room.bytes);
    done = publish(room, label, deadline);
  }
  if (!done) abandon(room, shm::message_finished);
  return done;
}

auto MessageQueue::State::publish(const Holding& room, MessageLabel label, Deadline deadline)
    -> Result<void> {
  return with_memory(room, at_least_patient(deadline),
                     [&] { return table().publish(room.slot, label, caller()); });
}

auto MessageQueue::State::reserve(std::size_t size_bytes, Deadline deadline) -> Result<Holding> {
  if (size_bytes > table().shape().message_bytes) return failure(Error::message_too_long);
  const MessageTable::Wish wish{
      .request = shm::request_send, .selection = Selection::oldest(), .bytes = size_bytes};
  std::uint32_t slot = 0;
  const auto granted = PARLEY_TRY(call(wish, deadline, [&](MessageTable& table) -> Result<void> {
    slot = PARLEY_TRY(table.reserve(static_cast<std::uint32_t>(size_bytes), caller()));
    return {};
  }));
  if (granted) PARLEY_TRY(furnish(*granted, deadline));
  return holding(granted.value_or(slot), shm::message_reserved);
}

auto MessageQueue::State::receive(std::span<std::byte> into, const ReceiveOptions& options,
                                  Deadline deadline) -> Result<Received> {
  const MessageTable::Wish wish{
      .request = options.cut ? shm::request_receive_cut : shm::request_receive,
      .selection = options.selection,
      .bytes = into.size()};
  Received about{};
  std::optional<std::uint32_t> copied;
  const auto granted = PARLEY_TRY(call(wish, deadline, [&](MessageTable& table) -> Result<void> {
    const auto slot = PARLEY_TRY(table.find(options.selection));
    if (const auto error = describe(slot, about); error != Error{}) return failure(error);
    if (about.size_bytes > into.size() && !options.cut) return failure(Error::too_big);
    about.copied_bytes = std::min(about.size_bytes, into.size());
    if (about.copied_bytes <= copied_under_latch_bytes) return table.receive(slot, into, caller());
    copied = slot;
    return table.hold(slot, shm::message_copied, caller());
  }));
  if (granted) copied = granted;
  return copied ? copy_out(*copied, into, deadline) : Result<Received>(about);
}

/// Of a message that is held for that. It is received, whatever else comes.
auto MessageQueue::State::copy_out(std::uint32_t slot, std::span<std::byte> into, Deadline deadline)
    -> Result<Received> {
  auto held = PARLEY_TRY(holding(slot, shm::message_copied));
  held.about.copied_bytes = MessageTable::copy(held.bytes, into);
  const auto done = with_holding(held, at_least_patient(deadline),
                                 [&] { return table().receive_held(slot, caller()); });
  if (!done && done.error() != Error::removed) {
    if (segment().is_lost()) return failure(Error::corrupt);
    abandon(held, shm::message_finished);
  }
  return held.about;
}

auto MessageQueue::State::peek(std::span<std::byte> into, const ReceiveOptions& options,
                               std::optional<std::size_t> position) -> Result<Received> {
  return look([&](const MessageTable& table) -> Result<Received> {
    const auto slot = PARLEY_TRY(position ? table.at(*position) : table.find(options.selection));
    Received about{};
    if (const auto error = describe(slot, about); error != Error{}) return failure(error);
    if (about.size_bytes > into.size() && !options.cut) return failure(Error::too_big);
    about.copied_bytes = MessageTable::copy(PARLEY_TRY(table.payload(slot)), into);
    return about;
  });
}

auto MessageQueue::State::take(Selection selection, Deadline deadline) -> Result<Holding> {
  const MessageTable::Wish wish{.request = shm::request_take, .selection = selection, .bytes = 0};
  std::uint32_t slot = 0;
  const auto granted = PARLEY_TRY(call(wish, deadline, [&](MessageTable& table) -> Result<void> {
    slot = PARLEY_TRY(table.find(selection));
    return table.hold(slot, shm::message_taken, caller());
  }));
  return holding(granted.value_or(slot), shm::message_taken);
}

auto MessageQueue::State::acknowledge(const Holding& holding) -> Result<void> {
  return with_holding(holding, Deadline::now(),
                      [&] { return table().receive_held(holding.slot, caller()); });
}

auto MessageQueue::State::give_back(const Holding& holding) -> Result<void> {
  return with_holding(holding, Deadline::now(), [&] { return table().put_back(holding.slot); });
}

void MessageQueue::State::abandon(const Holding& holding, shm::MessageKind kind) noexcept {
  const auto done = with_holding(holding, Deadline::now(), [&] {
    return kind == shm::message_returned ? table().put_back(holding.slot)
                                         : table().finish(holding.slot);
  });
  if (done || !segment().is_current()) return;
  if (done.error() != Error::busy && done.error() != Error::timed_out) return;
  if (!table().is_still(holding.slot, holding.word)) return;
  table().leave_to_settle(holding.slot, kind);
  __atomic_store_n(&unsettled_, true, __ATOMIC_RELAXED);
}

auto MessageQueue::State::listen() -> Result<std::uint64_t> {
  Locked locked(*this);
  PARLEY_TRY(begin(locked, Deadline::now()));
  const auto listener = PARLEY_TRY(table().listen(segment().place()));
  PARLEY_TRY(locked.close());
  return listener;
}

auto MessageQueue::State::await_arrival(std::uint64_t listener, Deadline deadline)
    -> Result<Arrival> {
  auto& word = table().body().listener;
  while (word.load_acquire() == listener) {  // TOLD
    PARLEY_TRY(deadline.check());
    const auto woken = sleep(word.futex_word(), shm::low_half(listener), deadline);
    if (segment().is_lost()) return failure(Error::corrupt);
    const bool goes_on = woken || woken.error() == Error::interrupted || deadline.has_passed();
    if (!goes_on) return failure(woken.error());
  }
  return look(
      [&](const MessageTable& table) -> Result<Arrival> { return table.arrival(listener); });
}

auto MessageQueue::State::stop_listening(std::uint64_t listener) -> Result<bool> {
  Locked locked(*this);
  PARLEY_TRY(begin(locked, Deadline::now()));
  const bool listened = PARLEY_TRY(table().stop_listening(listener, locked.wakes));
  PARLEY_TRY(locked.close());
  return listened;
}

auto MessageQueue::State::limit(const MessageQueueLimits& limits) -> Result<void> {
  const auto& shape = table().shape();
  if (limits.messages > shape.messages || limits.bytes > shape.bytes) {
    return failure(Error::invalid);
  }
  Locked locked(*this);
  PARLEY_TRY(begin(locked, Deadline::now()));
  PARLEY_TRY(table().set_limit({.messages = limits.messages, .bytes = limits.bytes}));
  return locked.close();
}

auto MessageQueue::State::remove() -> Result<void> {
  Locked locked(*this);
  PARLEY_TRY(begin(locked, Deadline::now()));
  return table().remove(locked.wakes);
}

auto MessageQueue::State::memory_bytes() const noexcept -> std::size_t {
  std::size_t bytes = shm::page_up(table().line().backed_end());
  for (const auto area : {MessageArea::slots, MessageArea::groups, MessageArea::arena}) {
    const auto range = table().range_of(
        area, 0, std::min(table().backed(area).load_relaxed(), table().most_of(area)));
    bytes += range.end - range.begin;
  }
  return bytes;
}

/// Has memory for an area up to a mark. Not under the latch, since it may take long.
auto MessageQueue::State::back(MessageMark mark, Deadline deadline) -> Result<void> {
  auto& backed = table().backed(mark.area);
  const auto most = table().most_of(mark.area);
  const auto one = table().range_of(mark.area, 0, 1);
  const std::uint64_t piece = piece_bytes / (one.end - one.begin);
  const auto until = std::min((mark.count + piece - 1) / piece * piece, most);
  for (int rounds = 0; rounds < rounds_at_most; ++rounds) {
    std::uint64_t from = 0;
    std::uint64_t trims = 0;
    {
      Locked locked(*this);
      PARLEY_TRY(begin(locked, deadline));
      from = backed.load_relaxed();
      trims = table().body().trims.load_relaxed();
      PARLEY_TRY(locked.close());
    }
    if (from >= mark.count) return {};
    PARLEY_TRY(segment().back(table().range_of(mark.area, from, until)));
    Locked locked(*this);
    PARLEY_TRY(begin(locked, deadline));
    // What was given back meanwhile may have been this.
    if (trims != table().body().trims.load_relaxed()) continue;
    if (backed.load_relaxed() < until) backed.store_release(until);
    return locked.close();
  }
  return failure(Error::corrupt);
}

/// Gives memory back that an empty queue does not keep; or goes on where somebody died in here.
auto MessageQueue::State::trim() -> Result<void> {
  auto& trims = table().body().trims;
  if (table().messages() == 0) {
    PARLEY_TRY(table().forget_all());
    // Before anything goes: whoever dies from here on leaves the rest to the next.
    if (!table().is_trimming()) trims.store_release(trims.load_relaxed() + 1);
    for (const auto area : {MessageArea::slots, MessageArea::groups, MessageArea::arena}) {
      auto& backed = table().backed(area);
      if (backed.load_relaxed() > MessageTable::kept(area)) {
        backed.store_release(MessageTable::kept(area));
      }
    }
  }
  for (const auto area : {MessageArea::slots, MessageArea::groups, MessageArea::arena}) {
    const auto most = table().most_of(area);
    const auto from = std::min(table().backed(area).load_relaxed(), most);
    if (from < most) segment().give_back(table().range_of(area, from, most));
  }
  if (table().is_trimming()) trims.store_release(trims.load_relaxed() + 1);
  return {};
}

}  // namespace parley
