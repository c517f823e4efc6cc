// MessageQueue: messages with tags and priorities in shared memory, which survive who holds them.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/object.hpp>
#include <parley/os/descriptor.hpp>

namespace parley {

struct MessageQueueOptions {
  mode_t mode = 0600;               ///< Of a named object's file, as it is: no umask is applied.
  std::uint32_t participants = 64;  ///< At most at one time; up to 8175.
  std::uint32_t waiters = 128;      ///< Calls that wait at one time at most; up to 65535.
  std::uint32_t messages = 65536;   ///< At most, with those that are held; up to 2^24.
  /// Of all messages together at most; up to 2^37 (128 GiB).
  std::uint64_t bytes = std::uint64_t{64} << 20U;
  /// The longest message; at most `bytes`, and up to 2^30 (1 GiB). 0: 1 MiB, or `bytes` if that is
  /// less.
  std::uint32_t message_bytes = 0;
  /// How often a message may come back from holders that died, before it moves to the dead
  /// letters; up to 65534. Of no meaning without `dead_letter_tag`.
  std::uint32_t redeliveries = 0;
  std::optional<std::uint64_t> dead_letter_tag = std::nullopt;
  std::uint32_t note = 0;  ///< The creator's word to all who open it; means nothing to the queue.
};

/// Which message a receiver wants. Among several that fit, the oldest.
class Selection {
 public:
  enum class Kind : std::uint8_t { oldest, tag, up_to, except, highest };

  /// Whatever it is.
  static constexpr auto oldest() noexcept -> Selection { return {Kind::oldest, 0}; }
  static constexpr auto tag(std::uint64_t tag) noexcept -> Selection { return {Kind::tag, tag}; }
  /// Of the lowest tag that is there and at most `tag`.
  static constexpr auto up_to(std::uint64_t tag) noexcept -> Selection {
    return {Kind::up_to, tag};
  }
  /// Of any other tag.
  static constexpr auto except(std::uint64_t tag) noexcept -> Selection {
    return {Kind::except, tag};
  }
  /// Of the highest priority that is there.
  static constexpr auto highest() noexcept -> Selection { return {Kind::highest, 0}; }

  [[nodiscard]] constexpr auto kind() const noexcept -> Kind { return kind_; }
  [[nodiscard]] constexpr auto number() const noexcept -> std::uint64_t { return number_; }

 private:
  constexpr Selection(Kind kind, std::uint64_t number) noexcept : kind_(kind), number_(number) {}

  Kind kind_;
  std::uint64_t number_;
};

/// What a sender writes on a message.
struct MessageOptions {
  std::uint64_t tag = 0;
  std::uint16_t priority = 0;  ///< For Selection::highest.
};

struct ReceiveOptions {
  Selection selection = Selection::oldest();
  /// What of a message does not fit is thrown away; `size_bytes` and `copied_bytes` tell.
  bool cut = false;
};

/// What is known of a message.
struct Received {
  std::size_t size_bytes;
  std::size_t copied_bytes;  ///< Less where it was cut.
  std::uint64_t tag;
  std::uint16_t priority;
  std::uint64_t sequence;      ///< Ascending in the order of arrival, from 1.
  std::uint32_t redeliveries;  ///< How often it came back from a holder that died.
  /// The tag it was sent with, where it was moved to the dead letters.
  std::optional<std::uint64_t> dead_letter_of;
};

struct TagDepth {
  std::uint64_t tag;
  std::size_t messages;  ///< That can be had.
};

/// Who sent the message that a listener was told of, as it knew itself; zeros where a later
/// listener was told since.
struct Arrival {
  pid_t process;
  uid_t user;
};

/// Bounds below those that a queue was made with.
struct MessageQueueLimits {
  std::uint64_t bytes;  ///< Of all messages together.
  std::uint32_t messages;
};

struct MessageQueueStatus {
  std::size_t participants;  ///< That take part now.
  std::size_t messages;      ///< With those that are held and reserved, here and in `bytes`.
  std::uint64_t bytes;
  std::size_t taken;             ///< Messages that a participant holds.
  std::size_t reserved;          ///< Messages that are being written.
  std::size_t messages_at_most;  ///< As `limit` left it, here and in `bytes_at_most`.
  std::uint64_t bytes_at_most;
  std::size_t message_bytes_at_most;
  std::size_t memory_bytes;  ///< That the object has taken from the system.
  std::size_t receivers_waiting;
  std::size_t senders_waiting;
  pid_t last_sender;  ///< As it knows itself; 0: none yet.
  pid_t last_receiver;
  std::optional<std::chrono::sys_seconds> last_send;
  std::optional<std::chrono::sys_seconds> last_receive;
  std::chrono::sys_seconds last_change;  ///< Creation or `limit`.
};

class TakenMessage;
class ReservedMessage;

/// Messages from any number of senders to any number of receivers, which choose among them by tag
/// or by priority: msgop(2) and mq_overview(7) in shared memory, without a system's limits.
///
/// A message is delivered once. What a process had taken and not acknowledged when it died returns
/// to its old place, marked as redelivered; what it had not published was never sent.
/// What all objects have in common, also the errors of `create`, `open` and `adopt`: object.hpp.
///
/// The memory of messages is taken as it is used, and given back when the queue has drained; that
/// of calls that wait is taken likewise, and kept. A call
/// that would need more than there is fails with `no_space`, and the queue is as before.
class MessageQueue {
 public:
  /// A new queue without a name. `invalid` for options out of their bounds.
  static auto create(const MessageQueueOptions& options = {}) -> Result<MessageQueue>;

  /// The same, with a name. `exists` if it is taken.
  static auto create(std::string_view name, const MessageQueueOptions& options = {})
      -> Result<MessageQueue>;

  static auto open(std::string_view name) -> Result<MessageQueue>;

  /// The queue of that name, as it is, or a new one.
  static auto open_or_create(std::string_view name, const MessageQueueOptions& options = {})
      -> Result<MessageQueue>;

  /// Takes a received or inherited descriptor.
  static auto adopt(os::OwnedFd fd) -> Result<MessageQueue>;

  /// Takes the name away; who uses the queue goes on. unlink(2)
  static auto unlink(std::string_view name) -> Result<void>;

  MessageQueue(MessageQueue&&) noexcept;
  auto operator=(MessageQueue&&) noexcept -> MessageQueue&;
  MessageQueue(const MessageQueue&) = delete;
  auto operator=(const MessageQueue&) -> MessageQueue& = delete;
  /// Ends this participation, once its messages that are taken or reserved are gone too.
  ~MessageQueue();

  /// To hand on. None once it was closed.
  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd;
  /// Closes the descriptor: the queue is then opened by its name for a moment where one is needed,
  /// so a program may have more objects than descriptors, and may close those it has not opened. If
  /// the name is gone or another's, what needs one is `removed`. `invalid` for a queue without a
  /// name; not while another thread uses this handle.
  auto close_descriptor() -> Result<void>;
  [[nodiscard]] auto message_bytes_at_most() const noexcept -> std::size_t;
  [[nodiscard]] auto note() const noexcept -> std::uint32_t;

  /// Of this handle; `adaptive` at first.
  void set_wait_strategy(WaitStrategy strategy) noexcept;

  // All of these: `removed` if the queue is removed, also while they wait. `no_space` if they would
  // have to wait and as many as the queue takes already do. `would_block` under `Deadline::now()`
  // where they would have to wait. `busy` where others hold the queue up, or have left so much to
  // be cleaned up, that the call's time is over before its turn; nothing has happened then.

  /// Copies a message in, waiting for room. `message_too_long` over the queue's longest.
  auto send(std::span<const std::byte> message, const MessageOptions& options, Deadline deadline)
      -> Result<void>;

  /// Copies the message out that is selected and removes it, waiting for one. Who waits is served
  /// first come, first served. If it is longer than `into` it stays where it is: `too_big`.
  auto receive(std::span<std::byte> into, const ReceiveOptions& options, Deadline deadline)
      -> Result<Received>;
  auto receive(std::span<std::byte> into, Deadline deadline) -> Result<Received> {
    return receive(into, {}, deadline);
  }

  /// Copies a message out and leaves it. Never waits.
  auto peek(std::span<std::byte> into, const ReceiveOptions& options = {}) -> Result<Received>;
  /// The one at that position of those that can be had, from 0. The selection does not matter.
  auto peek_at(std::size_t position, std::span<std::byte> into, const ReceiveOptions& options = {})
      -> Result<Received>;

  /// Holds the message that is selected, waiting for one, until it is acknowledged or given back;
  /// nobody else gets it meanwhile. If this process dies first, it returns to its old place.
  auto take(Selection selection, Deadline deadline) -> Result<TakenMessage>;

  /// Room for a message, to be written in place, waiting for it. `message_too_long` as `send`.
  auto reserve(std::size_t size_bytes, Deadline deadline) -> Result<ReservedMessage>;

  /// Asks to be told of the next message that arrives while the queue is empty and no call waits
  /// for one: mq_notify(3). There is one listener at a time: `busy`. It ends with that message,
  /// with this handle, or with its process. What is returned names it.
  auto listen() -> Result<std::uint64_t>;
  /// Waits for that message, or for `stop_listening`. Only of this handle's own listener.
  auto await_arrival(std::uint64_t listener, Deadline deadline) -> Result<Arrival>;
  /// False where the message has come already.
  auto stop_listening(std::uint64_t listener) -> Result<bool>;

  auto status() -> Result<MessageQueueStatus>;
  /// Of the tags of which there are messages, lowest first.
  auto depths() -> Result<std::vector<TagDepth>>;

  /// From now on senders wait when the messages would be more than this. `invalid` over what the
  /// queue was made with.
  auto limit(const MessageQueueLimits& limits) -> Result<void>;

  /// Ends the queue for all: who waits, and every later call of anybody, gets `removed`; the
  /// messages are gone. The name, if it has one, stays until `unlink`.
  auto remove() -> Result<void>;

 private:
  friend class TakenMessage;
  friend class ReservedMessage;
  class State;
  explicit MessageQueue(std::shared_ptr<State> state) noexcept;

  std::shared_ptr<State> state_;
};

/// A message that this participant holds, in place. Where it goes without a word, it is given back.
/// It belongs to its process: to a child of fork(2) all its calls are `not_permitted`.
class TakenMessage {
 public:
  TakenMessage(TakenMessage&& other) noexcept;
  auto operator=(TakenMessage&& other) noexcept -> TakenMessage&;
  TakenMessage(const TakenMessage&) = delete;
  auto operator=(const TakenMessage&) -> TakenMessage& = delete;
  ~TakenMessage();

  /// Where it lies, at a multiple of 64. Of memory that a peer could write to.
  [[nodiscard]] auto bytes() const noexcept -> std::span<const std::byte> { return bytes_; }
  [[nodiscard]] auto about() const noexcept -> const Received& { return about_; }

  /// Removes it: it is done with. `invalid` for one that is acknowledged or given back already.
  auto acknowledge() -> Result<void>;

  /// Puts it back to where it was, for others, not marked as redelivered.
  auto give_back() -> Result<void>;

 private:
  friend class MessageQueue;
  TakenMessage() = default;

  std::shared_ptr<MessageQueue::State> state_;  ///< None where it is done with.
  std::span<const std::byte> bytes_;
  Received about_{};
  std::uint32_t slot_ = 0;
  std::uint64_t word_ = 0;
};

/// Room for a message that is being written in place. Where it goes unpublished, it is free again.
/// It belongs to its process, as TakenMessage.
class ReservedMessage {
 public:
  ReservedMessage(ReservedMessage&& other) noexcept;
  auto operator=(ReservedMessage&& other) noexcept -> ReservedMessage&;
  ReservedMessage(const ReservedMessage&) = delete;
  auto operator=(const ReservedMessage&) -> ReservedMessage& = delete;
  ~ReservedMessage();

  /// To be written, at a multiple of 64; what it holds at first is anything.
  [[nodiscard]] auto bytes() const noexcept -> std::span<std::byte> { return bytes_; }

  /// Sends it. `no_space` where there is no memory for a new tag or priority; it is then still
  /// reserved. `invalid` for one that is published already.
  auto publish(const MessageOptions& options = {}) -> Result<void>;

 private:
  friend class MessageQueue;
  ReservedMessage() = default;

  std::shared_ptr<MessageQueue::State> state_;
  std::span<std::byte> bytes_;
  std::uint32_t slot_ = 0;
  std::uint64_t word_ = 0;
};

}  // namespace parley
