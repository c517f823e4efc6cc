#include <parley/os/socket.hpp>

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <array>
#include <chrono>

#include "os/small_file.hpp"
#include "os/socket_kind.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// The call that fills in an address: getsockname or getpeername.
template <auto function>
auto ask_address(BorrowedFd fd) -> Result<Address> {
  sockaddr_storage storage{};
  socklen_t size_bytes = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  PARLEY_TRY(sys::call<function>(fd.number(), address, &size_bytes));
  return Address::from_sockaddr(address, size_bytes);
}

auto bind_once(BorrowedFd fd, const Address& address) -> Result<void> {
  PARLEY_TRY(sys::call<::bind>(fd.number(), address.data(), address.size_bytes()));
  return {};
}

auto connect_once(BorrowedFd fd, const Address& to) -> Result<void> {
  PARLEY_TRY(sys::call<::connect>(fd.number(), to.data(), to.size_bytes()));
  return {};
}

/// Removes a socket file that no process has open; `address_in_use` for anything else.
auto remove_stale(const Address& address) -> Result<void> {
  const std::string path(*address.path());
  struct stat status{};
  PARLEY_TRY(sys::call<::lstat>(path.c_str(), &status));
  if (!S_ISSOCK(status.st_mode)) return failure(Error::address_in_use);
  // A datagram socket asks without disturbing: a listener there does not notice.
  const auto probe = PARLEY_TRY(Socket::create(Family::local, SocketType::datagram));
  const auto answer = connect_once(probe.fd(), address);
  if (answer) return failure(Error::address_in_use);
  if (answer.error() != Error::refused) {
    const bool another_type = answer.error() == static_cast<Error>(EPROTOTYPE);
    return failure(another_type ? Error::address_in_use : answer.error());
  }
  PARLEY_TRY(sys::call<::unlink>(path.c_str()));
  return {};
}

/// How a connection attempt that went on by itself ended.
auto finish_connecting(BorrowedFd fd, Deadline deadline) -> Result<void> {
  PARLEY_TRY(wait_ready(fd, POLLOUT, deadline));
  int error = 0;
  socklen_t size_bytes = sizeof(error);
  PARLEY_TRY(sys::call<::getsockopt>(fd.number(), SOL_SOCKET, SO_ERROR, &error, &size_bytes));
  if (error != 0) return failure(static_cast<Error>(error));
  return {};
}

auto set_send_timeout(BorrowedFd fd, timeval timeout) -> Result<void> {
  PARLEY_TRY(sys::call<::setsockopt>(fd.number(), SOL_SOCKET, SO_SNDTIMEO, &timeout,
                                     socklen_t{sizeof(timeout)}));
  return {};
}

/// What is left, rounded up: zero would be no limit at all.
auto remaining_timeval(Deadline deadline) -> timeval {
  using std::chrono::microseconds;
  if (deadline.is_never()) return {};
  const auto left = std::chrono::ceil<microseconds>(deadline.remaining());
  const auto count = std::max(left, microseconds(1)).count();
  return {.tv_sec = count / 1'000'000, .tv_usec = count % 1'000'000};
}

auto connect_blocking(BorrowedFd fd, const Address& to, Deadline deadline) -> Result<void> {
  for (;;) {
    PARLEY_TRY(set_send_timeout(fd, remaining_timeval(deadline)));
    const auto connected = connect_once(fd, to);
    if (connected) return {};
    const bool again =
        connected.error() == Error::would_block || connected.error() == Error::interrupted;
    if (!again) return connected;
    if (deadline.has_passed()) return failure(deadline.error());
  }
}

/// A full backlog of a local listener. Poll cannot wait for room in it; only connect itself can, on
/// a blocking socket, within its send timeout.
auto wait_for_backlog(BorrowedFd fd, const Address& to, Deadline deadline) -> Result<void> {
  if (deadline.has_passed()) return failure(deadline.error());
  timeval timeout{};
  socklen_t size_bytes = sizeof(timeout);
  PARLEY_TRY(sys::call<::getsockopt>(fd.number(), SOL_SOCKET, SO_SNDTIMEO, &timeout, &size_bytes));
  PARLEY_TRY(set_nonblocking(fd, false));
  auto connected = connect_blocking(fd, to, deadline);
  const auto nonblocking_again = set_nonblocking(fd, true);
  const auto timeout_again = set_send_timeout(fd, timeout);
  if (connected && !nonblocking_again) return nonblocking_again;
  if (connected && !timeout_again) return timeout_again;
  return connected;
}

/// An option as long as the kernel says: strings and lists.
template <class Container>
auto ask_list(BorrowedFd fd, int name, Container list) -> Result<Container> {
  constexpr std::size_t item_bytes = sizeof(typename Container::value_type);
  for (;;) {
    auto size_bytes = static_cast<socklen_t>(list.size() * item_bytes);
    const auto asked =
        sys::call<::getsockopt>(fd.number(), SOL_SOCKET, name, list.data(), &size_bytes);
    if (!asked && asked.error() != Error::out_of_range) return failure(asked.error());
    if (!asked && size_bytes <= list.size() * item_bytes) return failure(asked.error());
    list.resize(size_bytes / item_bytes);
    if (asked) return list;
  }
}

auto ask_count(BorrowedFd fd, unsigned long request) -> Result<std::size_t> {
  int count = 0;
  PARLEY_TRY(sys::call<::ioctl>(fd.number(), request, &count));
  return static_cast<std::size_t>(count);
}

/// A limit that only some network namespaces show.
auto read_shown(const char* path) -> Result<std::optional<std::size_t>> {
  const auto number = read_number(path);
  if (!number && number.error() != Error::not_found) return failure(number.error());
  return number ? std::optional<std::size_t>(*number) : std::nullopt;
}

}  // namespace

auto socket_limits() -> Result<SocketLimits> {
  SocketLimits limits{};
  limits.backlog = PARLEY_TRY(read_number("/proc/sys/net/core/somaxconn"));
  limits.waiting_datagrams = PARLEY_TRY(read_number("/proc/sys/net/unix/max_dgram_qlen"));
  limits.receive_buffer_bytes = PARLEY_TRY(read_shown("/proc/sys/net/core/rmem_max"));
  limits.send_buffer_bytes = PARLEY_TRY(read_shown("/proc/sys/net/core/wmem_max"));
  limits.ancillary_bytes = PARLEY_TRY(read_shown("/proc/sys/net/core/optmem_max"));
  limits.default_receive_buffer_bytes = PARLEY_TRY(read_shown("/proc/sys/net/core/rmem_default"));
  limits.default_send_buffer_bytes = PARLEY_TRY(read_shown("/proc/sys/net/core/wmem_default"));
  return limits;
}

auto SocketBase::local_address() const -> Result<Address> {
  return ask_address<::getsockname>(fd_);
}

auto SocketBase::file_at(const std::string& path) -> Result<BoundFile> {
  struct stat status{};
  PARLEY_TRY(sys::call<::lstat>(path.c_str(), &status));
  return BoundFile{.device = status.st_dev, .inode = status.st_ino};
}

auto SocketBase::unlink() -> Result<void> {
  if (!bound_file_) return failure(Error::invalid);
  const Address address = PARLEY_TRY(local_address());
  const std::string path(address.path().value_or(""));
  if (PARLEY_TRY(file_at(path)) != *bound_file_) return failure(Error::exists);
  PARLEY_TRY(sys::call<::unlink>(path.c_str()));
  bound_file_.reset();
  return {};
}

auto Socket::create(Family family, SocketType type, int protocol) -> Result<Socket> {
  const int kind = static_cast<int>(type) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const auto number = PARLEY_TRY(sys::call<::socket>(static_cast<int>(family), kind, protocol));
  Socket socket(OwnedFd::from_number(number), family, type);
  PARLEY_TRY(mark_messages(socket.fd(), family, type));
  return socket;
}

auto Socket::pair(SocketType type) -> Result<std::pair<Socket, Socket>> {
  std::array<int, 2> ends{};
  const int kind = static_cast<int>(type) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  PARLEY_TRY(sys::call<::socketpair>(AF_UNIX, kind, 0, ends.data()));
  std::pair sockets{Socket(OwnedFd::from_number(ends[0]), Family::local, type),
                    Socket(OwnedFd::from_number(ends[1]), Family::local, type)};
  PARLEY_TRY(mark_messages(sockets.first.fd(), Family::local, type));
  PARLEY_TRY(mark_messages(sockets.second.fd(), Family::local, type));
  return sockets;
}

auto Socket::adopt(OwnedFd fd) -> Result<Socket> {
  const SocketKind kind = PARLEY_TRY(socket_kind(fd));
  if (kind.listens) return failure(Error::invalid);
  PARLEY_TRY(set_nonblocking(fd, true));
  PARLEY_TRY(mark_messages(fd, kind.family, kind.type));
  return Socket(std::move(fd), kind.family, kind.type);
}

auto Socket::bind(const Address& address, BindOptions options) -> Result<void> {
  const std::string path(address.path().value_or(""));
  if (path.empty()) return bind_once(fd_, address);
  // The new file's mode is the socket's own, as unix_bind takes it.
  if (options.mode != BindOptions{}.mode) {
    PARLEY_TRY(sys::call<::fchmod>(fd_.number(), options.mode));
  }
  auto bound = bind_once(fd_, address);
  const bool is_taken = !bound && bound.error() == Error::address_in_use;
  if (is_taken && options.existing == ExistingPath::replace_stale) {
    const auto removed = remove_stale(address);
    // Whoever had it may have removed it by now.
    if (!removed && removed.error() != Error::not_found) return removed;
    bound = bind_once(fd_, address);
  }
  if (!bound) return bound;
  const auto file = file_at(path);
  if (!file) {
    sys::release<::unlink>(path.c_str());
    return failure(file.error());
  }
  bound_file_ = *file;
  return {};
}

auto Socket::autobind() -> Result<Address> {
  const Address nowhere = family_ == Family::ipv4   ? Address::any_ipv4(0)
                          : family_ == Family::ipv6 ? Address::any_ipv6(0)
                                                    : Address::unnamed();
  PARLEY_TRY(bind_once(fd_, nowhere));
  return local_address();
}

auto Socket::connect(const Address& to, Deadline deadline) -> Result<void> {
  if (to.family() == Family::unspecified) return failure(Error::invalid);
  for (;;) {
    const auto connected = connect_once(fd_, to);
    if (connected) return {};
    switch (static_cast<int>(connected.error())) {
      case EINTR:
        continue;
      case EINPROGRESS:
      case EALREADY:
        return finish_connecting(fd_, deadline);
      case EAGAIN:
        if (family_ == Family::local) return wait_for_backlog(fd_, to, deadline);
        [[fallthrough]];
      default:
        return connected;
    }
  }
}

auto Socket::disconnect() -> Result<void> {
  if (type_ == SocketType::stream || type_ == SocketType::seqpacket) {
    return failure(Error::invalid);
  }
  return connect_once(fd_, Address());
}

auto Socket::turn_into_ipv4() -> Result<void> {
  PARLEY_TRY(set(WritableOption<int>{IPPROTO_IPV6, IPV6_ADDRFORM}, AF_INET));
  family_ = Family::ipv4;
  return {};
}

auto Socket::shutdown(Direction direction) -> Result<void> {
  PARLEY_TRY(sys::call<::shutdown>(fd_.number(), static_cast<int>(direction)));
  return {};
}

auto Socket::bytes_waiting() const -> Result<std::size_t> {
  return ask_count(fd_, FIONREAD);
}

auto Socket::bytes_in_flight() const -> Result<std::size_t> {
  return ask_count(fd_, TIOCOUTQ);
}

auto Socket::at_urgent_mark() const -> Result<bool> {
  return PARLEY_TRY(sys::call<::sockatmark>(fd_.number())) != 0;
}

auto Socket::peer_address() const -> Result<Address> {
  return ask_address<::getpeername>(fd_);
}

auto Socket::peer_credentials() const -> Result<Credentials> {
  ucred raw{};
  socklen_t size_bytes = sizeof(raw);
  PARLEY_TRY(sys::call<::getsockopt>(fd_.number(), SOL_SOCKET, SO_PEERCRED, &raw, &size_bytes));
  return Credentials{.pid = raw.pid, .uid = raw.uid, .gid = raw.gid};
}

auto Socket::peer_groups() const -> Result<std::vector<gid_t>> {
  return ask_list(fd_, SO_PEERGROUPS, std::vector<gid_t>(16));
}

auto Socket::peer_pidfd() const -> Result<OwnedFd> {
  int number = -1;
  socklen_t size_bytes = sizeof(number);
  PARLEY_TRY(sys::call<::getsockopt>(fd_.number(), SOL_SOCKET, SO_PEERPIDFD, &number, &size_bytes));
  return OwnedFd::from_number(number);
}

auto Socket::peer_security_label() const -> Result<std::string> {
  std::string label = PARLEY_TRY(ask_list(fd_, SO_PEERSEC, std::string(128, '\0')));
  while (label.ends_with('\0')) label.pop_back();  // some modules count the end, others do not
  return label;
}

}  // namespace parley::os
