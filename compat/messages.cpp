// msgget(2), msgsnd(2), msgrcv(2), msgctl(2) on MessageQueue.
#include <sys/msg.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <span>

#include <parley/inspect.hpp>
#include <parley/message_queue.hpp>

#include "handles.hpp"
#include "sysv.hpp"

namespace parley::compat {
namespace {

/// What msgsnd(2) and msgrcv(2) are given a pointer to; the text follows.
struct Message {
  long type;

  [[nodiscard]] auto text(std::size_t bytes) -> std::span<std::byte> {
    return {reinterpret_cast<std::byte*>(this + 1), bytes};
  }
  [[nodiscard]] auto text(std::size_t bytes) const -> std::span<const std::byte> {
    return {reinterpret_cast<const std::byte*>(this + 1), bytes};
  }
};

/// What cannot be reached by a pointer.
constexpr auto bad_address = static_cast<Error>(EFAULT);

// How far IPC_SET can raise `msg_qbytes`: as far as Linux, whose number is an int. It costs address
// space alone, no memory.
constexpr std::uint64_t bytes_unless_more = std::uint64_t{1} << 31U;
constexpr std::uint64_t messages_unless_more = std::uint64_t{1} << 20U;
constexpr std::uint64_t messages_at_most = std::uint64_t{1} << 24U;

constinit Handles<MessageQueue> queues(SpaceKind::messages);

auto shape_of(const SpaceLimits& limits) -> MessageQueueLimits {
  return {.bytes = std::max({limits.msgmnb, limits.msgmax, bytes_unless_more}),
          .messages = static_cast<std::uint32_t>(
              std::clamp(limits.msgmnb, messages_unless_more, messages_at_most))};
}

/// As `msg_qbytes` bounds a queue: its bytes, and as many messages, which may be empty ones.
auto limits_of(std::uint64_t queue_bytes, const MessageQueueLimits& shape) -> MessageQueueLimits {
  return {
      .bytes = queue_bytes,
      .messages = static_cast<std::uint32_t>(std::min<std::uint64_t>(queue_bytes, shape.messages))};
}

auto make(const SpaceEntry& entry, const std::string& path, const SpaceLimits& limits)
    -> Result<void> {
  const auto shape = shape_of(limits);
  auto made = MessageQueue::create(
      path,
      {.mode = file_mode(entry.mode),
       .participants = participants,
       .waiters = waiters,
       .messages = shape.messages,
       .bytes = shape.bytes,
       .message_bytes = static_cast<std::uint32_t>(std::max<std::uint64_t>(limits.msgmax, 1))});
  return made ? made->limit(limits_of(limits.msgmnb, shape)) : failure(made.error());
}

auto get(key_t key, int flags) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  const auto& limits = space->limits();
  const NoCancel no_cancel;
  const User user;
  const auto id =
      space->table(SpaceKind::messages)
          .get(
              {.key = key,
               .flags = flags,
               .size = limits.msgmnb,
               .objects_at_most = limits.msgmni,
               .total_at_most = std::numeric_limits<std::uint64_t>::max(),
               .process = getpid()},
              user.as_space_user(), [](const SpaceEntry&) -> Result<void> { return {}; },
              [&](const SpaceEntry& entry, const std::string& path) {
                return make(entry, path, limits);
              });
  return id ? *id : fail(id.error());
}

auto deadline_of(int flags) -> Deadline {
  return (flags & IPC_NOWAIT) != 0 ? Deadline::now() : Deadline::never().or_signal();
}

/// That there is no memory, or that too many wait, is not told apart in the kernel either.
auto fail_in_transfer(Error error) -> int {
  return error == Error::no_space ? fail(ENOMEM) : fail_in_call(error);
}

auto send(int id, const Message* message, std::size_t bytes, int flags) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  if (is_bad(message)) return fail(EFAULT);
  if (bytes > space->limits().msgmax || id < 0 || message->type < 1) return fail(EINVAL);
  const auto queue = queues.use(id, 02);
  if (!queue) return fail_in_call(queue.error());
  const auto sent = (*queue)->send(
      message->text(bytes), {.tag = static_cast<std::uint64_t>(message->type)}, deadline_of(flags));
  return sent ? 0 : fail_in_transfer(sent.error());
}

auto selection_of(long type, int flags) -> Selection {
  if (type == 0) return Selection::oldest();
  if (type == std::numeric_limits<long>::min()) {
    return Selection::up_to(static_cast<std::uint64_t>(std::numeric_limits<long>::max()));
  }
  if (type < 0) return Selection::up_to(static_cast<std::uint64_t>(-type));
  const auto tag = static_cast<std::uint64_t>(type);
  return (flags & MSG_EXCEPT) != 0 ? Selection::except(tag) : Selection::tag(tag);
}

/// To where nothing can be stored: fails as the kernel does, but the message stays.
auto receive_nowhere(MessageQueue& queue, std::size_t bytes, Selection selection, int flags)
    -> Result<Received> {
  const auto taken = queue.take(selection, deadline_of(flags));
  if (!taken) return failure(taken.error());
  const bool fits = taken->about().size_bytes <= bytes || (flags & MSG_NOERROR) != 0;
  return failure(fits ? bad_address : Error::too_big);
}

/// MSG_COPY. What is longer does not fit, cut or not.
auto copy(MessageQueue& queue, Message* message, std::size_t bytes, long position, int flags)
    -> Result<Received> {
  if (position < 0) return failure(Error::would_block);
  if (is_bad(message)) return failure(bad_address);
  const auto got = queue.peek_at(static_cast<std::size_t>(position), message->text(bytes));
  const bool cut = !got && got.error() == Error::too_big && (flags & MSG_NOERROR) != 0;
  return cut ? failure(Error::invalid) : got;
}

auto receive(int id, Message* message, std::size_t bytes, long type, int flags) -> ssize_t {
  if (compat::space() == nullptr) return fail(ENOSYS);
  if (id < 0 || static_cast<ssize_t>(bytes) < 0) return fail(EINVAL);
  const bool copies = (flags & MSG_COPY) != 0;
  if (copies && ((flags & MSG_EXCEPT) != 0 || (flags & IPC_NOWAIT) == 0)) return fail(EINVAL);
  const auto queue = queues.use(id, 04);
  if (!queue) return fail_in_call(queue.error());
  const auto selection = selection_of(type, flags);
  Result<Received> got = failure(Error::invalid);
  if (copies) {
    got = copy(**queue, message, bytes, type, flags);
  } else if (is_bad(message)) {
    got = receive_nowhere(**queue, bytes, selection, flags);
  } else {
    got = (*queue)->receive(message->text(bytes),
                            {.selection = selection, .cut = (flags & MSG_NOERROR) != 0},
                            deadline_of(flags));
  }
  if (!got) return got.error() == Error::would_block ? fail(ENOMSG) : fail_in_transfer(got.error());
  message->type = static_cast<long>(got->tag);
  return static_cast<ssize_t>(got->copied_bytes);
}

/// IPC_STAT, MSG_STAT and MSG_STAT_ANY.
auto stat(SpaceTable& table, int name, Named named, msqid_ds* status) -> int {
  const auto entry = entry_to_read(table, name, named);
  if (!entry) return fail(entry.error());
  if (is_bad(status)) return fail(EFAULT);
  msqid_ds told{};
  tell(*entry, told.msg_perm);
  told.msg_qbytes = entry->size;
  told.msg_ctime = entry->changed;
  if (const auto queue = queues.use(entry->id, 0)) {
    if (const auto known = (*queue)->status()) {
      told.msg_stime = as_seconds(known->last_send);
      told.msg_rtime = as_seconds(known->last_receive);
      told.__msg_cbytes = known->bytes;
      told.msg_qnum = known->messages;
      told.msg_qbytes = known->bytes_at_most;
      told.msg_lspid = known->last_sender;
      told.msg_lrpid = known->last_receiver;
    }
  }
  *status = told;
  return named == Named::by_id ? 0 : entry->id;
}

/// Of all queues, as each says of itself.
void count_messages(const SpaceTable& table, int highest_index, msginfo& told) {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  for (int index = 0; index <= highest_index; ++index) {
    const auto entry = table.at(index);
    if (!entry) continue;
    const auto seen = inspect(table.path_of(entry->id));
    const auto* const queue = seen ? std::get_if<MessageQueueInspection>(&seen->what) : nullptr;
    if (queue == nullptr) continue;
    messages += queue->messages;
    bytes += queue->bytes;
  }
  told.msgmap = as_int(messages);
  told.msgtql = as_int(bytes);
}

auto info(const Space& space, const SpaceTable& table, int command, msginfo* info) -> int {
  const auto& limits = space.limits();
  const auto status = table.status();
  msginfo told{};
  told.msgmni = as_int(limits.msgmni);
  told.msgmax = as_int(limits.msgmax);
  told.msgmnb = as_int(limits.msgmnb);
  // Of no meaning: as <linux/msg.h> defines them.
  told.msgssz = 16;
  told.msgseg = 0xffff;
  told.msgpool = 32000 * 16384 / 1024;
  told.msgmap = told.msgtql = 16384;
  if (command == MSG_INFO) {
    told.msgpool = as_int(status.count);
    count_messages(table, status.highest_index, told);
  }
  if (is_bad(info)) return fail(EFAULT);
  *info = told;
  return std::max(status.highest_index, 0);
}

/// IPC_SET.
auto set(const Space& space, SpaceTable& table, int id, const msqid_ds* wanted) -> int {
  if (is_bad(wanted)) return fail(EFAULT);
  const auto& limits = space.limits();
  return set_permissions(table, id, wanted->msg_perm,
                         [&](SpaceEntry& entry, const SpaceUser&) -> Result<void> {
                           const std::uint64_t bytes = wanted->msg_qbytes;
                           if (bytes > limits.msgmnb && !may_exceed_limits())
                             return failure(Error::not_permitted);
                           if (bytes == entry.size) return {};
                           const auto queue = queues.use(id, 0);
                           if (!queue) return failure(queue.error());
                           const auto shape = shape_of(limits);
                           PARLEY_TRY((*queue)->limit(limits_of(bytes, shape)));
                           entry.size = bytes;
                           return {};
                         });
}

auto control(int id, int command, msqid_ds* argument) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  if (id < 0) return fail(EINVAL);
  auto& table = space->table(SpaceKind::messages);
  const NoCancel no_cancel;
  switch (command) {
    case IPC_INFO:
    case MSG_INFO:
      return info(*space, table, command, reinterpret_cast<msginfo*>(argument));
    case IPC_STAT:
      return stat(table, id, Named::by_id, argument);
    case MSG_STAT:
      return stat(table, id, Named::by_index, argument);
    case MSG_STAT_ANY:
      return stat(table, id, Named::by_index_any, argument);
    case IPC_SET:
      return set(*space, table, id, argument);
    case IPC_RMID:
      return remove(table, id);
    default:
      return fail(EINVAL);
  }
}

}  // namespace
}  // namespace parley::compat

PARLEY_COMPAT auto msgget(key_t key, int flags) noexcept -> int {
  return parley::compat::get(key, flags);
}

PARLEY_COMPAT auto msgsnd(int id, const void* message, size_t bytes, int flags) -> int {
  return parley::compat::send(id, static_cast<const parley::compat::Message*>(message), bytes,
                              flags);
}

PARLEY_COMPAT auto msgrcv(int id, void* message, size_t bytes, long type, int flags) -> ssize_t {
  return parley::compat::receive(id, static_cast<parley::compat::Message*>(message), bytes, type,
                                 flags);
}

PARLEY_COMPAT auto msgctl(int id, int command, msqid_ds* argument) noexcept -> int {
  return parley::compat::control(id, command, argument);
}
