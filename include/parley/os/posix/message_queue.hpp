// POSIX message queues: messages with borders and priorities, in a queue with a name.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <csignal>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>
#include <parley/os/owner.hpp>
#include <parley/os/posix/name.hpp>

namespace parley::os::posix {

struct QueueOptions {
  std::size_t max_messages = 0;        ///< 0: the system's default, mostly 10.
  std::size_t message_size_bytes = 0;  ///< Of the longest message; 0: the default, mostly 8192.
  mode_t mode = 0600;                  ///< Less the umask.
};

struct QueueAttributes {
  std::size_t max_messages;
  std::size_t message_size_bytes;  ///< Of the longest message; a receiver's buffer must hold it.
  std::size_t queued_messages;

  auto operator==(const QueueAttributes&) const noexcept -> bool = default;
};

/// What the queue's file tells beyond its attributes. mq_overview(7)
struct QueueStatus {
  std::size_t queued_bytes;  ///< Of all messages together.
  pid_t notified_process;    ///< Who is registered for notification; 0: nobody.
};

/// mq_overview(7), /proc/sys/fs/mqueue and RLIMIT_MSGQUEUE.
struct QueueLimits {
  std::size_t queues;                      ///< In the system; over it creating is `no_space`.
  std::size_t max_messages;                ///< For the unprivileged; over it `invalid`.
  std::size_t default_max_messages;        ///< Never more than the limit.
  std::size_t message_size_bytes;          ///< For the unprivileged; over it `invalid`.
  std::size_t default_message_size_bytes;  ///< Never more than the limit.
  std::uint64_t user_bytes;  ///< Of all of a user's queues, reckoned full; over it EMFILE.
};

auto queue_limits() -> Result<QueueLimits>;

struct SendOptions {
  unsigned priority = 0;  ///< Below `QueueHandle::priority_count`; the highest is received first.
};

struct Received {
  std::size_t size_bytes;
  unsigned priority;
};

enum class NotificationKind : unsigned char {
  message_arrived = 1,  ///< The registration has done its work and is gone.
  cancelled = 2,        ///< It was cancelled, or this process closed a descriptor of the queue.
};

struct Notification {
  std::uint64_t value;  ///< What `notify_by_descriptor` was given.
  NotificationKind kind;
};

/// A descriptor that becomes readable when a queue notifies: for event loops, without a signal or a
/// thread. One serves any number of queues and registrations, one after the other. This is the
/// kernel's own way of doing SIGEV_THREAD (a netlink socket), that the C library makes a thread of.
class Notifier {
 public:
  /// EAFNOSUPPORT where netlink is forbidden, as in some containers.
  static auto create() -> Result<Notifier>;

  [[nodiscard]] auto fd() const noexcept -> BorrowedFd { return fd_; }

  /// The next notification, waiting for it.
  auto take(Deadline deadline) -> Result<Notification>;

 private:
  explicit Notifier(OwnedFd fd) noexcept : fd_(std::move(fd)) {}

  OwnedFd fd_;
};

/// What every queue descriptor can do. Not used by itself.
///
/// On Linux it is a descriptor that poll(2) and epoll(7) take: readable when there is a message,
/// writable when there is room. It is not O_NONBLOCK: a call that waits does so in the kernel's
/// queue of waiters, where a message goes straight to the one of the highest scheduling priority,
/// and where waiting in `receive` keeps a notification back.
class QueueHandle {
 public:
  static constexpr unsigned priority_count = 32768;  // MQ_PRIO_MAX

  [[nodiscard]] auto fd() const noexcept -> BorrowedFd { return fd_; }

  /// The descriptor itself, to hand it on or to keep it elsewhere.
  [[nodiscard]] auto into_fd() && noexcept -> OwnedFd { return std::move(fd_); }

  /// mq_getattr(3)
  [[nodiscard]] auto attributes() const -> Result<QueueAttributes>;

  /// Whose the queue is, and who may open it; whoever has it open keeps it. A queue counts against
  /// the RLIMIT_MSGQUEUE of the user who made it, whosoever it becomes. fstat(2), fchmod(2),
  /// fchown(2)
  [[nodiscard]] auto permissions() const -> Result<FilePermissions>;
  auto set_mode(mode_t mode) -> Result<void>;
  auto set_owner(Owner owner) -> Result<void>;

  /// Asks to be told once when a message comes into the *empty* queue while nobody waits in
  /// `receive`: the signal is sent to this process with `value` and si_code SI_MESGQ. One process
  /// at a time may be registered (`busy`), and to be told again it has to register again: before
  /// emptying the queue, or a message may come in between. The registration ends with the process,
  /// and when this process closes *any* of its descriptors of the queue. mq_notify(3)
  auto notify_by_signal(int signal, sigval value = {}) -> Result<void>;

  /// The same by a descriptor, which tells `value`.
  auto notify_by_descriptor(const Notifier& notifier, std::uint64_t value = 0) -> Result<void>;

  /// Takes the one registration that there is, and is told nothing. SIGEV_NONE
  auto notify_nobody() -> Result<void>;

  /// Ends this process's registration; does nothing where it has none.
  auto cancel_notification() -> Result<void>;

  /// Takes the name away at once; the queue lives until its last descriptor is closed.
  /// `not_found`, `access_denied`. mq_unlink(3)
  static auto unlink(std::string_view name) -> Result<void>;

 protected:
  explicit QueueHandle(OwnedFd fd) noexcept : fd_(std::move(fd)) {}

  static auto open_descriptor(std::string_view name, int flags, const QueueOptions& options)
      -> Result<OwnedFd>;
  static auto check(OwnedFd fd, int access_mode) -> Result<OwnedFd>;

  auto send_message(std::span<const std::byte> message, Deadline deadline, SendOptions options)
      -> Result<void>;
  auto receive_message(std::span<std::byte> into, Deadline deadline) -> Result<Received>;
  [[nodiscard]] auto read_status() const -> Result<QueueStatus>;

 private:
  OwnedFd fd_;
};

/// What a descriptor is for; the values are those of the access modes of open(2).
enum class QueueAccess : int { receive = 0, send = 1, both = 2 };

/// A queue that stays, with its messages, until it is unlinked, whoever dies. Close-on-exec. Names:
/// see name.hpp.
template <QueueAccess access>
class BasicMessageQueue : public QueueHandle {
 public:
  /// Makes a new one: `exists` if there is one of that name; `invalid` for attributes over the
  /// limits; EMFILE over RLIMIT_MSGQUEUE. mq_open(3) with O_CREAT and O_EXCL
  static auto create(std::string_view name, const QueueOptions& options = {})
      -> Result<BasicMessageQueue> {
    return BasicMessageQueue(PARLEY_TRY(open_descriptor(name, mode | O_CREAT | O_EXCL, options)));
  }

  /// The one of that name, whatever its attributes and mode; where there is none, a new one.
  static auto open_or_create(std::string_view name, const QueueOptions& options = {})
      -> Result<BasicMessageQueue> {
    return BasicMessageQueue(PARLEY_TRY(open_descriptor(name, mode | O_CREAT, options)));
  }

  /// `not_found`, `access_denied`.
  static auto open(std::string_view name) -> Result<BasicMessageQueue> {
    return BasicMessageQueue(PARLEY_TRY(open_descriptor(name, mode, {})));
  }

  /// Takes a received or inherited descriptor. `invalid` unless it is a message queue's, open in
  /// just this way. Clears O_NONBLOCK, which everybody who shares the open description sees.
  static auto adopt(OwnedFd fd) -> Result<BasicMessageQueue> {
    return BasicMessageQueue(PARLEY_TRY(check(std::move(fd), mode)));
  }

  /// Puts the message, which may be empty, behind all of its priority. Waits while the queue is
  /// full. `message_too_long` over `message_size_bytes`, `invalid` for a priority that there is
  /// not. mq_send(3), mq_timedsend(3)
  auto send(std::span<const std::byte> message, Deadline deadline, SendOptions options = {})
      -> Result<void>
    requires(access != QueueAccess::receive)
  {
    return send_message(message, deadline, options);
  }

  /// Takes the oldest message of the highest priority, waiting while there is none. A message is
  /// never cut: `message_too_long` where `into` is shorter than `message_size_bytes`, whatever the
  /// message's own size. mq_receive(3), mq_timedreceive(3)
  auto receive(std::span<std::byte> into, Deadline deadline) -> Result<Received>
    requires(access != QueueAccess::send)
  {
    return receive_message(into, deadline);
  }

  [[nodiscard]] auto status() const -> Result<QueueStatus>
    requires(access != QueueAccess::send)
  {
    return read_status();
  }

 private:
  static constexpr int mode = static_cast<int>(access);

  using QueueHandle::QueueHandle;
};

using MessageQueue = BasicMessageQueue<QueueAccess::both>;
using MessageReceiver = BasicMessageQueue<QueueAccess::receive>;
using MessageSender = BasicMessageQueue<QueueAccess::send>;

}  // namespace parley::os::posix
