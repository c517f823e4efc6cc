#include <parley/os/sysv/message_queue.hpp>

#include <sys/msg.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "os/sys.hpp"
#include "os/sysv/object.hpp"
#include "os/wait.hpp"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

namespace parley::os::sysv {
namespace {

/// The kernel wants the type in front of the text, so texts go through a buffer: on the stack up to
/// the default MSGMAX, else on the heap.
constexpr std::size_t stack_text_bytes = 8192;
constexpr std::size_t type_bytes = sizeof(long);

using HeapBuffer = std::unique_ptr<std::byte[]>;

/// Null where there is no memory.
auto allocate(std::size_t text_bytes) -> HeapBuffer {
  return HeapBuffer(new (std::nothrow) std::byte[type_bytes + text_bytes]);
}

auto to_status(int id, const msqid_ds& ds) -> MessageQueueStatus {
  return {.id = id,
          .permissions = to_permissions(ds.msg_perm),
          .message_count = ds.msg_qnum,
          .size_bytes = ds.__msg_cbytes,
          .capacity_bytes = ds.msg_qbytes,
          .last_sender = ds.msg_lspid,
          .last_receiver = ds.msg_lrpid,
          .last_send = to_time_if_any(ds.msg_stime),
          .last_receive = to_time_if_any(ds.msg_rtime),
          .last_change = to_time(ds.msg_ctime)};
}

auto stat(int id) -> Result<msqid_ds> {
  msqid_ds ds{};
  PARLEY_TRY(sys::call<::msgctl>(id, IPC_STAT, &ds));
  return ds;
}

auto info(int command) -> Result<std::pair<int, msginfo>> {
  msginfo told{};
  // The C library's prototype knows only one of the structures that msgctl fills.
  const int highest =
      PARLEY_TRY(sys::call<::msgctl>(0, command, reinterpret_cast<msqid_ds*>(&told)));
  return std::pair(highest, told);
}

/// Tries without waiting first; `attempt` takes the flags to add.
template <class Attempt>
auto try_then_wait(Deadline deadline, Attempt attempt) -> decltype(attempt(0)) {
  for (;;) {
    auto result = attempt(IPC_NOWAIT);
    if (result || (result.error() != Error::would_block && result.error() != Error::interrupted)) {
      return result;
    }
    if (result.error() == Error::would_block) break;
  }
  return until(deadline, [&] { return attempt(0); });
}

auto receive_once(int id, std::span<std::byte> memory, long wanted, int flags) -> Result<Received> {
  const auto size = sys::call<::msgrcv>(id, static_cast<void*>(memory.data()),
                                        memory.size() - type_bytes, wanted, flags);
  if (!size) {
    const bool none = size.error() == static_cast<Error>(ENOMSG);
    return failure(none ? Error::would_block : size.error());
  }
  Received received{.type = 0, .size_bytes = static_cast<std::size_t>(*size)};
  std::memcpy(&received.type, memory.data(), type_bytes);
  return received;
}

/// Receives by `receive`, which is given memory for the type and the text, and flags. A message
/// that is too long for the stack stays in the queue and is asked for again.
template <class Receive>
auto through_buffer(std::span<std::byte> into, ReceiveOptions options, Receive receive)
    -> Result<Received> {
  const int cut = options.truncate ? MSG_NOERROR : 0;
  const bool fits = into.size() <= stack_text_bytes;
  alignas(long) std::array<std::byte, type_bytes + stack_text_bytes> stack;
  const auto memory = std::span(stack).first(type_bytes + std::min(into.size(), stack_text_bytes));
  auto received = receive(memory, fits ? cut : 0);
  if (received) std::ranges::copy(memory.subspan(type_bytes, received->size_bytes), into.begin());
  if (received || fits || received.error() != Error::too_big) return received;

  const HeapBuffer heap = allocate(into.size());
  if (heap == nullptr) return failure(Error::out_of_memory);
  received = receive(std::span(heap.get(), type_bytes + into.size()), cut);
  if (received) std::copy_n(heap.get() + type_bytes, received->size_bytes, into.begin());
  return received;
}

}  // namespace

auto MessageQueue::create(Key key, CreateOptions options) -> Result<MessageQueue> {
  return MessageQueue(PARLEY_TRY(sys::call<::msgget>(key.number(), create_flags(options.mode))));
}

auto MessageQueue::open_or_create(Key key, CreateOptions options) -> Result<MessageQueue> {
  return create_or_open([&] { return create(key, options); }, [&] { return open(key); });
}

auto MessageQueue::open(Key key, OpenOptions options) -> Result<MessageQueue> {
  return MessageQueue(PARLEY_TRY(find(
      key, options, [](key_t number, int flags) { return sys::call<::msgget>(number, flags); })));
}

auto MessageQueue::adopt(int id) -> Result<MessageQueue> {
  const auto there = stat(id);
  // Who may only send may not ask for the status, but is told that there is one.
  if (!there && there.error() != Error::access_denied) return failure(there.error());
  return MessageQueue(id);
}

auto MessageQueue::send(long type, std::span<const std::byte> text, Deadline deadline) const
    -> Result<void> {
  alignas(long) std::array<std::byte, type_bytes + stack_text_bytes> stack;
  HeapBuffer heap;
  std::byte* memory = stack.data();
  if (text.size() > stack_text_bytes) {
    heap = allocate(text.size());
    if (heap == nullptr) return failure(Error::out_of_memory);
    memory = heap.get();
  }
  std::memcpy(memory, &type, type_bytes);
  std::ranges::copy(text, memory + type_bytes);
  return try_then_wait(deadline, [&](int flags) -> Result<void> {
    PARLEY_TRY(sys::call<::msgsnd>(id_, static_cast<const void*>(memory), text.size(), flags));
    return {};
  });
}

auto MessageQueue::receive(Selector selector, std::span<std::byte> into, Deadline deadline,
                           ReceiveOptions options) const -> Result<Received> {
  if (selector.type_ < 1) return failure(Error::invalid);
  using Kind = Selector::Kind;
  long wanted = 0;
  if (selector.kind_ == Kind::lowest_up_to) wanted = -selector.type_;
  if (selector.kind_ == Kind::of_type || selector.kind_ == Kind::except) wanted = selector.type_;
  const int except = selector.kind_ == Kind::except ? MSG_EXCEPT : 0;
  return through_buffer(into, options, [&](std::span<std::byte> memory, int cut) {
    return try_then_wait(deadline, [&](int flags) {
      return receive_once(id_, memory, wanted, except | cut | flags);
    });
  });
}

auto MessageQueue::peek(std::size_t position, std::span<std::byte> into) const -> Result<Received> {
  if (position > LONG_MAX) return failure(Error::would_block);
  return through_buffer(into, {}, [&](std::span<std::byte> memory, int cut) {
    return receive_once(id_, memory, static_cast<long>(position), MSG_COPY | IPC_NOWAIT | cut);
  });
}

auto MessageQueue::status() const -> Result<MessageQueueStatus> {
  return to_status(id_, PARLEY_TRY(stat(id_)));
}

auto MessageQueue::set_access(Access access) const -> Result<void> {
  msqid_ds ds = PARLEY_TRY(stat(id_));
  apply(access, ds.msg_perm);
  PARLEY_TRY(sys::call<::msgctl>(id_, IPC_SET, &ds));
  return {};
}

auto MessageQueue::set_capacity_bytes(std::size_t capacity_bytes) const -> Result<void> {
  msqid_ds ds = PARLEY_TRY(stat(id_));
  ds.msg_qbytes = capacity_bytes;
  PARLEY_TRY(sys::call<::msgctl>(id_, IPC_SET, &ds));
  return {};
}

auto MessageQueue::remove() const -> Result<void> {
  PARLEY_TRY(sys::call<::msgctl>(id_, IPC_RMID, static_cast<msqid_ds*>(nullptr)));
  return {};
}

auto MessageQueue::list() -> Result<std::vector<MessageQueueStatus>> {
  const int highest = PARLEY_TRY(info(MSG_INFO)).first;
  return list_slots(highest, [](int slot) -> Result<MessageQueueStatus> {
    msqid_ds ds{};
    const int id = PARLEY_TRY(sys::call<::msgctl>(slot, MSG_STAT_ANY, &ds));
    return to_status(id, ds);
  });
}

auto MessageQueue::limits() -> Result<MessageLimits> {
  const auto [highest, told] = PARLEY_TRY(info(IPC_INFO));
  return MessageLimits{.queues = static_cast<std::size_t>(told.msgmni),
                       .message_bytes = static_cast<std::size_t>(told.msgmax),
                       .default_capacity_bytes = static_cast<std::size_t>(told.msgmnb)};
}

auto MessageQueue::usage() -> Result<MessageUsage> {
  const auto [highest, told] = PARLEY_TRY(info(MSG_INFO));
  return MessageUsage{.queues = static_cast<std::size_t>(told.msgpool),
                      .messages = static_cast<std::size_t>(told.msgmap),
                      .size_bytes = static_cast<std::size_t>(told.msgtql)};
}

}  // namespace parley::os::sysv
