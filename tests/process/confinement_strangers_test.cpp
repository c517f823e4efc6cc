#include <parley/os/confinement.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include <array>
#include <ctime>
#include <string>
#include <string_view>

#include "support/confined.hpp"
#include "support/peer.hpp"
#include "support/temp_dir.hpp"

using namespace parley::os;
using parley::test::can_be_confined;
using parley::test::check_denied;
using parley::test::not_everywhere;
using parley::test::Peer;
using parley::test::TempDir;

namespace {

/// A process that has nothing to do with those that make the attempts.
class Stranger {
 public:
  [[nodiscard]] auto pid() const -> pid_t { return peer_.pid(); }
  Stranger() = default;
  Stranger(const Stranger&) = delete;
  auto operator=(const Stranger&) -> Stranger& = delete;
  ~Stranger() { peer_.kill(); }

 private:
  Peer peer_{[] {
    std::signal(SIGIO, SIG_IGN);  // where it is allowed, the attempts do send one
    for (;;) pause();
  }};
};

auto pidfd_of(pid_t pid) -> OwnedFd {
  return OwnedFd::from_number(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

auto unix_address(std::string_view path) -> sockaddr_un {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

template <class Address>
auto as_sockaddr(const Address& address) -> const sockaddr* {
  return reinterpret_cast<const sockaddr*>(&address);
}

auto loopback() -> sockaddr_in {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(9);
  return address;
}

}  // namespace

TEST_CASE("a confined process makes no socket and connects none that it holds") {
  if (!can_be_confined()) return;
  const TempDir folder;
  const auto stream = OwnedFd::from_number(socket(AF_UNIX, SOCK_STREAM, 0));
  const auto tcp = OwnedFd::from_number(socket(AF_INET, SOCK_STREAM, 0));
  const auto listener = OwnedFd::from_number(socket(AF_UNIX, SOCK_SEQPACKET, 0));
  const sockaddr_un path = unix_address(folder / "socket");
  const sockaddr_un abstract = unix_address(std::string_view("\0parley-test-nobody", 19));
  const sockaddr_in inet = loopback();
  std::array<int, 2> pair{};
  std::array<char, 1> byte{};
  iovec area{.iov_base = byte.data(), .iov_len = 1};
  msghdr message{};
  message.msg_iov = &area;
  message.msg_iovlen = 1;
  mmsghdr several{.msg_hdr = message, .msg_len = 0};
  sockaddr_in target = inet;
  msghdr opening = message;
  opening.msg_name = &target;
  opening.msg_namelen = sizeof target;
  check_denied({
      {"socket, local", [] { return socket(AF_UNIX, SOCK_STREAM, 0); }},
      {"socket, local datagrams", [] { return socket(AF_UNIX, SOCK_DGRAM, 0); }},
      {"socket, TCP", [] { return socket(AF_INET, SOCK_STREAM, 0); }},
      {"socket, UDP over IPv6", [] { return socket(AF_INET6, SOCK_DGRAM, 0); }},
      {"socket, netlink", [] { return socket(AF_NETLINK, SOCK_RAW, 0); }},
      {"socketpair of datagrams", [&] { return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()); }},
      {"socketpair, raw: datagrams by another name",
       [&] { return socketpair(AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0, pair.data()); }},
      {"bind", [&] { return bind(stream.number(), as_sockaddr(path), sizeof path); }},
      {"bind, TCP", [&] { return bind(tcp.number(), as_sockaddr(inet), sizeof inet); }},
      {"listen, which would take a port", [&] { return listen(tcp.number(), 1); }},
      {"connect to a path",
       [&] { return connect(stream.number(), as_sockaddr(path), sizeof path); }},
      {"connect to an abstract name",
       [&] { return connect(listener.number(), as_sockaddr(abstract), sizeof abstract); }},
      {"connect, TCP", [&] { return connect(tcp.number(), as_sockaddr(inet), sizeof inet); }},
      {"the firewall behind a socket",
       [&] { return setsockopt(tcp.number(), IPPROTO_IP, 64, byte.data(), 1); }, not_everywhere},
      {"sendto with an address",
       [&] {
         return sendto(stream.number(), byte.data(), 1, MSG_NOSIGNAL, as_sockaddr(path),
                       sizeof path);
       }},
      {"sendto that opens a connection",
       [&] {
         return sendto(tcp.number(), byte.data(), 1, MSG_FASTOPEN | MSG_NOSIGNAL, nullptr, 0);
       }},
      {"sendmsg that opens a connection",
       [&] { return sendmsg(tcp.number(), &opening, MSG_FASTOPEN | MSG_NOSIGNAL); }},
      {"sendmmsg that opens a connection",
       [&] { return sendmmsg(tcp.number(), &several, 1, MSG_FASTOPEN | MSG_NOSIGNAL); }},
  });
}

TEST_CASE("a held datagram socket reaches no abstract name where Landlock has scopes") {
  if (!can_be_confined()) return;
  const sockaddr_un abstract =
      unix_address(std::string("\0parley-test-", 13) + std::to_string(getpid()));
  const auto receiver = OwnedFd::from_number(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(bind(receiver.number(), as_sockaddr(abstract), sizeof abstract) == 0);
  Peer peer([&] {
    const auto held = OwnedFd::from_number(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    char byte = 'x';
    iovec area{.iov_base = &byte, .iov_len = 1};
    sockaddr_un target = abstract;
    msghdr message{};
    message.msg_iov = &area;
    message.msg_iovlen = 1;
    message.msg_name = &target;
    message.msg_namelen = sizeof target;
    REQUIRE(sendmsg(held.number(), &message, MSG_NOSIGNAL) == 1);
    const auto report = Confinement::enter({.require_all = false}).value();
    // The guarantee is lost all the same: a path can still be named.
    REQUIRE(report.why_not(ConfinementPart::held_sockets) == parley::Error::busy);
    REQUIRE(sendto(held.number(), &byte, 1, 0, as_sockaddr(target), sizeof target) == -1);
    REQUIRE(errno == EPERM);
    constexpr int abi_with_scopes = 6;
    if (report.landlock_abi.value_or(0) < abi_with_scopes) return;
    REQUIRE(sendmsg(held.number(), &message, MSG_NOSIGNAL) == -1);
    REQUIRE(errno == EPERM);
  });
}

TEST_CASE("a confined process looks into no other, and takes nothing out of it") {
  if (!can_be_confined()) return;
  const Stranger stranger;
  const auto pidfd = pidfd_of(stranger.pid());
  const pid_t pid = stranger.pid();
  char byte = 'x';
  const iovec here{.iov_base = &byte, .iov_len = 1};
  char source = 'y';
  const iovec there{.iov_base = &source, .iov_len = 1};
  perf_event_attr profile{};
  std::array<void*, 2> list{};
  std::array<char, 128> mask{};
  check_denied({
      {"ptrace attach", [&] { return ptrace(PTRACE_ATTACH, pid, 0, 0); }, not_everywhere},
      {"ptrace attach of the parent", [&] { return ptrace(PTRACE_SEIZE, getppid(), 0, 0); },
       not_everywhere},
      {"ptrace me", [&] { return ptrace(PTRACE_TRACEME, 0, 0, 0); }},
      {"process_vm_readv", [&] { return process_vm_readv(pid, &here, 1, &there, 1, 0); },
       not_everywhere},
      {"process_vm_writev", [&] { return process_vm_writev(pid, &here, 1, &there, 1, 0); },
       not_everywhere},
      {"process_madvise",
       [&] { return syscall(SYS_process_madvise, pidfd.number(), &there, 1, 20, 0); },
       not_everywhere},
      {"pidfd_open", [&] { return syscall(SYS_pidfd_open, pid, 0); }},
      {"pidfd_getfd", [&] { return syscall(SYS_pidfd_getfd, pidfd.number(), 0, 0); },
       not_everywhere},
      {"kcmp", [&] { return syscall(SYS_kcmp, pid, getppid(), 0, 0, 0); }, not_everywhere},
      {"perf_event_open", [&] { return syscall(SYS_perf_event_open, &profile, pid, -1, -1, 0); },
       not_everywhere},
      {"get_robust_list", [&] { return syscall(SYS_get_robust_list, pid, &list[0], &list[1]); },
       not_everywhere},
      {"prlimit", [&] { return prlimit(pid, RLIMIT_NOFILE, nullptr, nullptr); }, not_everywhere},
      {"sched_setaffinity",
       [&] { return sched_setaffinity(pid, 128, reinterpret_cast<cpu_set_t*>(mask.data())); },
       not_everywhere},
      {"another's processor time",
       [&] {
         const clockid_t clock = static_cast<clockid_t>((~static_cast<unsigned>(pid) << 3) | 2);
         timespec time{};
         return clock_gettime(clock, &time);
       }},
      {"getsid", [&] { return getsid(pid); }},
      {"setpgid", [&] { return setpgid(0, 0); }},
      {"being traced by others", [&] { return prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); }},
  });
}

TEST_CASE("a confined process signals no stranger, by whatever call") {
  if (!can_be_confined()) return;
  const Stranger stranger;
  const auto pidfd = pidfd_of(stranger.pid());
  const pid_t pid = stranger.pid();
  siginfo_t info{};
  info.si_code = SI_QUEUE;
  std::array<int, 2> pipe{};
  REQUIRE(pipe2(pipe.data(), O_CLOEXEC) == 0);
  const auto reader = OwnedFd::from_number(pipe[0]);
  const auto writer = OwnedFd::from_number(pipe[1]);
  const f_owner_ex owner{.type = F_OWNER_PID, .pid = pid};
  check_denied({
      {"kill", [&] { return kill(pid, 0); }},
      {"kill of the parent", [] { return kill(getppid(), 0); }},
      {"tgkill", [&] { return syscall(SYS_tgkill, pid, pid, 0); }},
      {"tkill", [&] { return syscall(SYS_tkill, pid, 0); }},
      {"rt_sigqueueinfo", [&] { return syscall(SYS_rt_sigqueueinfo, pid, 0, &info); }},
      {"rt_tgsigqueueinfo", [&] { return syscall(SYS_rt_tgsigqueueinfo, pid, pid, 0, &info); }},
      {"pidfd_send_signal",
       [&] { return syscall(SYS_pidfd_send_signal, pidfd.number(), 0, nullptr, 0); }},
      {"F_SETOWN", [&] { return fcntl(reader.number(), F_SETOWN, pid); }},
      {"F_SETOWN_EX", [&] { return fcntl(reader.number(), F_SETOWN_EX, &owner); }},
      {"O_ASYNC", [&] { return fcntl(reader.number(), F_SETFL, O_ASYNC); }},
      {"FIOSETOWN", [&] { return ioctl(reader.number(), 0x8901UL, &pid); }},
      {"FIOASYNC",
       [&] {
         const int on = 1;
         return ioctl(reader.number(), FIOASYNC, &on);
       }},
  });
}
