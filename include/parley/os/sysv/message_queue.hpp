// System V message queues: messages with a type, by which a receiver chooses among them.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/os/sysv/permissions.hpp>

namespace parley::os::sysv {

/// Which message a receiver wants. A type is at least 1; anything else is `invalid` when it is
/// used.
class Selector {
 public:
  /// The oldest message, of whatever type.
  static constexpr auto oldest() noexcept -> Selector { return {Kind::oldest, 1}; }
  /// The oldest message of that type.
  static constexpr auto of_type(long type) noexcept -> Selector { return {Kind::of_type, type}; }
  /// The oldest message of the lowest type that is there and at most `type`.
  static constexpr auto lowest_up_to(long type) noexcept -> Selector {
    return {Kind::lowest_up_to, type};
  }
  /// The oldest message of any other type. MSG_EXCEPT
  static constexpr auto except(long type) noexcept -> Selector { return {Kind::except, type}; }

 private:
  enum class Kind { oldest, of_type, lowest_up_to, except };
  constexpr Selector(Kind kind, long type) noexcept : kind_(kind), type_(type) {}
  friend class MessageQueue;

  Kind kind_;
  long type_;
};

struct ReceiveOptions {
  /// MSG_NOERROR: what of a message does not fit is thrown away, and nothing says so.
  bool truncate = false;
};

/// A message that was received: its text is in the caller's buffer.
struct Received {
  long type;
  std::size_t size_bytes;
};

struct MessageQueueStatus {
  int id;
  Permissions permissions;
  std::size_t message_count;
  std::size_t size_bytes;      ///< Of all texts in the queue together.
  std::size_t capacity_bytes;  ///< msg_qbytes: senders wait when the texts would be more.
  pid_t last_sender;           ///< 0: none yet.
  pid_t last_receiver;
  std::optional<std::chrono::sys_seconds> last_send;
  std::optional<std::chrono::sys_seconds> last_receive;
  std::chrono::sys_seconds last_change;  ///< Creation, `set_access`, `set_capacity_bytes`.
};

/// IPC_INFO. What Linux reports but does not use is left out.
struct MessageLimits {
  std::size_t queues;                  ///< MSGMNI, in the system.
  std::size_t message_bytes;           ///< MSGMAX, of one text.
  std::size_t default_capacity_bytes;  ///< MSGMNB, what a new queue has.
};

/// MSG_INFO.
struct MessageUsage {
  std::size_t queues;
  std::size_t messages;
  std::size_t size_bytes;
};

/// A System V message queue. The handle is a number that may be copied at will: nothing happens to
/// the queue when it goes. The queue and its messages stay, whoever dies, until `remove` (or
/// ipcrm(1), or a restart). After that every call through any handle is `invalid`, and who was
/// waiting gets `removed`. sysvipc(7), msgget(2), msgop(2), msgctl(2)
class MessageQueue {
 public:
  /// `exists` if the key is taken; `no_space` over MSGMNI.
  static auto create(Key key, CreateOptions options = {}) -> Result<MessageQueue>;

  /// The queue of that key, or a new one.
  static auto open_or_create(Key key, CreateOptions options = {}) -> Result<MessageQueue>;

  /// `not_found` if there is none; `invalid` for the private key.
  static auto open(Key key, OpenOptions options = {}) -> Result<MessageQueue>;

  /// The queue of an id that was handed over or inherited. `invalid` if there is none.
  static auto adopt(int id) -> Result<MessageQueue>;

  [[nodiscard]] auto id() const noexcept -> int { return id_; }

  /// Puts a message at the end, waiting for room. An empty text is a message. `invalid` for a type
  /// under 1 or a text over MSGMAX; `removed` if the queue is removed meanwhile. A text over
  /// `capacity_bytes` never fits and waits for nothing but the deadline. Needs write permission.
  [[nodiscard]] auto send(long type, std::span<const std::byte> text, Deadline deadline) const
      -> Result<void>;

  /// Takes the message that `selector` wants, waiting for one. If its text is longer than `into`,
  /// it stays where it is, `too_big`, or is cut, under `truncate`; the kernel does not tell how
  /// long it is, but never over `limits().message_bytes`. `removed` if the queue is removed
  /// meanwhile. Needs read permission.
  [[nodiscard]] auto receive(Selector selector, std::span<std::byte> into, Deadline deadline,
                             ReceiveOptions options = {}) const -> Result<Received>;

  /// Copies the message at that position, from 0, and leaves it; nothing of the status changes and
  /// it never waits. `would_block` if there are not so many messages; `too_big` if its text is
  /// longer than `into` (it cannot be cut); `no_such_call` on a kernel without it
  /// (CONFIG_CHECKPOINT_RESTORE). MSG_COPY
  [[nodiscard]] auto peek(std::size_t position, std::span<std::byte> into) const
      -> Result<Received>;

  /// IPC_STAT. Needs read permission.
  [[nodiscard]] auto status() const -> Result<MessageQueueStatus>;

  /// IPC_SET. `not_permitted` unless owner, creator or privileged. Needs read permission too, to
  /// leave the capacity as it is.
  [[nodiscard]] auto set_access(Access access) const -> Result<void>;

  /// IPC_SET of msg_qbytes; senders that fit now proceed. The same errors, and `not_permitted` over
  /// `limits().default_capacity_bytes` without CAP_SYS_RESOURCE.
  [[nodiscard]] auto set_capacity_bytes(std::size_t capacity_bytes) const -> Result<void>;

  /// IPC_RMID: at once, with its messages. `not_permitted` unless owner, creator or privileged.
  [[nodiscard]] auto remove() const -> Result<void>;

  /// Every queue of this IPC namespace, whoever may use it. MSG_STAT_ANY (Linux 4.17)
  static auto list() -> Result<std::vector<MessageQueueStatus>>;

  static auto limits() -> Result<MessageLimits>;
  static auto usage() -> Result<MessageUsage>;

 private:
  explicit MessageQueue(int id) noexcept : id_(id) {}

  int id_;
};

}  // namespace parley::os::sysv
