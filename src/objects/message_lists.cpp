// The lists of a queue's messages, and what participants hold of them.
#include <algorithm>

#include "objects/message_table.hpp"

namespace parley {

using shm::Draft;
using shm::halves;
using shm::high_half;
using shm::low_half;
using shm::MessageShape;
using shm::MessageSlot;
using shm::MessageState;
using shm::Word;

namespace {

constexpr std::uint64_t sequence_bits = (std::uint64_t{1} << 48U) - 1;

auto is_queued(std::uint64_t state) -> bool {
  return MessageState::unpack(state).kind == shm::message_queued;
}

/// The higher priority comes first.
auto key_of(std::uint16_t priority) -> std::uint64_t {
  return ~std::uint64_t{priority};
}

}  // namespace

class MessageTable::Lists {
 public:
  void add(const List& list) { all_[count_++] = list; }
  [[nodiscard]] auto begin() const -> const List* { return all_.data(); }
  [[nodiscard]] auto end() const -> const List* { return all_.data() + count_; }

 private:
  std::array<List, 3> all_;
  std::size_t count_ = 0;
};

auto MessageTable::lists_of(std::uint32_t slot) const -> Result<Lists> {
  const auto& message = slots_[slot];
  const auto group = high_half(message.where.load_relaxed());
  if (group == 0 || group > groups_.size()) return failure(Error::corrupt);
  Lists lists;
  lists.add({.word = &body_.order, .link = &MessageSlot::order, .tree = nullptr, .group = 0});
  lists.add({.word = &groups_[group - 1].list,
             .link = &MessageSlot::by_tag,
             .tree = &body_.tags,
             .group = group - 1});
  const auto priority = MessageShape::unpack(message.shape.load_relaxed()).priority;
  if (priority == 0) return lists;
  const auto ranked = PARLEY_TRY(priorities().find(key_of(priority)));
  if (!ranked) return failure(Error::corrupt);
  lists.add({.word = &groups_[*ranked].list,
             .link = &MessageSlot::by_priority,
             .tree = &body_.priorities,
             .group = *ranked});
  return lists;
}

auto MessageTable::claim_group(Draft& draft) -> Result<std::uint32_t> {
  const auto free = draft.get(body_.groups);
  const auto mark = high_half(free);
  if (low_half(free) != 0) {
    const auto group = low_half(free) - 1;
    if (group >= groups_.size()) return failure(Error::corrupt);
    draft.set(body_.groups, halves(low_half(groups_[group].free.load_relaxed()), mark));
    return group;
  }
  if (mark >= groups_.size()) return failure(Error::corrupt);
  if (mark >= body_.backed_groups.load_relaxed()) {
    wanted_ = {.area = MessageArea::groups, .count = std::uint64_t{mark} + 1};
    return failure(Error::no_buffer_space);
  }
  draft.set(body_.groups, halves(0, mark + 1));
  return mark;
}

/// The group of that key; a new one where there is none.
auto MessageTable::group_for(Draft& draft, Word& tree, std::uint64_t key) -> Result<std::uint32_t> {
  MessageIndex index(tree, groups_);
  if (const auto known = PARLEY_TRY(index.find(key))) return *known;
  const auto added = PARLEY_TRY(claim_group(draft));
  PARLEY_TRY(index.insert(draft, added, key));
  return added;
}

/// After the last message of a group went. One empty group stays, since traffic of one tag makes
/// its group empty again and again.
auto MessageTable::leave_group(Draft& draft, Word& tree, std::uint32_t group) -> Result<void> {
  if (&tree == &body_.tags && group == dead_letter_group && has_dead_letters()) return {};
  const auto word = draft.get(tree);
  const auto idle = high_half(word);
  if (idle == group + 1) return {};
  draft.set(tree, halves(low_half(word), group + 1));
  if (idle == 0) return {};
  if (idle > groups_.size()) return failure(Error::corrupt);
  if (draft.get(groups_[idle - 1].list) != 0) return {};
  PARLEY_TRY(MessageIndex(tree, groups_).remove(draft, idle - 1));
  const auto free = draft.get(body_.groups);
  groups_[idle - 1].free.store_release(low_half(free));  // nobody's before it is free
  draft.set(body_.groups, halves(idle, high_half(free)));
  return {};
}

/// The first from `from` on that can be had; 0 for none.
auto MessageTable::next_queued(const Draft& draft, Link link, std::uint32_t from) const
    -> Result<std::uint32_t> {
  for (std::uint32_t steps = 0; from != 0; ++steps) {
    if (from > slots_.size() || steps > slots_.size()) return failure(Error::corrupt);
    const auto& slot = slots_[from - 1];
    if (is_queued(draft.get(slot.state))) return from;
    PARLEY_TRY(step());
    from = high_half(draft.get(slot.*link));
  }
  return 0;
}

auto MessageTable::append(Draft& draft, Word& list, Link link, std::uint32_t slot) -> Result<void> {
  const auto word = draft.get(list);
  const auto first = low_half(word);
  const auto last = high_half(word);
  (slots_[slot].*link).store_release(halves(last, 0));  // nobody's before it is in the list
  if (last != 0) PARLEY_TRY(set_neighbour(draft, link, last, true, 0, slot + 1));
  draft.set(list, halves(first == 0 ? slot + 1 : first, slot + 1));
  return {};
}

/// Changes what a message names as the one behind or before it.
auto MessageTable::set_neighbour(Draft& draft, Link link, std::uint32_t at, bool behind,
                                 std::uint32_t was, std::uint32_t now) -> Result<void> {
  if (at > slots_.size()) return failure(Error::corrupt);
  auto& links = slots_[at - 1].*link;
  const auto word = draft.get(links);
  if ((behind ? high_half(word) : low_half(word)) != was) return failure(Error::corrupt);
  draft.set(links, behind ? halves(low_half(word), now) : halves(now, high_half(word)));
  return {};
}

auto MessageTable::unlink(Draft& draft, Word& list, Link link, std::uint32_t slot) -> Result<void> {
  const auto links = draft.get(slots_[slot].*link);
  const auto before = low_half(links);
  const auto behind = high_half(links);
  const auto word = draft.get(list);
  if (before != 0) PARLEY_TRY(set_neighbour(draft, link, before, true, slot + 1, behind));
  if (behind != 0) PARLEY_TRY(set_neighbour(draft, link, behind, false, slot + 1, before));
  auto first = low_half(word);
  auto last = high_half(word);
  if (first == slot + 1) first = PARLEY_TRY(next_queued(draft, link, behind));
  if ((last == slot + 1) != (behind == 0)) return failure(Error::corrupt);
  if (behind == 0) last = before;
  if (const auto now = halves(first, last); now != word) draft.set(list, now);
  return {};
}

/// Numbers a message, which is in no list, and puts it at the end of all that it belongs to.
auto MessageTable::link_all(Draft& draft, std::uint32_t slot, MessageLabel label) -> Result<void> {
  auto& message = slots_[slot];
  const auto block = low_half(message.where.load_relaxed());
  auto shape = MessageShape::unpack(message.shape.load_relaxed());
  const auto group = PARLEY_TRY(group_for(draft, body_.tags, label.tag));
  PARLEY_TRY(append(draft, body_.order, &MessageSlot::order, slot));
  PARLEY_TRY(append(draft, groups_[group].list, &MessageSlot::by_tag, slot));
  if (label.priority != 0) {
    const auto ranked = PARLEY_TRY(group_for(draft, body_.priorities, key_of(label.priority)));
    PARLEY_TRY(append(draft, groups_[ranked].list, &MessageSlot::by_priority, slot));
  }
  // Of a message that is in no list this says nothing yet; so it needs no transaction.
  shape.priority = label.priority;
  message.shape.store_release(shape.pack());
  message.tag.store_release(label.tag);
  message.where.store_release(halves(block, group + 1));
  // A number that no message gets does no harm.
  const auto sequence = (body_.sequence.load_relaxed() & sequence_bits) + 1;
  body_.sequence.store_release(sequence);
  const MessageState state{.kind = shm::message_queued, .place = 0, .sequence = sequence};
  draft.set(message.state, state.pack());
  return {};
}

auto MessageTable::unlink_all(Draft& draft, std::uint32_t slot) -> Result<void> {
  const auto lists = PARLEY_TRY(lists_of(slot));
  for (const auto& list : lists) {
    PARLEY_TRY(unlink(draft, *list.word, list.link, slot));
    if (list.tree == nullptr || draft.get(*list.word) != 0) continue;
    PARLEY_TRY(leave_group(draft, *list.tree, list.group));
  }
  return {};
}

/// Puts a slot into the list of a participant.
auto MessageTable::keep(Draft& draft, std::uint32_t slot, std::uint32_t place) -> Result<void> {
  const auto first = low_half(draft.get(holdings_[place]));
  draft.set(slots_[slot].held, halves(0, first));
  if (first != 0) {
    PARLEY_TRY(set_neighbour(draft, &MessageSlot::held, first, false, 0, slot + 1));
  }
  draft.set(holdings_[place], slot + 1);
  return {};
}

auto MessageTable::let_go(Draft& draft, std::uint32_t slot) -> Result<void> {
  const auto place = MessageState::unpack(slots_[slot].state.load_relaxed()).place;
  if (place >= holdings_.size()) return failure(Error::corrupt);
  const auto links = draft.get(slots_[slot].held);
  const auto before = low_half(links);
  const auto behind = high_half(links);
  if (behind != 0) {
    PARLEY_TRY(set_neighbour(draft, &MessageSlot::held, behind, false, slot + 1, before));
  }
  if (before != 0) return set_neighbour(draft, &MessageSlot::held, before, true, slot + 1, behind);
  if (draft.get(holdings_[place]) != std::uint64_t{slot} + 1) return failure(Error::corrupt);
  draft.set(holdings_[place], behind);
  return {};
}

auto MessageTable::hold(Draft& draft, std::uint32_t slot, shm::MessageKind kind,
                        std::uint32_t place) -> Result<void> {
  auto& message = slots_[slot];
  auto state = MessageState::unpack(message.state.load_relaxed());
  if (state.kind != shm::message_queued) return failure(Error::corrupt);
  state.kind = kind;
  state.place = place;
  draft.set(message.state, state.pack());
  const auto lists = PARLEY_TRY(lists_of(slot));
  for (const auto& list : lists) {
    const auto word = draft.get(*list.word);
    if (low_half(word) != slot + 1) continue;
    const auto behind = high_half(draft.get(message.*list.link));
    const auto first = PARLEY_TRY(next_queued(draft, list.link, behind));
    draft.set(*list.word, halves(first, high_half(word)));
  }
  return keep(draft, slot, place);
}

auto MessageTable::hold(std::uint32_t slot, shm::MessageKind kind, Caller caller) -> Result<void> {
  Draft draft;
  PARLEY_TRY(hold(draft, slot, kind, caller.place));
  return commit(draft);
}

auto MessageTable::put_back(std::uint32_t slot) -> Result<void> {
  return put_back(slot, false);
}

auto MessageTable::put_back(std::uint32_t slot, bool again) -> Result<void> {
  auto& message = slots_[slot];
  auto state = MessageState::unpack(message.state.load_relaxed());
  Draft draft;
  PARLEY_TRY(let_go(draft, slot));
  state.kind = shm::message_queued;
  state.place = 0;
  draft.set(message.state, state.pack());
  if (again) {
    auto shape = MessageShape::unpack(message.shape.load_relaxed());
    if (shape.redeliveries != 0xffff) ++shape.redeliveries;
    draft.set(message.shape, shape.pack());
  }
  const auto lists = PARLEY_TRY(lists_of(slot));
  for (const auto& list : lists) {
    const auto word = draft.get(*list.word);
    const auto first = low_half(word);
    if (first > slots_.size()) return failure(Error::corrupt);
    const bool older =
        first == 0 ||
        MessageState::unpack(slots_[first - 1].state.load_relaxed()).sequence > state.sequence;
    if (older) draft.set(*list.word, halves(slot + 1, high_half(word)));
  }
  return commit(draft);
}

auto MessageTable::settle(std::uint32_t place) -> Result<void> {
  const auto end = line_.count();
  for (std::uint32_t i = 0; i < end; ++i) {
    auto& record = line_.record(i);
    if (record.state.load_relaxed() != shm::waiter_given_up) continue;
    if (record.place.load_relaxed() != place) continue;
    const auto slot = PARLEY_TRY(granted_slot(i));
    const auto state = MessageState::unpack(slots_[slot].state.load_relaxed());
    if (state.place != place) return failure(Error::corrupt);
    PARLEY_TRY(state.kind == shm::message_reserved ? finish(slot) : put_back(slot));
    record.state.store_release(shm::waiter_free);
  }
  auto at = low_half(holdings_[place].load_relaxed());
  for (std::uint32_t steps = 0; at != 0; ++steps) {
    if (at > slots_.size() || steps > slots_.size()) return failure(Error::corrupt);
    PARLEY_TRY(step());
    const auto slot = at - 1;
    at = high_half(slots_[slot].held.load_relaxed());
    const auto kind = MessageState::unpack(slots_[slot].state.load_relaxed()).kind;
    if (kind == shm::message_finished) PARLEY_TRY(finish(slot));
    if (kind == shm::message_returned) PARLEY_TRY(put_back(slot));
  }
  return {};
}

auto MessageTable::bury(std::uint32_t place) -> Result<void> {
  PARLEY_TRY(line_.bury(place));
  if (shm::MessageListener::unpack(body_.listener.load_relaxed()).place == place) {
    Draft draft;
    end_listener(draft);
    PARLEY_TRY(commit(draft));
  }
  // A message may take two steps.
  for (std::size_t steps = 0; steps <= 2 * slots_.size(); ++steps) {
    const auto first = low_half(holdings_[place].load_relaxed());
    if (first == 0) return {};
    if (first > slots_.size()) break;
    const auto state = MessageState::unpack(slots_[first - 1].state.load_relaxed());
    if (state.place != place) break;
    PARLEY_TRY(bury_message(first - 1, state.kind));
    PARLEY_TRY(step());
  }
  return failure(Error::corrupt);
}

auto MessageTable::bury_message(std::uint32_t slot, shm::MessageKind kind) -> Result<void> {
  switch (kind) {
    case shm::message_reserved:
    case shm::message_finished:
      return finish(slot);
    case shm::message_copied:
    case shm::message_returned:
      return put_back(slot, false);
    case shm::message_moving:
      return end_move(slot);
    case shm::message_taken:
      break;
    default:
      return failure(Error::corrupt);
  }
  const auto shape = MessageShape::unpack(slots_[slot].shape.load_relaxed());
  const bool too_often =
      has_dead_letters() && shape.redeliveries >= body_.redeliveries.load_relaxed();
  const bool moves =
      too_often && slots_[slot].tag.load_relaxed() != body_.dead_letter_tag.load_relaxed();
  return moves ? begin_move(slot) : put_back(slot, true);
}

/// To the dead letters, in two transactions: out of all lists but its dead holder's, and then
/// `end_move`. Who dies in between leaves the second to whoever buries that holder.
auto MessageTable::begin_move(std::uint32_t slot) -> Result<void> {
  auto& message = slots_[slot];
  Draft draft;
  PARLEY_TRY(unlink_all(draft, slot));
  auto state = MessageState::unpack(message.state.load_relaxed());
  auto shape = MessageShape::unpack(message.shape.load_relaxed());
  state.kind = shm::message_moving;
  if (shape.redeliveries != 0xffff) ++shape.redeliveries;
  shape.priority = 0;
  shape.dead_letter = true;
  draft.set(message.state, state.pack());
  draft.set(message.shape, shape.pack());
  draft.set(message.by_priority, message.tag.load_relaxed());
  return commit(draft);
}

auto MessageTable::end_move(std::uint32_t slot) -> Result<void> {
  Draft draft;
  PARLEY_TRY(let_go(draft, slot));
  PARLEY_TRY(link_all(draft, slot, {.tag = body_.dead_letter_tag.load_relaxed(), .priority = 0}));
  return commit(draft);
}

}  // namespace parley
