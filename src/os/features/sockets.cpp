// Probes of sockets, pipes, and asynchronous input and output.
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <optional>

#include "os/features/probe.hpp"

// Younger than the headers of Debian 12; the numbers differ on parisc and sparc, where it is not
// tried.
#if !defined(SO_PEERPIDFD) && !defined(__hppa__) && !defined(__sparc__)
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

namespace parley::os::probe {
namespace {

struct Pair {
  std::array<int, 2> ends{};
};

auto socket_pair() -> Result<Pair> {
  Pair pair;
  PARLEY_TRY(
      sys::call<::socketpair>(AF_UNIX, int{SOCK_STREAM} | int{SOCK_CLOEXEC}, 0, pair.ends.data()));
  return pair;
}

auto pipe_pair() -> Result<Pair> {
  Pair pair;
  PARLEY_TRY(sys::call<::pipe2>(pair.ends.data(), O_CLOEXEC));
  return pair;
}

/// Sends one byte, with a descriptor if there is one, and gives the type of the control message
/// that arrives with it, if any.
auto control_type(const Pair& pair, std::optional<int> passed) -> Result<std::optional<int>> {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  char byte = 'x';
  iovec area{.iov_base = &byte, .iov_len = 1};
  msghdr message{};
  message.msg_iov = &area;
  message.msg_iovlen = 1;
  if (passed) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &*passed, sizeof(int));
  }
  PARLEY_TRY(sys::call<::sendmsg>(pair.ends[0], &message, int{MSG_NOSIGNAL}));
  control = {};
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  PARLEY_TRY(sys::call<::recvmsg>(pair.ends[1], &message, int{MSG_CMSG_CLOEXEC}));
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  return header == nullptr ? std::nullopt : std::optional(header->cmsg_type);
}

/// Connects to a listener of this process.
auto loopback(const sockaddr* address, socklen_t size) -> Result<Fact> {
  const int type = int{SOCK_STREAM} | int{SOCK_CLOEXEC};
  const int listener = PARLEY_TRY(sys::call<::socket>(int{address->sa_family}, type, 0));
  PARLEY_TRY(sys::call<::bind>(listener, address, size));
  PARLEY_TRY(sys::call<::listen>(listener, 1));
  sockaddr_storage bound{};
  socklen_t bound_size = sizeof bound;
  auto* const where = reinterpret_cast<sockaddr*>(&bound);
  PARLEY_TRY(sys::call<::getsockname>(listener, where, &bound_size));
  const int client = PARLEY_TRY(sys::call<::socket>(int{address->sa_family}, type, 0));
  PARLEY_TRY(sys::call<::connect>(client, static_cast<const sockaddr*>(where), bound_size));
  return Fact{};
}

}  // namespace

auto descriptor_passing() -> Result<Fact> {
  const Pair pair = PARLEY_TRY(socket_pair());
  if (PARLEY_TRY(control_type(pair, pair.ends[0])) == SCM_RIGHTS) return Fact{};
  return told(Presence::missing, "accepted, but nothing arrives");
}

auto peer_pidfd() -> Result<Fact> {
#ifdef SO_PEERPIDFD
  const Pair pair = PARLEY_TRY(socket_pair());
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  PARLEY_TRY(sys::call<::getsockopt>(pair.ends[0], SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size));
  return Fact{};
#else
  return failure(Error::not_supported);
#endif
}

auto message_pidfd() -> Result<Fact> {
#ifdef SO_PASSPIDFD
  const Pair pair = PARLEY_TRY(socket_pair());
  const int on = 1;
  PARLEY_TRY(sys::call<::setsockopt>(pair.ends[1], SOL_SOCKET, SO_PASSPIDFD, &on,
                                     static_cast<socklen_t>(sizeof on)));
  if (PARLEY_TRY(control_type(pair, std::nullopt)) == SCM_PIDFD) return Fact{};
  return told(Presence::missing, "accepted, but nothing arrives");
#else
  return failure(Error::not_supported);
#endif
}

auto loopback_ipv4() -> Result<Fact> {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return loopback(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

auto loopback_ipv6() -> Result<Fact> {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return loopback(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

auto splice() -> Result<Fact> {
  const Pair from = PARLEY_TRY(pipe_pair());
  const Pair to = PARLEY_TRY(pipe_pair());
  const char byte = 'x';
  PARLEY_TRY(sys::call<::write>(from.ends[1], &byte, std::size_t{1}));
  PARLEY_TRY(sys::call<::splice>(from.ends[0], nullptr, to.ends[1], nullptr, std::size_t{1},
                                 unsigned{SPLICE_F_NONBLOCK}));
  return Fact{};
}

auto write_nosignal() -> Result<Fact> {
  constexpr int rwf_nosignal = 0x100;
  const Pair pipe = PARLEY_TRY(pipe_pair());
  char byte = 'x';
  const iovec area{.iov_base = &byte, .iov_len = 1};
  PARLEY_TRY(sys::call<::pwritev2>(pipe.ends[1], &area, 1, off_t{-1}, rwf_nosignal));
  return Fact{};
}

auto pipe_max_size() -> Result<Fact> {
  return measured_at_least(PARLEY_TRY(read_number("/proc/sys/fs/pipe-max-size")), 1 << 20);
}

auto io_uring() -> Result<Fact> {
  io_uring_params parameters{};
  PARLEY_TRY(sys::call<::syscall>(long{SYS_io_uring_setup}, 1U, &parameters));
  return Fact{};
}

}  // namespace parley::os::probe
