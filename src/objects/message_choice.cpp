// Which message a call gets, and which call gets a message: the queue as it is looked at.
#include <algorithm>

#include "objects/message_table.hpp"
#include "os/keeper.hpp"

namespace parley {

using shm::Draft;
using shm::high_half;
using shm::low_half;
using shm::MessageState;

namespace {

auto is_queued(std::uint64_t state) -> bool {
  return MessageState::unpack(state).kind == shm::message_queued;
}

/// A record's request: what it wants, and how it selects.
auto pack_request(shm::MessageRequest request, Selection::Kind kind) -> std::uint32_t {
  return request | static_cast<std::uint32_t>(kind) << 8U;
}

constexpr std::uint32_t request_bits = 0xff;

}  // namespace

auto MessageTable::step() const noexcept -> Result<void> {
  // About what it takes where each lies in another page, in nanoseconds.
  constexpr std::size_t work = 200;
  return limit_->is_over(work) ? failure(Error::busy) : Result<void>();
}

/// The first of a list that can be had. `would_block` where there is none.
auto MessageTable::first_of(const shm::Word& list) const -> Result<std::uint32_t> {
  const auto first = low_half(list.load_relaxed());
  if (first == 0) return failure(Error::would_block);
  if (first > slots_.size() || !is_queued(slots_[first - 1].state.load_relaxed())) {
    return failure(Error::corrupt);
  }
  return first - 1;
}

auto MessageTable::find(Selection selection) const -> Result<std::uint32_t> {
  switch (selection.kind()) {
    case Selection::Kind::oldest:
      break;
    case Selection::Kind::tag: {
      const auto group = PARLEY_TRY(tags().find(selection.number()));
      return group ? first_of(groups_[*group].list) : failure(Error::would_block);
    }
    case Selection::Kind::up_to:
      return first_in_order(tags(), selection.number());
    case Selection::Kind::except:
      return oldest_except(selection.number());
    case Selection::Kind::highest: {
      // Who has no priority is in no group.
      const auto found = first_in_order(priorities(), ~std::uint64_t{0});
      if (found || found.error() != Error::would_block) return found;
      break;
    }
  }
  return first_of(body_.order);
}

/// The first message of the first group that has one, up to a key.
auto MessageTable::first_in_order(const MessageIndex& index, std::uint64_t key) const
    -> Result<std::uint32_t> {
  MessageIndex::Walk walk(index);
  for (auto group = PARLEY_TRY(walk.next()); group; group = PARLEY_TRY(walk.next())) {
    if (groups_[*group].key.load_relaxed() > key) break;
    const auto found = first_of(groups_[*group].list);
    if (found || found.error() != Error::would_block) return found;
    PARLEY_TRY(step());
  }
  return failure(Error::would_block);
}

auto MessageTable::oldest_except(std::uint64_t tag) const -> Result<std::uint32_t> {
  const auto oldest = PARLEY_TRY(first_of(body_.order));
  if (slots_[oldest].tag.load_relaxed() != tag) return oldest;
  // Not along the list, where many of that tag may come first.
  std::optional<std::uint32_t> best;
  std::uint64_t best_sequence = 0;
  MessageIndex::Walk walk(tags());
  for (auto group = PARLEY_TRY(walk.next()); group; group = PARLEY_TRY(walk.next())) {
    PARLEY_TRY(step());
    if (groups_[*group].key.load_relaxed() == tag) continue;
    const auto found = first_of(groups_[*group].list);
    if (!found && found.error() == Error::would_block) continue;
    const auto slot = PARLEY_TRY(found);
    const auto sequence = MessageState::unpack(slots_[slot].state.load_relaxed()).sequence;
    if (best && sequence >= best_sequence) continue;
    best = slot;
    best_sequence = sequence;
  }
  return best ? Result<std::uint32_t>(*best) : failure(Error::would_block);
}

auto MessageTable::at(std::size_t position) const -> Result<std::uint32_t> {
  auto slot = PARLEY_TRY(first_of(body_.order));
  const Draft nothing;
  for (std::size_t passed = 0; passed < position; ++passed) {
    PARLEY_TRY(step());
    const auto behind = high_half(slots_[slot].order.load_relaxed());
    const auto next = PARLEY_TRY(next_queued(nothing, &shm::MessageSlot::order, behind));
    if (next == 0) return failure(Error::would_block);
    if (passed > slots_.size()) return failure(Error::corrupt);
    slot = next - 1;
  }
  return slot;
}

auto MessageTable::enqueue(const Wish& wish, Caller caller) -> Result<std::uint32_t> {
  const auto index = PARLEY_TRY(line_.free_record());
  const auto words = line_.words(line_.record(index));
  words[0].store_relaxed(wish.selection.number());
  words[1].store_relaxed(wish.bytes);
  words[2].store_relaxed(0);
  PARLEY_TRY(line_.append(index, caller, pack_request(wish.request, wish.selection.kind())));
  return index;
}

auto MessageTable::read_wish(shm::Waiter& record) const -> Result<Wish> {
  const auto words = line_.words(record);
  const auto number = words[0].load_relaxed();
  const auto packed = record.request.load_relaxed();
  const auto request = packed & request_bits;
  if (request < shm::request_receive || request > shm::request_send) {
    return failure(Error::corrupt);
  }
  const auto selection = [&]() -> Result<Selection> {
    switch (packed >> 8U) {
      case shm::select_oldest:
        return Selection::oldest();
      case shm::select_tag:
        return Selection::tag(number);
      case shm::select_up_to:
        return Selection::up_to(number);
      case shm::select_except:
        return Selection::except(number);
      case shm::select_highest:
        return Selection::highest();
      default:
        return failure(Error::corrupt);
    }
  };
  return Wish{.request = static_cast<shm::MessageRequest>(request),
              .selection = PARLEY_TRY(selection()),
              .bytes = words[1].load_relaxed()};
}

auto MessageTable::granted_slot(std::uint32_t record) const -> Result<std::uint32_t> {
  const auto slot = line_.words(line_.record(record))[2].load_relaxed();
  return slot < slots_.size() ? Result<std::uint32_t>(static_cast<std::uint32_t>(slot))
                              : failure(Error::corrupt);
}

/// What a call that waits would get now; the draft has it then.
auto MessageTable::attempt(Draft& draft, const Wish& wish, std::uint32_t place)
    -> Result<std::uint32_t> {
  if (wish.request == shm::request_send) {
    if (wish.bytes > shape_.message_bytes) return failure(Error::corrupt);
    // Its place in the arena it finds itself: for that memory may have to be had first.
    return reserve(draft, static_cast<std::uint32_t>(wish.bytes), place, false);
  }
  const auto slot = PARLEY_TRY(find(wish.selection));
  const auto size = shm::MessageShape::unpack(slots_[slot].shape.load_relaxed()).size;
  if (wish.request == shm::request_receive && size > wish.bytes) return failure(Error::too_big);
  const auto kind = wish.request == shm::request_take ? shm::message_taken : shm::message_copied;
  PARLEY_TRY(hold(draft, slot, kind, place));
  return slot;
}

/// Lets the call proceed where the walk is, if it can, and steps on.
auto MessageTable::serve_one(WaitingLine::Walk& walk, shm::Waiter& record, std::uint64_t seen,
                             WakeList& wakes) -> Result<void> {
  const auto place = record.place.load_relaxed();
  if (place >= shape_.place_count) return failure(Error::corrupt);
  const auto wish = PARLEY_TRY(read_wish(record));
  Draft draft;
  const auto got = attempt(draft, wish, place);
  std::uint64_t decided = shm::waiter_granted;
  shm::Transaction transaction(journal_);
  if (got) {
    line_.words(record)[2].store_release(*got);  // says nothing before it is granted
    draft.hand_to(transaction);
  } else if (got.error() == Error::would_block) {
    walk.advance();
    return {};
  } else if (got.error() == Error::too_big) {
    decided = shm::waiter_too_big;
  } else if (got.error() == Error::no_buffer_space) {
    decided = shm::waiter_again;
  } else {
    return failure(got.error());
  }
  // Where it is refused, its call has gone to sleep or given up meanwhile, and is looked at again.
  PARLEY_TRY(walk.decide_here(transaction, seen, decided, wakes));
  return {};
}

auto MessageTable::serve(WakeList& wakes, TimeLimit& limit) -> Result<void> {
  limit_by(limit);
  const auto served = serve_all(wakes);
  const bool broken_off = !served && served.error() == Error::busy;
  if (broken_off != is_unserved()) body_.unserved.store_release(broken_off ? 1 : 0);
  return broken_off ? Result<void>() : served;
}

void MessageTable::hand_on() const noexcept {
  os::fence_all();  // UNSERVED
  line_.rouse_one();
}

/// In one pass: nobody who is served makes it possible for another.
auto MessageTable::serve_all(WakeList& wakes) -> Result<void> {
  if (is_removed()) return line_.turn_away(shm::waiter_removed, wakes);
  for (WaitingLine::Walk walk(line_); !walk.is_at_end();) {
    auto& record = *PARLEY_TRY(walk.here());
    const auto seen = record.state.load_acquire();
    if (shm::is_undecided(seen)) {
      PARLEY_TRY(step());
      PARLEY_TRY(serve_one(walk, record, seen, wakes));
    } else {
      PARLEY_TRY(walk.free_here());  // cancelled; nothing else is ever linked
    }
  }
  return {};
}

auto MessageTable::remove(WakeList& wakes) -> Result<void> {
  Draft draft;
  draft.set(body_.removed, 1);
  end_listener(draft);
  PARLEY_TRY(commit(draft));
  wakes.add(body_.listener.futex_word());
  return line_.turn_away(shm::waiter_removed, wakes);
}

auto MessageTable::waiting() const -> Result<Waiting> {
  Waiting waiting;
  for (WaitingLine::Walk walk(line_); !walk.is_at_end(); walk.advance()) {
    auto& record = *PARLEY_TRY(walk.here());
    if (!shm::is_undecided(record.state.load_acquire())) continue;
    const auto wish = PARLEY_TRY(read_wish(record));
    ++(wish.request == shm::request_send ? waiting.senders : waiting.receivers);
  }
  return waiting;
}

auto MessageTable::held() const -> Result<Held> {
  Held held;
  std::size_t steps = 0;
  for (const auto& holding : holdings_) {
    for (auto at = low_half(holding.load_relaxed()); at != 0;) {
      if (at > slots_.size() || ++steps > slots_.size()) return failure(Error::corrupt);
      PARLEY_TRY(step());
      const auto& slot = slots_[at - 1];
      const bool linked = MessageState::unpack(slot.state.load_relaxed()).sequence != 0;
      ++(linked ? held.taken : held.reserved);
      at = high_half(slot.held.load_relaxed());
    }
  }
  return held;
}

auto MessageTable::depths() const -> Result<std::vector<TagDepth>> {
  std::vector<TagDepth> all;
  const Draft nothing;
  std::size_t steps = 0;
  MessageIndex::Walk walk(tags());
  for (auto group = PARLEY_TRY(walk.next()); group; group = PARLEY_TRY(walk.next())) {
    PARLEY_TRY(step());
    TagDepth depth{.tag = groups_[*group].key.load_relaxed(), .messages = 0};
    for (auto at = low_half(groups_[*group].list.load_relaxed()); at != 0; ++depth.messages) {
      if (at > slots_.size() || ++steps > slots_.size()) return failure(Error::corrupt);
      PARLEY_TRY(step());
      const auto behind = high_half(slots_[at - 1].by_tag.load_relaxed());
      at = PARLEY_TRY(next_queued(nothing, &shm::MessageSlot::by_tag, behind));
    }
    if (depth.messages != 0) all.push_back(depth);
  }
  return all;
}

}  // namespace parley
