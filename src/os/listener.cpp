// Listeners, and what is common to making listeners and sockets.
#include <poll.h>

#include <cerrno>

#include <parley/os/socket.hpp>

#include "os/socket_kind.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

auto ask_int(BorrowedFd fd, int name) -> Result<int> {
  int value = 0;
  socklen_t size_bytes = sizeof(value);
  PARLEY_TRY(sys::call<::getsockopt>(fd.number(), SOL_SOCKET, name, &value, &size_bytes));
  return value;
}

auto set_flag(BorrowedFd fd, int name) -> Result<void> {
  const int on = 1;
  PARLEY_TRY(sys::call<::setsockopt>(fd.number(), SOL_SOCKET, name, &on, socklen_t{sizeof(on)}));
  return {};
}

auto is_known(int domain, int type) -> bool {
  const bool known_family = domain == AF_UNIX || domain == AF_INET || domain == AF_INET6;
  const bool known_type =
      type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_SEQPACKET || type == SOCK_RAW;
  return known_family && known_type;
}

/// Errors of a connection that waited, not of the listener: accept(2) says to go on.
auto is_of_the_connection(Error error) -> bool {
  switch (static_cast<int>(error)) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
      return true;
    default:
      return false;
  }
}

}  // namespace

auto socket_kind(BorrowedFd fd) -> Result<SocketKind> {
  const auto domain = ask_int(fd, SO_DOMAIN);
  if (!domain && domain.error() == static_cast<Error>(ENOTSOCK)) return failure(Error::invalid);
  if (!domain) return failure(domain.error());
  const int type = PARLEY_TRY(ask_int(fd, SO_TYPE));
  if (!is_known(*domain, type)) return failure(Error::invalid);
  return SocketKind{.family = static_cast<Family>(*domain),
                    .type = static_cast<SocketType>(type),
                    .listens = PARLEY_TRY(ask_int(fd, SO_ACCEPTCONN)) != 0};
}

auto mark_messages(BorrowedFd fd, Family family, SocketType type) -> Result<void> {
  if (family != Family::local || type != SocketType::seqpacket) return {};
  return set_flag(fd, SO_TIMESTAMPNS);
}

auto Listener::create(const Address& address, ListenOptions options) -> Result<Listener> {
  Socket socket = PARLEY_TRY(Socket::create(address.family(), options.type));
  if (options.reuse_address && address.family() != Family::local) {
    PARLEY_TRY(set_flag(socket.fd(), SO_REUSEADDR));
  }
  PARLEY_TRY(socket.bind(address, options.bind));
  auto listening = sys::call<::listen>(socket.fd().number(), options.backlog);
  if (!listening) {
    const std::string path(address.path().value_or(""));
    if (!path.empty()) sys::release<::unlink>(path.c_str());
    return failure(listening.error());
  }
  return Listener(std::move(socket));
}

auto Listener::listen(Socket socket, int backlog) -> Result<Listener> {
  PARLEY_TRY(sys::call<::listen>(socket.fd().number(), backlog));
  return Listener(std::move(socket));
}

auto Listener::adopt(OwnedFd fd) -> Result<Listener> {
  const SocketKind kind = PARLEY_TRY(socket_kind(fd));
  if (!kind.listens) return failure(Error::invalid);
  PARLEY_TRY(set_nonblocking(fd, true));
  return Listener(std::move(fd), kind.family, kind.type);
}

auto Listener::accept_from(Deadline deadline) -> Result<std::pair<Socket, Address>> {
  sockaddr_storage storage{};
  socklen_t size_bytes = sizeof(storage);
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const int number = PARLEY_TRY(when_ready(fd_, POLLIN, deadline, [&] {
    constexpr int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    size_bytes = sizeof(storage);
    auto accepted = sys::call<::accept4>(fd_.number(), raw, &size_bytes, flags);
    if (!accepted && is_of_the_connection(accepted.error())) accepted = failure(Error::interrupted);
    return accepted;
  }));
  Socket socket(OwnedFd::from_number(number), family_, type_);
  PARLEY_TRY(mark_messages(socket.fd(), family_, type_));
  return std::pair(std::move(socket), PARLEY_TRY(Address::from_sockaddr(raw, size_bytes)));
}

auto Listener::accept(Deadline deadline) -> Result<Socket> {
  return PARLEY_TRY(accept_from(deadline)).first;
}

}  // namespace parley::os
