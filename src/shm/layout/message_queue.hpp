// The body of a MessageQueue.
//
//   0    MessageQueueBody        264   what changes, then what does not
//   320  JournalEntry × message_journal_entries
//        ArenaClasses                  where the arena's free blocks are
//        holdings × place_count        8 each: the list of what a participant holds
//        Waiter × waiters              32 + 24 each
//        MessageSlot × messages        128 each, from a multiple of 4096 on
//        MessageGroup × 2 * messages + 3, 64 each, from a multiple of 4096 on
//        arena                         blocks of units of 64, from a multiple of 4096 on
//
// All of it is written by the latch's holder alone, except `Waiter::state`, the payload of a
// message that is reserved, and the state of one that is held: its holder may say that it is done.
//
// Waiters, slots, groups and arena have memory up to their marks `backed_…` only; the rest of the
// file is a hole. Indexes of slots, groups, blocks and places in words are one more than what they
// name, so that 0 is none.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/layout/journal.hpp"
#include "shm/layout/latch.hpp"
#include "shm/layout/parts.hpp"
#include "shm/layout/waiting_line.hpp"

namespace parley::shm {

inline constexpr std::uint32_t message_queue_version = 3;

using Word = Atomic<std::uint64_t>;

struct MessageQueueBody {
  LatchWords latch;  ///< See shm/latch.hpp.
  Journal journal;
  LineEnds line;    ///< Of those who wait.
  Word load;        ///< What is used of the bounds: messages in bits 0 to 24, bytes above.
  Word order;       ///< The list of all messages, oldest first.
  Word slots;       ///< Of the free ones: the first in the low half; the mark above, from which on
                    ///< none was ever used.
  Word groups;      ///< Likewise.
  Word tags;        ///< Tree of the groups by tag: its root in the low half; above, one that may be
                    ///< empty.
  Word priorities;  ///< Likewise, by priority; only of messages whose priority is not 0.
  Word sequence;    ///< Of the next message.
  Word last_send;   ///< Seconds since 1970 in the low half, the process above; 0: none yet.
  Word last_receive;  ///< Likewise.
  Word arena;         ///< In units: where it ends, in the low half; its last block above.
  Word arena_sizes;   ///< Bit n: there is a free block in row n of ArenaClasses.
  Word limit;         ///< Senders wait when `load` would be more, in either part.
  Word last_change;   ///< Seconds since 1970.
  Word removed;       ///< 1 once it is.
  Word backed_slots;  ///< So many have memory.
  Word backed_groups;
  Word backed_arena;  ///< In units.
  Word trims;         ///< How often memory was given back; odd while it is under way.
  Word unserved;      ///< 1: serving those who wait was broken off.
  // From here on nothing changes after creation.
  Word bytes;
  Word dead_letter_tag;
  Atomic<std::uint32_t> messages;
  Atomic<std::uint32_t> message_bytes;
  Atomic<std::uint32_t> waiters;
  Atomic<std::uint32_t> redeliveries;      ///< More than these make a dead letter.
  Atomic<std::uint32_t> has_dead_letters;  ///< 1: there is a tag for them.
  Atomic<std::uint32_t> note;              ///< The creator's; means nothing here.
  // These change again.
  Word backed_waiters;  ///< So many have memory.
  Word listener;        ///< Who is told of the next arrival: see MessageListener.
  Word told;            ///< As `listener` was for the last one that was told.
  Word told_by;         ///< Who sent that message: its process in the low half, its user above.
};
static_assert(offsetof(MessageQueueBody, latch) == 0);
static_assert(offsetof(MessageQueueBody, journal) == 8);
static_assert(offsetof(MessageQueueBody, line) == 24);
static_assert(offsetof(MessageQueueBody, load) == 40);
static_assert(offsetof(MessageQueueBody, order) == 48);
static_assert(offsetof(MessageQueueBody, slots) == 56);
static_assert(offsetof(MessageQueueBody, groups) == 64);
static_assert(offsetof(MessageQueueBody, tags) == 72);
static_assert(offsetof(MessageQueueBody, priorities) == 80);
static_assert(offsetof(MessageQueueBody, sequence) == 88);
static_assert(offsetof(MessageQueueBody, last_send) == 96);
static_assert(offsetof(MessageQueueBody, last_receive) == 104);
static_assert(offsetof(MessageQueueBody, arena) == 112);
static_assert(offsetof(MessageQueueBody, arena_sizes) == 120);
static_assert(offsetof(MessageQueueBody, limit) == 128);
static_assert(offsetof(MessageQueueBody, last_change) == 136);
static_assert(offsetof(MessageQueueBody, removed) == 144);
static_assert(offsetof(MessageQueueBody, backed_slots) == 152);
static_assert(offsetof(MessageQueueBody, backed_groups) == 160);
static_assert(offsetof(MessageQueueBody, backed_arena) == 168);
static_assert(offsetof(MessageQueueBody, trims) == 176);
static_assert(offsetof(MessageQueueBody, unserved) == 184);
static_assert(offsetof(MessageQueueBody, bytes) == 192);
static_assert(offsetof(MessageQueueBody, dead_letter_tag) == 200);
static_assert(offsetof(MessageQueueBody, messages) == 208);
static_assert(offsetof(MessageQueueBody, message_bytes) == 212);
static_assert(offsetof(MessageQueueBody, waiters) == 216);
static_assert(offsetof(MessageQueueBody, redeliveries) == 220);
static_assert(offsetof(MessageQueueBody, has_dead_letters) == 224);
static_assert(offsetof(MessageQueueBody, note) == 228);
static_assert(offsetof(MessageQueueBody, backed_waiters) == 232);
static_assert(offsetof(MessageQueueBody, listener) == 240);
static_assert(offsetof(MessageQueueBody, told) == 248);
static_assert(offsetof(MessageQueueBody, told_by) == 256);
static_assert(sizeof(MessageQueueBody) == 264 && std::is_standard_layout_v<MessageQueueBody>);

/// Two halves of a word: indexes, mostly.
constexpr auto low_half(std::uint64_t word) -> std::uint32_t {
  return static_cast<std::uint32_t>(word);
}
constexpr auto high_half(std::uint64_t word) -> std::uint32_t {
  return static_cast<std::uint32_t>(word >> 32U);
}
constexpr auto halves(std::uint32_t low, std::uint32_t high) -> std::uint64_t {
  return std::uint64_t{high} << 32U | low;
}

inline constexpr std::uint32_t messages_at_most = 1U << 24U;
inline constexpr std::uint32_t message_bytes_at_most = 1U << 30U;
inline constexpr std::uint64_t queue_bytes_at_most = std::uint64_t{1} << 37U;

/// Of `load` and `limit`.
inline constexpr unsigned load_bytes_shift = 25;
inline constexpr std::uint64_t load_messages_bits = (std::uint64_t{1} << load_bytes_shift) - 1;

/// The parts of such a word.
struct MessageLoad {
  std::uint64_t messages;
  std::uint64_t bytes;

  static constexpr auto unpack(std::uint64_t word) -> MessageLoad {
    return {.messages = word & load_messages_bits, .bytes = word >> load_bytes_shift};
  }
  [[nodiscard]] constexpr auto pack() const -> std::uint64_t {
    return messages | bytes << load_bytes_shift;
  }
};

/// The longest payload that a slot holds itself.
inline constexpr std::size_t inline_bytes = 64;

/// A list's word: the first message in it that can be had in the low half, the last of all above.
/// Its links: the message before in the low half, the one behind above.
struct MessageSlot {
  Word state;  ///< Bits 0 to 2 MessageKind, 3 to 15 the holder's place, 16 to 63 the sequence.
  Word tag;
  Word shape;   ///< Bits 0 to 30 size, 31 to 46 priority, 47 to 62 redeliveries, 63 dead letter.
  Word where;   ///< Its block in the arena in the low half, 0 for none; above its tag's group.
  Word order;   ///< Links in the order of arrival.
  Word by_tag;  ///< Links among those of its tag.
  Word by_priority;  ///< Links among those of its priority; of a dead letter: the tag it had.
  Word held;         ///< Links among those of its holder. Of a free one: the next free one.
  std::array<std::byte, inline_bytes> payload;  ///< Of a message that has no block.
};
static_assert(offsetof(MessageSlot, state) == 0);
static_assert(offsetof(MessageSlot, tag) == 8);
static_assert(offsetof(MessageSlot, shape) == 16);
static_assert(offsetof(MessageSlot, where) == 24);
static_assert(offsetof(MessageSlot, order) == 32);
static_assert(offsetof(MessageSlot, by_tag) == 40);
static_assert(offsetof(MessageSlot, by_priority) == 48);
static_assert(offsetof(MessageSlot, held) == 56);
static_assert(offsetof(MessageSlot, payload) == 64);
static_assert(sizeof(MessageSlot) == 128 && std::is_standard_layout_v<MessageSlot>);

enum MessageKind : std::uint64_t {
  message_reserved = 1,  ///< Being written by its holder.
  message_queued = 2,    ///< To be had.
  message_copied = 3,    ///< Being copied by a `receive`.
  message_taken = 4,
  message_moving = 5,    ///< In no list but its dead holder's: about to become a dead letter.
  message_finished = 6,  ///< To be removed: its holder could not have the latch.
  message_returned = 7   ///< To be put back, likewise.
};

/// A slot's state, in parts.
struct MessageState {
  MessageKind kind;
  std::uint32_t place;  ///< 0 where nobody holds it.
  std::uint64_t sequence;

  static constexpr auto unpack(std::uint64_t word) -> MessageState {
    return {.kind = static_cast<MessageKind>(word & 7U),
            .place = static_cast<std::uint32_t>(word >> 3U) & 0x1fffU,
            .sequence = word >> 16U};
  }
  [[nodiscard]] constexpr auto pack() const -> std::uint64_t {
    return kind | std::uint64_t{place} << 3U | sequence << 16U;
  }
};

/// A slot's shape, in parts.
struct MessageShape {
  std::uint32_t size;
  std::uint16_t priority;
  std::uint16_t redeliveries;
  bool dead_letter;

  static constexpr auto unpack(std::uint64_t word) -> MessageShape {
    return {.size = static_cast<std::uint32_t>(word) & 0x7fff'ffffU,
            .priority = static_cast<std::uint16_t>(word >> 31U),
            .redeliveries = static_cast<std::uint16_t>(word >> 47U),
            .dead_letter = word >> 63U != 0};
  }
  [[nodiscard]] constexpr auto pack() const -> std::uint64_t {
    return size | std::uint64_t{priority} << 31U | std::uint64_t{redeliveries} << 47U |
           std::uint64_t{dead_letter} << 63U;
  }
};

/// The word of a listener, in parts: another one each time that somebody listens.
struct MessageListener {
  std::uint32_t place;   ///< Bits 0 to 12; 0 where nobody listens.
  std::uint64_t number;  ///< Bits 13 to 63: how many there were.

  static constexpr auto unpack(std::uint64_t word) -> MessageListener {
    return {.place = static_cast<std::uint32_t>(word) & 0x1fffU, .number = word >> 13U};
  }
  [[nodiscard]] constexpr auto pack() const -> std::uint64_t { return place | number << 13U; }
};

/// The messages of one tag or of one priority; and, in the same tree, one of its inner nodes,
/// which lies on the way from the root to this very group.
///
/// A reference in a tree: 0 none, 2 * (index + 1) a group, 2 * (index + 1) + 1 the node in it.
struct MessageGroup {
  Word key;       ///< The tag, or all ones less the priority.
  Word list;      ///< Of its messages.
  Word children;  ///< The node's: where its bit of the key is 0 in the low half, where it is 1
                  ///< above.
  Word bit;       ///< Which bit it decides by, 0 to 63; `no_node` where the node is not used.
  Word free;      ///< Of a free group: the next free one.
  std::array<std::uint64_t, 3> unused;  ///< Zero.
};
static_assert(offsetof(MessageGroup, key) == 0);
static_assert(offsetof(MessageGroup, list) == 8);
static_assert(offsetof(MessageGroup, children) == 16);
static_assert(offsetof(MessageGroup, bit) == 24);
static_assert(offsetof(MessageGroup, free) == 32);
static_assert(offsetof(MessageGroup, unused) == 40);
static_assert(sizeof(MessageGroup) == 64 && std::is_standard_layout_v<MessageGroup>);

inline constexpr std::uint64_t no_node = 64;

/// The arena: blocks, one behind the other, without a gap. Its last block is never free, and no two
/// free ones are neighbours. Sizes and places are in units.
inline constexpr std::size_t arena_unit = 64;

/// What a block begins with; its payload follows.
struct ArenaBlock {
  Word extent;  ///< Its size, with this, in the low half; that of the block before it above.
  Word owner;   ///< The slot whose payload it is; 0: free.
  Word links;   ///< Of a free one: before it in its class, in the low half, and behind it.
  std::array<std::uint64_t, 5> unused;
};
static_assert(offsetof(ArenaBlock, extent) == 0);
static_assert(offsetof(ArenaBlock, owner) == 8);
static_assert(offsetof(ArenaBlock, links) == 16);
static_assert(offsetof(ArenaBlock, unused) == 24);
static_assert(sizeof(ArenaBlock) == arena_unit && std::is_standard_layout_v<ArenaBlock>);

inline constexpr std::uint32_t arena_rows = 28;
inline constexpr std::uint32_t arena_columns = 32;

/// Free blocks by size: row 0 has sizes 0 to 31; row r those from 2^(r + 4) to 2^(r + 5), in 32
/// columns.
struct ArenaClasses {
  std::array<Word, arena_rows> columns;  ///< Bit n: there is a block in column n of that row.
  std::array<Word, std::size_t{arena_rows} * arena_columns> first;
};
static_assert(offsetof(ArenaClasses, columns) == 0);
static_assert(offsetof(ArenaClasses, first) == 224);
static_assert(sizeof(ArenaClasses) == 7392 && std::is_standard_layout_v<ArenaClasses>);

/// What a call that waits wants, in `Waiter::request`; MessageSelector in bits 8 and up.
enum MessageRequest : std::uint32_t {
  request_receive = 1,
  request_receive_cut = 2,  ///< Whatever its length.
  request_take = 3,
  request_send = 4
};

enum MessageSelector : std::uint32_t {
  select_oldest = 0,
  select_tag = 1,
  select_up_to = 2,
  select_except = 3,
  select_highest = 4
};

/// The words of a record: the tag or the size it wants, the length that it takes at most, and the
/// slot that it was granted.
inline constexpr std::size_t message_waiter_words = 3;

/// Decisions of a call that waits, beside those of WaiterState.
enum MessageDecision : std::uint64_t {
  waiter_too_big = 12,  ///< The message that it selects is longer than what it takes.
  waiter_again = 16,    ///< There is room, but memory is to be had for it first.
  waiter_given_up = 20  ///< Granted, but its call did not get the latch: to be taken back.
};

inline constexpr std::size_t message_journal_entries = 80;

/// What the sizes of a queue's parts follow from.
struct MessageQueueShape {
  std::uint32_t messages;
  std::uint32_t message_bytes;
  std::uint64_t bytes;
  std::uint32_t waiters;
  std::uint32_t place_count;

  // Offsets in the body, and its end, in bytes.
  [[nodiscard]] constexpr auto journal() const -> std::size_t { return 320; }
  [[nodiscard]] constexpr auto arena_classes() const -> std::size_t {
    return journal() + message_journal_entries * sizeof(JournalEntry);
  }
  [[nodiscard]] constexpr auto holdings() const -> std::size_t {
    return arena_classes() + sizeof(ArenaClasses);
  }
  [[nodiscard]] constexpr auto waiter_records() const -> std::size_t {
    return holdings() + place_count * sizeof(Word);
  }
  [[nodiscard]] constexpr auto waiter_bytes() const -> std::size_t {
    return sizeof(Waiter) + message_waiter_words * sizeof(Word);
  }
  [[nodiscard]] constexpr auto waiter_parts() const -> PartsShape {
    return {.begin = waiter_records(), .each_bytes = waiter_bytes(), .most = waiters};
  }
  [[nodiscard]] constexpr auto slots() const -> std::size_t {
    return page_up(waiter_records() + waiters * waiter_bytes());
  }
  [[nodiscard]] constexpr auto groups() const -> std::size_t {
    return page_up(slots() + messages * sizeof(MessageSlot));
  }
  /// One of each kind for each message; one of each that is empty; and that of dead letters.
  [[nodiscard]] constexpr auto group_count() const -> std::uint32_t { return 2 * messages + 3; }
  [[nodiscard]] constexpr auto arena() const -> std::size_t {
    return page_up(groups() + group_count() * sizeof(MessageGroup));
  }
  /// Twice what the messages need at most, since they leave gaps. Only what is used has memory.
  [[nodiscard]] constexpr auto arena_units() const -> std::uint32_t {
    if (message_bytes <= inline_bytes) return 0;
    const auto payload = std::min(bytes, std::uint64_t{messages} * message_bytes);
    const auto blocks = std::min<std::uint64_t>(messages, payload / (inline_bytes + 1) + 1);
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(2 * (payload / arena_unit + 2 * blocks), 0xffff'fff0U));
  }
  [[nodiscard]] constexpr auto body_bytes() const -> std::size_t {
    return page_up(arena() + arena_units() * arena_unit);
  }
};

}  // namespace parley::shm
