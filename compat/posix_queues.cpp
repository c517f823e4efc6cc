// mq_open(3), mq_send(3), mq_receive(3) and the rest on MessageQueue.
//
// A queue is a file of its name in the space. Whoever its mode lets do anything with it can open
// the file, since to take part is to write to it; the mode that was asked for stands in the queue's
// note, and what it allows is looked at when the queue is opened, with the file's owner and group.
#include <dirent.h>
#include <fcntl.h>
#include <mqueue.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <ctime>

#include "export.hpp"
#include "handles.hpp"
#include "posix_notification.hpp"
#include "queue_descriptors.hpp"
#include "signals.hpp"
#include "sysv.hpp"

namespace parley::compat {
namespace {

constexpr std::uint32_t participants = 511;  // what one page has room for
constexpr std::uint32_t waiters = 1024;
constexpr std::uint64_t bytes_at_most = std::uint64_t{1} << 37U;
constexpr unsigned priorities = 32768;  // MQ_PRIO_MAX

/// What O_CREAT brings with it.
struct NewQueue {
  mode_t mode;
  const mq_attr* attributes;
};

auto count_files(const std::string& directory) -> Result<std::uint64_t> {
  DIR* const stream = opendir(directory.c_str());
  if (stream == nullptr) return failure(last_error());
  std::uint64_t count = 0;
  while (const auto* const entry = readdir(stream)) {  // NOLINT(concurrency-mt-unsafe)
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(stream);
  return count;
}

/// The mode less the umask, which can be known only by making something.
auto mode_of_new(const std::string& path, mode_t mode) -> Result<mode_t> {
  const auto file = PARLEY_TRY(create_file(path, mode & 0777U));
  struct stat status{};
  if (fstat(file.number(), &status) != 0) return failure(last_error());
  return status.st_mode & 0777U;
}

auto create(const Space& space, const std::string& path, const NewQueue& wanted)
    -> Result<MessageQueue> {
  constexpr long usual_messages = 10;
  constexpr long usual_bytes = 8192;
  const auto& limits = space.limits();
  auto messages = std::min<std::uint64_t>(usual_messages, limits.msg_max);
  auto bytes = std::min<std::uint64_t>(usual_bytes, limits.msgsize_max);
  if (wanted.attributes != nullptr) {
    messages = static_cast<std::uint64_t>(wanted.attributes->mq_maxmsg);
    bytes = static_cast<std::uint64_t>(wanted.attributes->mq_msgsize);
    const bool allowed =
        messages >= 1 && messages <= limits.msg_max && bytes >= 1 && bytes <= limits.msgsize_max;
    if (!allowed) return failure(Error::invalid);
  }
  // As for the kernel, which has a limit for each user.
  if (messages * bytes > bytes_at_most) return failure(static_cast<Error>(EMFILE));
  if (PARLEY_TRY(count_files(space.posix_queues())) >= limits.queues_max) {
    return failure(Error::no_space);
  }
  const auto mode = PARLEY_TRY(mode_of_new(path, wanted.mode));
  return MessageQueue::create(path, {.mode = file_mode(mode),
                                     .participants = participants,
                                     .waiters = waiters,
                                     .messages = static_cast<std::uint32_t>(messages),
                                     .bytes = messages * bytes,
                                     .message_bytes = static_cast<std::uint32_t>(bytes),
                                     .note = mode});
}

/// Whether this user may open it so.
auto check_access(const MessageQueue& queue, int access) -> Result<void> {
  struct stat status{};
  if (fstat(queue.descriptor().number(), &status) != 0) return failure(last_error());
  if (access != O_RDONLY && access != O_WRONLY && access != O_RDWR) return failure(Error::invalid);
  const SpaceEntry entry{.uid = status.st_uid,
                         .gid = status.st_gid,
                         .creator_uid = status.st_uid,
                         .creator_gid = status.st_gid,
                         .mode = static_cast<mode_t>(queue.note() & 0777U)};
  const User user;
  const mode_t wanted = access == O_RDONLY ? 04 : access == O_WRONLY ? 02 : 06;
  return entry.lets(user.as_space_user(), wanted) ? Result<void>() : failure(Error::access_denied);
}

auto open_existing(const std::string& path, int access) -> Result<MessageQueue> {
  auto queue = PARLEY_TRY(MessageQueue::open(path));
  PARLEY_TRY(check_access(queue, access));
  return queue;
}

auto open_or_create(const Space& space, const std::string& path, int flags,
                    const std::optional<NewQueue>& wanted) -> Result<MessageQueue> {
  const int access = flags & O_ACCMODE;
  for (;;) {
    auto queue = open_existing(path, access);
    if (!wanted) return queue;
    if ((flags & O_EXCL) != 0 && (queue || queue.error() != Error::not_found)) {
      return failure(Error::exists);
    }
    if (queue || queue.error() != Error::not_found) return queue;
    queue = create(space, path, *wanted);
    // Where somebody was faster, it is to be opened, unless it is gone again.
    if (queue || queue.error() != Error::exists) return queue;
  }
}

auto open(const char* name, int flags, const std::optional<NewQueue>& wanted) -> Result<mqd_t> {
  const auto path = PARLEY_TRY(queue_path(name));
  const Space& space = *compat::space();
  remove_stale_registrations();
  const Opening opening;
  queue_descriptors().sweep();
  auto queue = PARLEY_TRY(open_or_create(space, path, flags, wanted));
  const auto file = numbers_of(queue.descriptor().number());
  const auto shape = PARLEY_TRY(queue.status());
  auto shared = PARLEY_TRY(SharedFlags::create());
  shared.exchange(flags & O_NONBLOCK);
  const int access = flags & O_ACCMODE;
  return queue_descriptors().add({.queue = std::move(queue),
                                  .file = file,
                                  .may_receive = access == O_RDONLY || access == O_RDWR,
                                  .may_send = access == O_WRONLY || access == O_RDWR,
                                  .messages_at_most = static_cast<long>(shape.messages_at_most),
                                  .flags = std::move(shared)});
}

auto open_and_tell(const char* name, int flags, const std::optional<NewQueue>& wanted) -> mqd_t {
  if (wanted && wanted->attributes != nullptr && is_bad(wanted->attributes)) return fail(EFAULT);
  const int before = errno;
  const auto number = open(name, flags, wanted);
  if (!number) return fail(number.error());
  errno = before;
  return *number;
}

auto close(mqd_t number) -> int {
  // Whichever of this process's descriptors of the queue is closed, as on Linux.
  if (const auto open = queue_descriptors().use_checked(number)) {
    remove_registration((*open)->file);
  }
  const Opening opening;
  // Of anything else the C library closes the descriptor.
  return queue_descriptors().close(number) ? 0 : ::close(number);
}

auto unlink(const char* name) -> int {
  const auto path = queue_path(name);
  if (!path) return fail(path.error());
  const auto done = unlink_file(*path);
  return done ? 0 : fail(done.error());
}

/// When it is that time of the day by the clock as it is set now.
auto deadline_at(const timespec& time) -> Deadline {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  constexpr std::int64_t longest = 1LL << 32U;
  const auto seconds = std::min<std::int64_t>(time.tv_sec - now.tv_sec, longest);
  return Deadline::after(std::chrono::seconds(std::max<std::int64_t>(seconds, -longest)) +
                         std::chrono::nanoseconds(time.tv_nsec - now.tv_nsec));
}

/// 0, or why the kernel would refuse it, before it looks at anything else.
auto error_of(const timespec* time) -> int {
  if (time == nullptr) return 0;
  if (is_bad(time)) return EFAULT;
  const bool sound = time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1'000'000'000;
  return sound ? 0 : EINVAL;
}

auto fail_to_transfer(Error error) -> int {
  // `corrupt`: the file was cut off under us. No memory is to be had for a message.
  if (error == Error::corrupt || error == Error::removed) return fail(EBADF);
  return fail(error == Error::no_space ? Error::out_of_memory : error);
}

/// Does what may wait: at once if it can be, else when it can, unless the queue is not to wait. It
/// ends at a signal, unless all handlers let it go on.
template <class Do>
auto transfer(const OpenQueue& open, const timespec* time, Do act)
    -> decltype(act(Deadline::now())) {
  auto deadline = Deadline::never();
  if (time != nullptr || open.flags.get() != 0) {
    auto done = act(Deadline::now());
    if (done || done.error() != Error::would_block || open.flags.get() != 0) return done;
    if (time != nullptr) deadline = deadline_at(*time);
  }
  for (;;) {
    const HandlersSince handlers;
    auto done = act(deadline.or_signal());
    if (done || done.error() != Error::interrupted || !handlers.let_restart()) return done;
  }
}

auto send(mqd_t number, const char* message, size_t size, unsigned priority, const timespec* time)
    -> int {
  if (const int error = error_of(time); error != 0) return fail(error);
  if (priority >= priorities) return fail(EINVAL);
  const auto open = queue_descriptors().use(number);
  if (!open || !(*open)->may_send) return fail(EBADF);
  auto& queue = (*open)->queue;
  if (size > queue.message_bytes_at_most()) return fail(EMSGSIZE);
  if (size != 0 && is_bad(message)) return fail(EFAULT);
  const auto bytes = std::as_bytes(std::span(message, size));
  const auto done = transfer(*open->operator->(), time, [&](Deadline deadline) {
    return queue.send(bytes, {.priority = static_cast<std::uint16_t>(priority)}, deadline);
  });
  if (!done) return fail_to_transfer(done.error());
  tell_registered(*open->operator->());
  return 0;
}

auto receive(mqd_t number, char* into, size_t size, unsigned* priority, const timespec* time)
    -> ssize_t {
  if (const int error = error_of(time); error != 0) return fail(error);
  const auto open = queue_descriptors().use(number);
  if (!open || !(*open)->may_receive) return fail(EBADF);
  auto& queue = (*open)->queue;
  if (size < queue.message_bytes_at_most()) return fail(EMSGSIZE);
  if (is_bad(into) || (priority != nullptr && is_bad(priority))) return fail(EFAULT);
  const auto bytes = std::as_writable_bytes(std::span(into, size));
  const auto got = transfer(*open->operator->(), time, [&](Deadline deadline) {
    return queue.receive(bytes, {.selection = Selection::highest()}, deadline);
  });
  if (!got) return fail_to_transfer(got.error());
  if (priority != nullptr) *priority = got->priority;
  return static_cast<ssize_t>(got->copied_bytes);
}

auto attributes(mqd_t number, const mq_attr* wanted, mq_attr* old) -> int {
  if (wanted != nullptr && is_bad(wanted)) return fail(EFAULT);
  if (wanted != nullptr && (wanted->mq_flags & ~long{O_NONBLOCK}) != 0) return fail(EINVAL);
  const auto open = queue_descriptors().use_checked(number);
  if (!open) return fail(EBADF);
  auto& queue = (*open)->queue;
  const auto status = queue.status();
  if (!status) return fail_to_transfer(status.error());
  if (old != nullptr && is_bad(old)) return fail(EFAULT);
  mq_attr told{};
  const auto& flags = (*open)->flags;
  told.mq_flags =
      wanted != nullptr ? flags.exchange(static_cast<int>(wanted->mq_flags)) : flags.get();
  told.mq_maxmsg = (*open)->messages_at_most;
  told.mq_msgsize = static_cast<long>(queue.message_bytes_at_most());
  told.mq_curmsgs = static_cast<long>(status->messages - status->taken - status->reserved);
  if (old != nullptr) *old = told;
  return 0;
}

auto notify(mqd_t number, const sigevent* event) -> int {
  if (event != nullptr) {
    if (is_bad(event)) return fail(EFAULT);
    const int how = event->sigev_notify;
    if (how != SIGEV_NONE && how != SIGEV_SIGNAL && how != SIGEV_THREAD) return fail(EINVAL);
    const bool is_signal = event->sigev_signo >= 0 && event->sigev_signo <= SIGRTMAX;
    if (how == SIGEV_SIGNAL && !is_signal) return fail(EINVAL);
  }
  const auto open = queue_descriptors().use_checked(number);
  if (!open) return fail(EBADF);
  if (event == nullptr) {
    remove_registration((*open)->file);
    return 0;
  }
  const auto done = add_registration(number, *open->operator->(), *event);
  return done ? 0 : fail_to_transfer(done.error());
}

}  // namespace
}  // namespace parley::compat

PARLEY_COMPAT auto mq_open(const char* name, int flags, ...) noexcept -> mqd_t {
  std::optional<parley::compat::NewQueue> wanted;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    const auto mode = va_arg(more, mode_t);
    const auto* const attributes = va_arg(more, const mq_attr*);
    va_end(more);
    wanted = {.mode = mode, .attributes = attributes};
  }
  return parley::compat::open_and_tell(name, flags, wanted);
}

/// What mq_open becomes under _FORTIFY_SOURCE where it is called with two arguments.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): its name.
PARLEY_COMPAT auto __mq_open_2(const char* name, int flags) noexcept -> mqd_t {
  return parley::compat::open_and_tell(name, flags & ~O_CREAT, std::nullopt);
}

PARLEY_COMPAT auto mq_close(mqd_t number) noexcept -> int {
  return parley::compat::close(number);
}

PARLEY_COMPAT auto mq_unlink(const char* name) noexcept -> int {
  return parley::compat::unlink(name);
}

PARLEY_COMPAT auto mq_send(mqd_t number, const char* message, size_t size, unsigned priority)
    -> int {
  return parley::compat::send(number, message, size, priority, nullptr);
}

PARLEY_COMPAT auto mq_timedsend(mqd_t number, const char* message, size_t size, unsigned priority,
                                const timespec* time) -> int {
  return parley::compat::send(number, message, size, priority, time);
}

PARLEY_COMPAT auto mq_receive(mqd_t number, char* into, size_t size, unsigned* priority)
    -> ssize_t {
  return parley::compat::receive(number, into, size, priority, nullptr);
}

PARLEY_COMPAT auto mq_timedreceive(mqd_t number, char* into, size_t size, unsigned* priority,
                                   const timespec* time) -> ssize_t {
  return parley::compat::receive(number, into, size, priority, time);
}

PARLEY_COMPAT auto mq_getattr(mqd_t number, mq_attr* into) noexcept -> int {
  return parley::compat::attributes(number, nullptr, into);
}

PARLEY_COMPAT auto mq_setattr(mqd_t number, const mq_attr* wanted, mq_attr* old) noexcept -> int {
  return parley::compat::attributes(number, wanted, old);
}

PARLEY_COMPAT auto mq_notify(mqd_t number, const sigevent* event) noexcept -> int {
  return parley::compat::notify(number, event);
}
