#include <parley/os/posix/message_queue.hpp>

#include <linux/netlink.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include "os/file_permissions.hpp"
#include "os/small_file.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os::posix {
namespace {

// linux/mqueue.h, which defines struct mq_attr a second time: the message that the kernel sends to
// the netlink socket, the registrar's own bytes but for the last one, which tells what happened.
constexpr std::size_t cookie_bytes = 32;
using Cookie = std::array<unsigned char, cookie_bytes>;

/// What the queue's own file says.
auto read_text(BorrowedFd fd) -> Result<std::string> {
  std::array<char, 128> buffer{};
  const auto count =
      PARLEY_TRY(sys::call<::pread>(fd.number(), buffer.data(), buffer.size(), off_t{0}));
  return std::string(buffer.data(), static_cast<std::size_t>(count));
}

/// The number that follows `label` in `text`; `corrupt` where there is none.
template <class Number>
auto number_after(std::string_view text, std::string_view label) -> Result<Number> {
  const auto at = text.find(label);
  if (at == std::string_view::npos) return failure(Error::corrupt);
  const std::string_view rest = text.substr(at + label.size());
  Number number{};
  const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (parsed.ec != std::errc{}) return failure(Error::corrupt);
  return number;
}

/// Tries without waiting, then waits as long as the deadline says. The kernel's timed calls look at
/// the clock only if they would wait, and only at CLOCK_REALTIME, which is set now and then: so
/// they serve for the try, and the wait itself is an untimed call under an alarm.
template <class Timed, class Untimed>
auto try_then_wait(Deadline deadline, Timed timed, Untimed untimed) -> decltype(untimed()) {
  constexpr timespec long_ago{};
  while (!deadline.is_never()) {
    auto result = timed(&long_ago);
    if (result || (result.error() != Error::timed_out && result.error() != Error::interrupted)) {
      return result;
    }
    if (result.error() == Error::timed_out) break;
  }
  return until(deadline, untimed);
}

auto register_notification(BorrowedFd queue, const sigevent* event) -> Result<void> {
  PARLEY_TRY(sys::call<::mq_notify>(mqd_t{queue.number()}, event));
  return {};
}

}  // namespace

auto queue_limits() -> Result<QueueLimits> {
  QueueLimits limits{};
  limits.queues = PARLEY_TRY(read_number("/proc/sys/fs/mqueue/queues_max"));
  limits.max_messages = PARLEY_TRY(read_number("/proc/sys/fs/mqueue/msg_max"));
  limits.message_size_bytes = PARLEY_TRY(read_number("/proc/sys/fs/mqueue/msgsize_max"));
  limits.default_max_messages =
      std::min(PARLEY_TRY(read_number("/proc/sys/fs/mqueue/msg_default")), limits.max_messages);
  limits.default_message_size_bytes = std::min(
      PARLEY_TRY(read_number("/proc/sys/fs/mqueue/msgsize_default")), limits.message_size_bytes);
  rlimit bytes{};
  PARLEY_TRY(sys::call<::getrlimit>(RLIMIT_MSGQUEUE, &bytes));
  limits.user_bytes = bytes.rlim_cur;
  return limits;
}

auto Notifier::create() -> Result<Notifier> {
  return Notifier(OwnedFd::from_number(PARLEY_TRY(sys::call<::socket>(
      AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, int{NETLINK_ROUTE}))));
}

auto Notifier::take(Deadline deadline) -> Result<Notification> {
  Cookie cookie{};
  const auto count = PARLEY_TRY(when_ready(fd_, POLLIN, deadline, [&] {
    return sys::call<::recv>(fd_.number(), cookie.data(), cookie.size(), 0);
  }));
  if (count != cookie_bytes) return failure(Error::corrupt);
  Notification notification{.value = 0, .kind = NotificationKind{cookie.back()}};
  std::memcpy(&notification.value, cookie.data(), sizeof notification.value);
  return notification;
}

auto QueueHandle::open_descriptor(std::string_view name, int flags, const QueueOptions& options)
    -> Result<OwnedFd> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::message_queue, name));
  mq_attr attributes{};
  attributes.mq_maxmsg = static_cast<long>(options.max_messages);
  attributes.mq_msgsize = static_cast<long>(options.message_size_bytes);
  // The kernel takes both attributes or none.
  const bool has_none = options.max_messages == 0 && options.message_size_bytes == 0;
  if (!has_none && options.max_messages == 0) {
    attributes.mq_maxmsg = static_cast<long>(PARLEY_TRY(queue_limits()).default_max_messages);
  }
  if (!has_none && options.message_size_bytes == 0) {
    attributes.mq_msgsize =
        static_cast<long>(PARLEY_TRY(queue_limits()).default_message_size_bytes);
  }
  return OwnedFd::from_number(PARLEY_TRY(sys::call<::mq_open>(
      c_name.c_str(), flags | O_CLOEXEC, options.mode, has_none ? nullptr : &attributes)));
}

auto QueueHandle::check(OwnedFd fd, int access_mode) -> Result<OwnedFd> {
  const int flags = PARLEY_TRY(sys::call<::fcntl>(fd.number(), F_GETFL));
  if ((flags & O_ACCMODE) != access_mode) return failure(Error::invalid);
  mq_attr attributes{};
  const auto told = sys::call<::mq_getattr>(mqd_t{fd.number()}, &attributes);
  // It is open, as fcntl has just seen: so it is no queue.
  if (!told && told.error() == Error::bad_descriptor) return failure(Error::invalid);
  if (!told) return failure(told.error());
  PARLEY_TRY(set_nonblocking(fd, false));
  return fd;
}

auto QueueHandle::attributes() const -> Result<QueueAttributes> {
  mq_attr attributes{};
  PARLEY_TRY(sys::call<::mq_getattr>(mqd_t{fd_.number()}, &attributes));
  return QueueAttributes{.max_messages = static_cast<std::size_t>(attributes.mq_maxmsg),
                         .message_size_bytes = static_cast<std::size_t>(attributes.mq_msgsize),
                         .queued_messages = static_cast<std::size_t>(attributes.mq_curmsgs)};
}

auto QueueHandle::permissions() const -> Result<FilePermissions> {
  struct stat status{};
  PARLEY_TRY(sys::call<sys::file_status>(fd_.number(), &status));
  return permissions_of(status);
}

auto QueueHandle::set_mode(mode_t mode) -> Result<void> {
  PARLEY_TRY(sys::call<::fchmod>(fd_.number(), mode));
  return {};
}

auto QueueHandle::set_owner(Owner owner) -> Result<void> {
  PARLEY_TRY(sys::call<::fchown>(fd_.number(), owner.uid, owner.gid));
  return {};
}

auto QueueHandle::read_status() const -> Result<QueueStatus> {
  const auto text = PARLEY_TRY(read_text(fd_));
  return QueueStatus{
      .queued_bytes = PARLEY_TRY(number_after<std::size_t>(text, "QSIZE:")),
      .notified_process = PARLEY_TRY(number_after<pid_t>(text, "NOTIFY_PID:")),
  };
}

auto QueueHandle::send_message(std::span<const std::byte> message, Deadline deadline,
                               SendOptions options) -> Result<void> {
  const auto* const bytes = reinterpret_cast<const char*>(message.data());
  PARLEY_TRY(try_then_wait(
      deadline,
      [&](const timespec* time) {
        return sys::call<::mq_timedsend>(mqd_t{fd_.number()}, bytes, message.size(),
                                         options.priority, time);
      },
      [&] {
        return sys::call<::mq_send>(mqd_t{fd_.number()}, bytes, message.size(), options.priority);
      }));
  return {};
}

auto QueueHandle::receive_message(std::span<std::byte> into, Deadline deadline)
    -> Result<Received> {
  auto* const bytes = reinterpret_cast<char*>(into.data());
  Received received{};
  received.size_bytes = static_cast<std::size_t>(PARLEY_TRY(try_then_wait(
      deadline,
      [&](const timespec* time) {
        return sys::call<::mq_timedreceive>(mqd_t{fd_.number()}, bytes, into.size(),
                                            &received.priority, time);
      },
      [&] {
        return sys::call<::mq_receive>(mqd_t{fd_.number()}, bytes, into.size(), &received.priority);
      })));
  return received;
}

auto QueueHandle::notify_by_signal(int signal, sigval value) -> Result<void> {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = signal;
  event.sigev_value = value;
  return register_notification(fd_, &event);
}

auto QueueHandle::notify_by_descriptor(const Notifier& notifier, std::uint64_t value)
    -> Result<void> {
  Cookie cookie{};
  std::memcpy(cookie.data(), &value, sizeof value);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_signo = notifier.fd().number();
  event.sigev_value.sival_ptr = cookie.data();
  // Not the C library's function: that would start a thread of its own.
  PARLEY_TRY(sys::call<::syscall>(long{SYS_mq_notify}, long{fd_.number()}, &event));
  return {};
}

auto QueueHandle::notify_nobody() -> Result<void> {
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  return register_notification(fd_, &event);
}

auto QueueHandle::cancel_notification() -> Result<void> {
  return register_notification(fd_, nullptr);
}

auto QueueHandle::unlink(std::string_view name) -> Result<void> {
  const auto c_name = PARLEY_TRY(checked_name(NameKind::message_queue, name));
  PARLEY_TRY(sys::call<::mq_unlink>(c_name.c_str()));
  return {};
}

}  // namespace parley::os::posix
