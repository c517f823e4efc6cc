// The messages of a queue, who holds them and who waits: all that is done under the queue's latch.
//
// A message is a slot in three lists: of all messages, of those of its tag, and, where it has one,
// of those of its priority; each in the order of arrival. What is held stays where it is in them,
// so to put it back is to change its state.
//
// Owners      the latch's holder; the payload of a message that is held: its holder. The state of a
//             held message: also its holder, by one store, to say that it is done.
// Invariants  I1 all of it changes in transactions only, so that after a recovery it is that of
//                some moment between two calls. (The times are only told.) What is not reachable
//                before a transaction is written without it.
//             I2 a list's word names the first message in it that is queued.
//             I3 a message that is held or reserved is in the list of its holder's place, and
//                nothing else is; `load` counts it.
//             I4 a group without messages is in its tree only if it is the one that `tags` or
//                `priorities` names, or that of dead letters.
//             I5 whenever the latch is free, no call in the line could proceed (but see Crash), or
//                `unserved` is set: see objects/semaphore_table.hpp, which has the edge UNSERVED.
// Limits      A walk over more than the line's records ends with the call's time: `busy`, and
//             nothing has happened.
// Crash       A holder that dies between its change and the serving of the line breaks I5; whoever
//             takes the latch over serves. What the dead held is put back by `bury`, what they had
//             reserved is freed, and their calls leave the line.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <parley/message_queue.hpp>

#include "objects/message_arena.hpp"
#include "objects/message_index.hpp"
#include "objects/time_limit.hpp"
#include "objects/waiting_line.hpp"
#include "shm/draft.hpp"
#include "shm/layout/message_queue.hpp"
#include "shm/segment.hpp"
#include "shm/transaction.hpp"

namespace parley {

/// What must have memory before a call can be done: the parts of a queue that grow.
enum class MessageArea : std::uint8_t { slots, groups, arena };

/// So many of an area's slots, groups or units.
struct MessageMark {
  MessageArea area;
  std::uint64_t count;
};

/// How a message is labelled.
struct MessageLabel {
  std::uint64_t tag;
  std::uint16_t priority;
};

class MessageTable {
 public:
  /// Checks that the body holds what it says: `corrupt`.
  static auto of(std::span<std::byte> body, std::uint32_t place_count) -> Result<MessageTable>;

  /// What is fixed when a queue is made.
  struct Terms {
    std::uint32_t redeliveries;
    std::optional<std::uint64_t> dead_letter_tag;
    std::uint32_t note;
  };
  /// Writes a new queue into a body that is all zeros.
  static void create(std::span<std::byte> body, const shm::MessageQueueShape& shape,
                     const Terms& terms);
  /// Where a new queue's body must have memory.
  static auto backed_at_first(const shm::MessageQueueShape& shape) -> std::array<shm::ByteRange, 3>;

  [[nodiscard]] auto shape() const noexcept -> const shm::MessageQueueShape& { return shape_; }
  [[nodiscard]] auto body() const noexcept -> shm::MessageQueueBody& { return body_; }
  [[nodiscard]] auto line() const noexcept -> const WaitingLine& { return line_; }
  [[nodiscard]] auto latch_words() const noexcept -> shm::LatchWords& { return body_.latch; }
  [[nodiscard]] auto is_removed() const noexcept -> bool {
    return body_.removed.load_relaxed() != 0;
  }
  [[nodiscard]] auto somebody_waits() const noexcept -> bool { return !line_.is_empty(); }

  /// For all walks until the latch is released.
  void limit_by(TimeLimit& limit) noexcept { limit_ = &limit; }

  auto recover() -> Result<void>;
  /// `busy`: not all of it, since the time is over.
  auto bury(std::uint32_t place) -> Result<void>;
  /// Lets everybody proceed who can, or until the time is over: then `is_unserved`.
  auto serve(WakeList& wakes, TimeLimit& limit) -> Result<void>;
  [[nodiscard]] auto is_unserved() const noexcept -> bool {
    return body_.unserved.load_acquire() != 0;  // UNSERVED
  }
  /// Has somebody who waits go on serving.
  void hand_on() const noexcept;
  void wake_decided(WakeList& wakes) const noexcept;
  auto remove(WakeList& wakes) -> Result<void>;

  // What takes room fails with `would_block` where there is none, and with `no_buffer_space` where
  // memory is to be had first: `wanted()` says how much. Nothing has happened then.

  auto send(std::span<const std::byte> payload, MessageLabel label, Caller caller) -> Result<void>;

  /// A slot, for the caller to write and to publish.
  auto reserve(std::uint32_t size_bytes, Caller caller) -> Result<std::uint32_t>;
  /// Finds a place in the arena for a reservation that was granted without one.
  auto furnish(std::uint32_t slot) -> Result<void>;
  auto publish(std::uint32_t slot, MessageLabel label, Caller caller) -> Result<void>;

  /// The message that is selected: its slot. `would_block` where there is none.
  [[nodiscard]] auto find(Selection selection) const -> Result<std::uint32_t>;
  /// The one at that position among those that can be had, from 0.
  [[nodiscard]] auto at(std::size_t position) const -> Result<std::uint32_t>;

  /// As much as there is room for: how much that is.
  static auto copy(std::span<const std::byte> from, std::span<std::byte> into) noexcept
      -> std::size_t;
  /// Copies a queued message out and removes it.
  auto receive(std::uint32_t slot, std::span<std::byte> into, Caller caller) -> Result<void>;
  /// Keeps a queued message for a participant.
  auto hold(std::uint32_t slot, shm::MessageKind kind, Caller caller) -> Result<void>;
  /// Of a held message, or a reservation.
  auto finish(std::uint32_t slot) -> Result<void>;
  auto receive_held(std::uint32_t slot, Caller caller) -> Result<void>;
  auto put_back(std::uint32_t slot) -> Result<void>;
  /// What this participant could not do before because it did not get the latch.
  auto settle(std::uint32_t place) -> Result<void>;

  /// What a slot says of its message.
  struct Description {
    std::uint64_t state;
    shm::MessageShape shape;
    std::uint64_t tag;
    std::uint64_t original_tag;
  };
  [[nodiscard]] auto describe(std::uint32_t slot) const -> Description;
  /// The bytes of a message that is not free.
  [[nodiscard]] auto payload(std::uint32_t slot) const -> Result<std::span<std::byte>>;
  /// For its holder, without the latch: that it is done, one way or the other.
  void leave_to_settle(std::uint32_t slot, shm::MessageKind kind) noexcept;
  /// Whether a slot is still what it was when its holder got it.
  [[nodiscard]] auto is_still(std::uint32_t slot, std::uint64_t state) const noexcept -> bool {
    return slot < shape_.messages && slots_[slot].state.load_relaxed() == state;  // we hold it
  }

  /// Puts a call at the end of the line: the index of its record.
  struct Wish {
    shm::MessageRequest request;
    Selection selection;
    std::uint64_t bytes;  ///< That it brings, or takes at most.
  };
  auto enqueue(const Wish& wish, Caller caller) -> Result<std::uint32_t>;
  /// What a granted record was granted.
  [[nodiscard]] auto granted_slot(std::uint32_t record) const -> Result<std::uint32_t>;

  // Of objects/message_listener.cpp.
  auto listen(std::uint32_t place) -> Result<std::uint64_t>;
  auto stop_listening(std::uint64_t listener, WakeList& wakes) -> Result<bool>;
  [[nodiscard]] auto arrival(std::uint64_t listener) const -> Arrival;
  /// After a change that may have told a listener.
  void wake_told(WakeList& wakes) noexcept {
    if (tells_) [[unlikely]]
      wakes.add(body_.listener.futex_word());
    tells_ = false;
  }

  /// What senders wait for: at most the bounds that the queue was made with.
  [[nodiscard]] auto limit() const noexcept -> shm::MessageLoad;
  auto set_limit(shm::MessageLoad most) -> Result<void>;
  [[nodiscard]] auto messages() const noexcept -> std::uint32_t;
  [[nodiscard]] auto bytes() const noexcept -> std::uint64_t;

  struct Waiting {
    std::size_t receivers = 0;
    std::size_t senders = 0;
  };
  [[nodiscard]] auto waiting() const -> Result<Waiting>;
  struct Held {
    std::size_t taken = 0;  ///< Or being copied.
    std::size_t reserved = 0;
  };
  [[nodiscard]] auto held() const -> Result<Held>;
  /// Messages that can be had, by tag, lowest first.
  [[nodiscard]] auto depths() const -> Result<std::vector<TagDepth>>;

  [[nodiscard]] auto wanted() const noexcept -> MessageMark { return wanted_; }
  [[nodiscard]] auto backed(MessageArea area) const noexcept -> shm::Word&;
  /// Where such a part of an area lies in the body.
  [[nodiscard]] auto range_of(MessageArea area, std::uint64_t from, std::uint64_t to) const noexcept
      -> shm::ByteRange;
  [[nodiscard]] auto most_of(MessageArea area) const noexcept -> std::uint64_t;
  /// What an empty queue keeps.
  [[nodiscard]] static auto kept(MessageArea area) noexcept -> std::uint64_t;

  /// Nothing is queued, held or reserved, and more memory is there than an empty queue keeps.
  [[nodiscard]] auto is_to_be_trimmed() const noexcept -> bool;
  /// Memory is being given back; or somebody died at it.
  [[nodiscard]] auto is_trimming() const noexcept -> bool {
    return body_.trims.load_relaxed() % 2 != 0;
  }
  /// Forgets all slots and groups that were ever used; the arena has none anyway.
  auto forget_all() -> Result<void>;

 private:
  MessageTable(std::span<std::byte> body, const shm::MessageQueueShape& shape) noexcept;

  using Link = shm::Word shm::MessageSlot::*;

  /// The one group that is always there, if there are dead letters.
  static constexpr std::uint32_t dead_letter_group = 0;

  [[nodiscard]] auto tags() const noexcept -> MessageIndex { return {body_.tags, groups_}; }
  [[nodiscard]] auto priorities() const noexcept -> MessageIndex {
    return {body_.priorities, groups_};
  }
  [[nodiscard]] auto has_dead_letters() const noexcept -> bool {
    return body_.has_dead_letters.load_relaxed() != 0;
  }
  auto commit(const shm::Draft& draft) -> Result<void>;

  // Slots and their room.
  struct Vacancy {
    std::uint32_t slot;
    std::span<std::byte> room;  ///< For the payload; nobody's before the slot is taken.
  };
  auto claim(shm::Draft& draft, std::uint32_t size_bytes, bool with_block) -> Result<Vacancy>;
  auto allocate(shm::Draft& draft, std::uint32_t size_bytes, std::uint32_t slot)
      -> Result<std::uint32_t>;
  auto release(shm::Draft& draft, std::uint32_t slot) -> Result<void>;
  auto reserve(shm::Draft& draft, std::uint32_t size_bytes, std::uint32_t place, bool with_block)
      -> Result<std::uint32_t>;
  auto claim_group(shm::Draft& draft) -> Result<std::uint32_t>;
  void note(shm::Word& last, Caller caller) const;

  // Lists.
  auto group_for(shm::Draft& draft, shm::Word& tree, std::uint64_t key) -> Result<std::uint32_t>;
  auto append(shm::Draft& draft, shm::Word& list, Link link, std::uint32_t slot) -> Result<void>;
  auto unlink(shm::Draft& draft, shm::Word& list, Link link, std::uint32_t slot) -> Result<void>;
  auto next_queued(const shm::Draft& draft, Link link, std::uint32_t from) const
      -> Result<std::uint32_t>;
  auto set_neighbour(shm::Draft& draft, Link link, std::uint32_t at, bool behind, std::uint32_t was,
                     std::uint32_t now) -> Result<void>;
  [[nodiscard]] auto first_of(const shm::Word& list) const -> Result<std::uint32_t>;
  auto leave_group(shm::Draft& draft, shm::Word& tree, std::uint32_t group) -> Result<void>;
  struct List {
    shm::Word* word;
    Link link;
    shm::Word* tree;      ///< Null for the list of all.
    std::uint32_t group;  ///< In the tree.
  };
  /// In which a message is: at most three.
  class Lists;
  auto lists_of(std::uint32_t slot) const -> Result<Lists>;
  auto link_all(shm::Draft& draft, std::uint32_t slot, MessageLabel label) -> Result<void>;
  auto unlink_all(shm::Draft& draft, std::uint32_t slot) -> Result<void>;

  // What participants hold.
  auto keep(shm::Draft& draft, std::uint32_t slot, std::uint32_t place) -> Result<void>;
  auto let_go(shm::Draft& draft, std::uint32_t slot) -> Result<void>;
  auto hold(shm::Draft& draft, std::uint32_t slot, shm::MessageKind kind, std::uint32_t place)
      -> Result<void>;
  auto put_back(std::uint32_t slot, bool again) -> Result<void>;
  auto bury_message(std::uint32_t slot, shm::MessageKind kind) -> Result<void>;
  auto begin_move(std::uint32_t slot) -> Result<void>;
  auto end_move(std::uint32_t slot) -> Result<void>;

  /// Before a message is put at the end of the queue.
  auto tell(shm::Draft& draft, Caller caller) -> Result<void>;
  void end_listener(shm::Draft& draft);

  /// `busy` where the time is over. For each step of a walk over what may be as long as the queue.
  [[nodiscard]] auto step() const noexcept -> Result<void>;

  auto serve_all(WakeList& wakes) -> Result<void>;
  auto serve_one(WaitingLine::Walk& walk, shm::Waiter& record, std::uint64_t seen, WakeList& wakes)
      -> Result<void>;
  auto read_wish(shm::Waiter& record) const -> Result<Wish>;
  auto attempt(shm::Draft& draft, const Wish& wish, std::uint32_t place) -> Result<std::uint32_t>;
  [[nodiscard]] auto first_in_order(const MessageIndex& index, std::uint64_t key) const
      -> Result<std::uint32_t>;
  [[nodiscard]] auto oldest_except(std::uint64_t tag) const -> Result<std::uint32_t>;

  std::span<std::byte> whole_;
  shm::MessageQueueShape shape_;
  shm::MessageQueueBody& body_;
  shm::JournalPlace journal_;
  std::span<shm::Word> holdings_;
  std::span<shm::MessageSlot> slots_;
  std::span<shm::MessageGroup> groups_;
  MessageArena arena_;
  WaitingLine line_;
  TimeLimit* limit_ = nullptr;  ///< Of who holds the latch.
  MessageMark wanted_{};
  bool tells_ = false;  ///< Whether the listener was told in this round of the latch.
};

}  // namespace parley
