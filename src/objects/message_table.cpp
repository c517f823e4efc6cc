#include "objects/message_table.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "os/clock.hpp"

namespace parley {

using shm::Draft;
using shm::halves;
using shm::high_half;
using shm::low_half;
using shm::MessageLoad;
using shm::MessageShape;
using shm::MessageSlot;
using shm::MessageState;
using shm::Word;

namespace {

/// What an empty queue keeps of each area, so that little traffic costs no system calls.
constexpr std::size_t kept_bytes = std::size_t{4} << 20U;

/// How much of an area has memory at first.
constexpr std::size_t first_bytes = std::size_t{16} << 10U;

template <class T>
auto part(std::span<std::byte> body, std::size_t offset) -> T* {
  return std::launder(reinterpret_cast<T*>(body.data() + offset));
}

auto size_of(MessageArea area) -> std::size_t {
  switch (area) {
    case MessageArea::slots:
      return sizeof(MessageSlot);
    case MessageArea::groups:
      return sizeof(shm::MessageGroup);
    case MessageArea::arena:
      break;
  }
  return shm::arena_unit;
}

auto shape_of_size(std::uint32_t size_bytes) -> MessageShape {
  return {.size = size_bytes, .priority = 0, .redeliveries = 0, .dead_letter = false};
}

}  // namespace

MessageTable::MessageTable(std::span<std::byte> body, const shm::MessageQueueShape& shape) noexcept
    : whole_(body),
      shape_(shape),
      body_(*part<shm::MessageQueueBody>(body, 0)),
      journal_{.body = body,
               .journal = part<shm::MessageQueueBody>(body, 0)->journal,
               .entries = {part<shm::JournalEntry>(body, shape.journal()),
                           shm::message_journal_entries}},
      holdings_(part<Word>(body, shape.holdings()), shape.place_count),
      slots_(part<MessageSlot>(body, shape.slots()), shape.messages),
      groups_(part<shm::MessageGroup>(body, shape.groups()), shape.group_count()),
      arena_(body.subspan(shape.arena(), shape.arena_units() * shm::arena_unit), body_,
             *part<shm::ArenaClasses>(body, shape.arena_classes())),
      line_(journal_, body_.line, {body_.backed_waiters, shape.waiter_parts()}) {}

auto MessageTable::of(std::span<std::byte> body, std::uint32_t place_count)
    -> Result<MessageTable> {
  if (body.size() < sizeof(shm::MessageQueueBody)) return failure(Error::corrupt);
  const auto& start = *part<shm::MessageQueueBody>(body, 0);
  const shm::MessageQueueShape shape{.messages = start.messages.load_relaxed(),
                                     .message_bytes = start.message_bytes.load_relaxed(),
                                     .bytes = start.bytes.load_relaxed(),
                                     .waiters = start.waiters.load_relaxed(),
                                     .place_count = place_count};
  const bool sound =
      shape.messages >= 1 && shape.messages <= shm::messages_at_most && shape.message_bytes >= 1 &&
      shape.message_bytes <= shm::message_bytes_at_most && shape.bytes >= shape.message_bytes &&
      shape.bytes <= shm::queue_bytes_at_most && shape.waiters >= 1 && shape.waiters <= 0xffff &&
      shape.body_bytes() == body.size();
  if (!sound) return failure(Error::corrupt);
  return MessageTable(body, shape);
}

auto MessageTable::backed_at_first(const shm::MessageQueueShape& shape)
    -> std::array<shm::ByteRange, 3> {
  return {
      {{.begin = 0, .end = shm::page_up(shape.waiter_records())},
       {.begin = shape.slots(), .end = std::min(shape.slots() + first_bytes, shape.groups())},
       {.begin = shape.groups(), .end = std::min(shape.groups() + first_bytes, shape.arena())}}};
}

void MessageTable::create(std::span<std::byte> body, const shm::MessageQueueShape& shape,
                          const Terms& terms) {
  auto& start = *part<shm::MessageQueueBody>(body, 0);
  start.messages.store_relaxed(shape.messages);
  start.message_bytes.store_relaxed(shape.message_bytes);
  start.bytes.store_relaxed(shape.bytes);
  start.limit.store_relaxed(MessageLoad{.messages = shape.messages, .bytes = shape.bytes}.pack());
  start.waiters.store_relaxed(shape.waiters);
  start.redeliveries.store_relaxed(terms.redeliveries);
  start.last_change.store_relaxed(os::time_of_day_s());
  start.backed_waiters.store_relaxed(
      shape.waiter_parts().whole_before(shm::page_up(shape.waiter_records())));
  start.backed_slots.store_relaxed(
      std::min<std::uint64_t>(shape.messages, first_bytes / sizeof(MessageSlot)));
  start.backed_groups.store_relaxed(
      std::min<std::uint64_t>(shape.group_count(), first_bytes / sizeof(shm::MessageGroup)));
  if (!terms.dead_letter_tag) return;
  start.has_dead_letters.store_relaxed(1);
  start.dead_letter_tag.store_relaxed(*terms.dead_letter_tag);
  start.groups.store_relaxed(halves(0, dead_letter_group + 1));
  start.tags.store_relaxed(std::uint64_t{2} * (dead_letter_group + 1));
  auto& group = *part<shm::MessageGroup>(body, shape.groups());
  group.key.store_relaxed(*terms.dead_letter_tag);
  group.bit.store_relaxed(shm::no_node);
}

auto MessageTable::recover() -> Result<void> {
  return shm::recover(journal_);
}

auto MessageTable::commit(const Draft& draft) -> Result<void> {
  draft.commit(journal_);
  return {};
}

void MessageTable::note(Word& last, Caller caller) const {
  last.store_release(halves(static_cast<std::uint32_t>(os::time_of_day_s()), caller.process));
}

auto MessageTable::messages() const noexcept -> std::uint32_t {
  return static_cast<std::uint32_t>(MessageLoad::unpack(body_.load.load_relaxed()).messages);
}

auto MessageTable::bytes() const noexcept -> std::uint64_t {
  return MessageLoad::unpack(body_.load.load_relaxed()).bytes;
}

auto MessageTable::backed(MessageArea area) const noexcept -> Word& {
  switch (area) {
    case MessageArea::slots:
      return body_.backed_slots;
    case MessageArea::groups:
      return body_.backed_groups;
    case MessageArea::arena:
      break;
  }
  return body_.backed_arena;
}

auto MessageTable::most_of(MessageArea area) const noexcept -> std::uint64_t {
  switch (area) {
    case MessageArea::slots:
      return shape_.messages;
    case MessageArea::groups:
      return shape_.group_count();
    case MessageArea::arena:
      break;
  }
  return shape_.arena_units();
}

auto MessageTable::range_of(MessageArea area, std::uint64_t from, std::uint64_t to) const noexcept
    -> shm::ByteRange {
  std::size_t begin = shape_.arena();
  if (area == MessageArea::slots) begin = shape_.slots();
  if (area == MessageArea::groups) begin = shape_.groups();
  return {.begin = begin + from * size_of(area), .end = begin + to * size_of(area)};
}

/// The caller holds the latch, and is the only one that changes the load.
auto MessageTable::claim(Draft& draft, std::uint32_t size_bytes, bool with_block)
    -> Result<Vacancy> {
  const auto [count, bytes] = MessageLoad::unpack(draft.get(body_.load));
  const auto most = limit();
  if (count >= most.messages || bytes + size_bytes > most.bytes) return failure(Error::would_block);
  const auto free = draft.get(body_.slots);
  const auto mark = high_half(free);
  std::uint32_t slot = low_half(free) - 1;
  if (low_half(free) != 0) {
    if (slot >= shape_.messages) return failure(Error::corrupt);
    draft.set(body_.slots, halves(low_half(slots_[slot].held.load_relaxed()), mark));
  } else {
    slot = mark;
    if (slot >= shape_.messages) return failure(Error::corrupt);
    if (slot >= body_.backed_slots.load_relaxed()) {
      wanted_ = {.area = MessageArea::slots, .count = std::uint64_t{slot} + 1};
      return failure(Error::no_buffer_space);
    }
    draft.set(body_.slots, halves(0, mark + 1));
  }
  std::uint32_t block = 0;
  std::span<std::byte> room = slots_[slot].payload;
  if (size_bytes > shm::inline_bytes && with_block) {
    block = PARLEY_TRY(allocate(draft, size_bytes, slot)) + 1;
    room = arena_.room(block - 1, size_bytes);
  }
  draft.set(body_.load, MessageLoad{.messages = count + 1, .bytes = bytes + size_bytes}.pack());
  // Nobody's before the slot is taken.
  slots_[slot].where.store_release(halves(block, 0));
  slots_[slot].shape.store_release(shape_of_size(size_bytes).pack());
  return Vacancy{.slot = slot, .room = room};
}

auto MessageTable::allocate(Draft& draft, std::uint32_t size_bytes, std::uint32_t slot)
    -> Result<std::uint32_t> {
  std::uint64_t units = 0;
  const auto found = arena_.allocate(draft, size_bytes, slot, units);
  if (!found) wanted_ = {.area = MessageArea::arena, .count = units};
  return found;
}

auto MessageTable::furnish(std::uint32_t slot) -> Result<void> {
  auto& where = slots_[slot].where;
  const auto size = MessageShape::unpack(slots_[slot].shape.load_relaxed()).size;
  if (size <= shm::inline_bytes || where.load_relaxed() != 0) return {};
  Draft draft;
  draft.set(where, halves(PARLEY_TRY(allocate(draft, size, slot)) + 1, 0));
  return commit(draft);
}

auto MessageTable::release(Draft& draft, std::uint32_t slot) -> Result<void> {
  const auto& freed = slots_[slot];
  const auto size = MessageShape::unpack(freed.shape.load_relaxed()).size;
  const auto [count, bytes] = MessageLoad::unpack(draft.get(body_.load));
  if (count == 0 || bytes < size) return failure(Error::corrupt);
  draft.set(body_.load, MessageLoad{.messages = count - 1, .bytes = bytes - size}.pack());
  const auto block = low_half(freed.where.load_relaxed());
  if (block != 0) PARLEY_TRY(arena_.free(draft, block - 1, slot));
  const auto free = draft.get(body_.slots);
  draft.set(slots_[slot].held, low_half(free));
  draft.set(body_.slots, halves(slot + 1, high_half(free)));
  return {};
}

auto MessageTable::payload(std::uint32_t slot) const -> Result<std::span<std::byte>> {
  const auto size = MessageShape::unpack(slots_[slot].shape.load_relaxed()).size;
  const auto block = low_half(slots_[slot].where.load_relaxed());
  if (block != 0) return arena_.payload(block - 1, slot, size);
  if (size > shm::inline_bytes) return failure(Error::corrupt);
  return std::span(slots_[slot].payload).first(size);
}

auto MessageTable::describe(std::uint32_t slot) const -> Description {
  const auto& told = slots_[slot];
  return {.state = told.state.load_relaxed(),
          .shape = MessageShape::unpack(told.shape.load_relaxed()),
          .tag = told.tag.load_relaxed(),
          .original_tag = told.by_priority.load_relaxed()};
}

void MessageTable::leave_to_settle(std::uint32_t slot, shm::MessageKind kind) noexcept {
  auto state = MessageState::unpack(slots_[slot].state.load_relaxed());
  state.kind = kind;
  slots_[slot].state.store_release(state.pack());
}

auto MessageTable::send(std::span<const std::byte> payload, MessageLabel label, Caller caller)
    -> Result<void> {
  Draft draft;
  const auto [slot, room] =
      PARLEY_TRY(claim(draft, static_cast<std::uint32_t>(payload.size()), true));
  PARLEY_TRY(link_all(draft, slot, label));
  if (!payload.empty()) std::memcpy(room.data(), payload.data(), payload.size());
  PARLEY_TRY(commit(draft));
  note(body_.last_send, caller);
  return {};
}

auto MessageTable::reserve(std::uint32_t size_bytes, Caller caller) -> Result<std::uint32_t> {
  Draft draft;
  const auto slot = PARLEY_TRY(reserve(draft, size_bytes, caller.place, true));
  PARLEY_TRY(commit(draft));
  return slot;
}

auto MessageTable::reserve(Draft& draft, std::uint32_t size_bytes, std::uint32_t place,
                           bool with_block) -> Result<std::uint32_t> {
  const auto slot = PARLEY_TRY(claim(draft, size_bytes, with_block)).slot;
  // Not numbered before it is sent. Nobody's before the slot is taken.
  const MessageState state{.kind = shm::message_reserved, .place = place, .sequence = 0};
  slots_[slot].state.store_release(state.pack());
  PARLEY_TRY(keep(draft, slot, place));
  return slot;
}

auto MessageTable::publish(std::uint32_t slot, MessageLabel label, Caller caller) -> Result<void> {
  Draft draft;
  PARLEY_TRY(let_go(draft, slot));
  PARLEY_TRY(link_all(draft, slot, label));
  PARLEY_TRY(commit(draft));
  note(body_.last_send, caller);
  return {};
}

auto MessageTable::copy(std::span<const std::byte> from, std::span<std::byte> into) noexcept
    -> std::size_t {
  const auto size = std::min(from.size(), into.size());
  if (size != 0) std::memcpy(into.data(), from.data(), size);
  return size;
}

auto MessageTable::receive(std::uint32_t slot, std::span<std::byte> into, Caller caller)
    -> Result<void> {
  const auto from = PARLEY_TRY(payload(slot));
  copy(from, into);
  Draft draft;
  PARLEY_TRY(unlink_all(draft, slot));
  PARLEY_TRY(release(draft, slot));
  PARLEY_TRY(commit(draft));
  note(body_.last_receive, caller);
  return {};
}

auto MessageTable::finish(std::uint32_t slot) -> Result<void> {
  Draft draft;
  if (MessageState::unpack(slots_[slot].state.load_relaxed()).sequence != 0) {
    PARLEY_TRY(unlink_all(draft, slot));
  }
  PARLEY_TRY(let_go(draft, slot));
  PARLEY_TRY(release(draft, slot));
  return commit(draft);
}

auto MessageTable::receive_held(std::uint32_t slot, Caller caller) -> Result<void> {
  PARLEY_TRY(finish(slot));
  note(body_.last_receive, caller);
  return {};
}

auto MessageTable::limit() const noexcept -> MessageLoad {
  const auto told = MessageLoad::unpack(body_.limit.load_relaxed());
  return {.messages = std::min<std::uint64_t>(told.messages, shape_.messages),
          .bytes = std::min(told.bytes, shape_.bytes)};
}

auto MessageTable::set_limit(MessageLoad most) -> Result<void> {
  Draft draft;
  draft.set(body_.limit, most.pack());
  draft.set(body_.last_change, os::time_of_day_s());
  return commit(draft);
}

auto MessageTable::is_to_be_trimmed() const noexcept -> bool {
  if (messages() != 0) return false;
  return body_.backed_slots.load_relaxed() > kept(MessageArea::slots) ||
         body_.backed_groups.load_relaxed() > kept(MessageArea::groups) ||
         body_.backed_arena.load_relaxed() > kept(MessageArea::arena);
}

auto MessageTable::kept(MessageArea area) noexcept -> std::uint64_t {
  return kept_bytes / size_of(area);
}

auto MessageTable::forget_all() -> Result<void> {
  const bool dead_letters = has_dead_letters();
  Draft draft;
  draft.set(body_.slots, 0);
  draft.set(body_.groups, dead_letters ? halves(0, dead_letter_group + 1) : 0);
  draft.set(body_.tags, dead_letters ? std::uint64_t{2} * (dead_letter_group + 1) : 0);
  draft.set(body_.priorities, 0);
  if (dead_letters) draft.set(groups_[dead_letter_group].bit, shm::no_node);
  return commit(draft);
}

}  // namespace parley
