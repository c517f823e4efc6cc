#ifdef __linux__
#include "os/confinement_filter.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include <parley/os/descriptor.hpp>

#include "os/sys.hpp"

namespace parley::os {
namespace {

// Allowed whatever the arguments are: none of these takes a path, an address, a key, an id that
// means something outside of this process, or, but where it says so, the number of another process.
// Those that the architecture does not have are skipped. What a kernel adds later is denied until
// it is listed.

constexpr std::array on_held_descriptors{
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2),
    SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup2),
    SCMP_SYS(dup3), SCMP_SYS(flock), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate), SCMP_SYS(fadvise64), SCMP_SYS(readahead), SCMP_SYS(sync_file_range),
    SCMP_SYS(sendfile), SCMP_SYS(splice), SCMP_SYS(tee), SCMP_SYS(vmsplice), SCMP_SYS(fstat),
    SCMP_SYS(fstatfs), SCMP_SYS(getdents64), SCMP_SYS(copy_file_range),
    // Sockets: an accepted connection was held with its listener.
    SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg), SCMP_SYS(accept), SCMP_SYS(accept4),
    SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
    // POSIX message queues that are open.
    SCMP_SYS(mq_timedsend), SCMP_SYS(mq_timedreceive), SCMP_SYS(mq_notify),
    SCMP_SYS(mq_getsetattr)};

constexpr std::array without_a_name{SCMP_SYS(pipe),
                                    SCMP_SYS(pipe2),
                                    SCMP_SYS(memfd_create),
                                    SCMP_SYS(memfd_secret),
                                    SCMP_SYS(eventfd),
                                    SCMP_SYS(eventfd2),
                                    SCMP_SYS(signalfd),
                                    SCMP_SYS(signalfd4),
                                    SCMP_SYS(timerfd_create),
                                    SCMP_SYS(timerfd_settime),
                                    SCMP_SYS(timerfd_gettime),
                                    SCMP_SYS(epoll_create),
                                    SCMP_SYS(epoll_create1),
                                    SCMP_SYS(epoll_ctl),
                                    SCMP_SYS(epoll_wait),
                                    SCMP_SYS(epoll_pwait),
                                    SCMP_SYS(epoll_pwait2),
                                    SCMP_SYS(poll),
                                    SCMP_SYS(ppoll),
                                    SCMP_SYS(select),
                                    SCMP_SYS(pselect6)};

constexpr std::array own_memory{
    SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
    SCMP_SYS(madvise), SCMP_SYS(msync), SCMP_SYS(mincore), SCMP_SYS(mlock), SCMP_SYS(mlock2),
    SCMP_SYS(munlock), SCMP_SYS(mlockall), SCMP_SYS(munlockall), SCMP_SYS(membarrier),
    SCMP_SYS(pkey_alloc), SCMP_SYS(pkey_free), SCMP_SYS(pkey_mprotect),
    // What is attached may be given up.
    SCMP_SYS(shmdt)};

constexpr std::array own_threads_and_time{
    SCMP_SYS(futex), SCMP_SYS(futex_waitv), SCMP_SYS(set_robust_list), SCMP_SYS(set_tid_address),
    SCMP_SYS(rseq), SCMP_SYS(sched_yield), SCMP_SYS(getcpu), SCMP_SYS(arch_prctl),
    SCMP_SYS(restart_syscall), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(times), SCMP_SYS(getitimer), SCMP_SYS(setitimer), SCMP_SYS(alarm), SCMP_SYS(pause),
    SCMP_SYS(timer_settime), SCMP_SYS(timer_gettime), SCMP_SYS(timer_getoverrun),
    SCMP_SYS(timer_delete),
    // The C library asks these of its own threads, by numbers that a filter cannot know; they tell
    // nothing but how a thread is scheduled.
    SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler),
    SCMP_SYS(sched_get_priority_max), SCMP_SYS(sched_get_priority_min)};

constexpr std::array own_process{
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(wait4),
    SCMP_SYS(waitid), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getpgrp),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid),
    SCMP_SYS(getresgid), SCMP_SYS(getgroups), SCMP_SYS(getrlimit), SCMP_SYS(setrlimit),
    SCMP_SYS(getrusage), SCMP_SYS(umask), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrandom),
    // Its own signals.
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(rt_sigsuspend),
    SCMP_SYS(sigaltstack)};

constexpr std::array to_any_process{SCMP_SYS(kill),
                                    SCMP_SYS(tgkill),
                                    SCMP_SYS(tkill),
                                    SCMP_SYS(rt_sigqueueinfo),
                                    SCMP_SYS(rt_tgsigqueueinfo),
                                    SCMP_SYS(pidfd_send_signal)};

// F_SETOWN is not among them: it names a process that is to get signals.
constexpr std::array fcntl_commands{F_DUPFD,      F_DUPFD_CLOEXEC, F_GETFD,      F_SETFD,
                                    F_GETFL,      F_GETLK,         F_SETLK,      F_SETLKW,
                                    F_OFD_GETLK,  F_OFD_SETLK,     F_OFD_SETLKW, F_GETPIPE_SZ,
                                    F_SETPIPE_SZ, F_ADD_SEALS,     F_GET_SEALS};

// No driver's own: many open something, and TIOCSTI types into the terminal of others.
constexpr std::uint32_t pidfd_get_info = 0xC040FF0B;  // how a child ended; Linux 6.13
constexpr std::array<std::uint32_t, 9> ioctl_requests{
    FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCOUTQ, TCGETS, TIOCGWINSZ, SIOCATMARK, pidfd_get_info};

// A name for threads and mappings, and what makes this process less, not more.
constexpr std::array prctl_options{
    PR_SET_NAME,         PR_GET_NAME,         PR_SET_PDEATHSIG,  PR_GET_PDEATHSIG,  PR_GET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK, PR_SET_VMA};

/// Namespaces; and a child that would be the parent's, to whom its end is signalled.
constexpr auto forbidden_clone_flags =
    std::uint32_t{CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                  CLONE_NEWPID | CLONE_NEWNET | CLONE_PARENT};

/// A call to libseccomp, which returns minus an error number; through the seam of system calls.
template <auto function, class... Arguments>
auto call(Arguments... arguments) -> Result<void> {
  if (sys::must_fail()) return failure(last_error());
  const int result = function(arguments...);
  if (result < 0) return failure(static_cast<Error>(-result));
  return {};
}

/// The low 32 bits of an argument, all that the kernel looks at where it takes an int, are `value`.
auto is(unsigned argument, std::uint32_t value) -> scmp_arg_cmp {
  return {argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, value};
}

/// None of the bits is set.
auto lacks(unsigned argument, std::uint32_t bits) -> scmp_arg_cmp {
  return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}

auto is_null(unsigned argument) -> scmp_arg_cmp {
  return {argument, SCMP_CMP_EQ, 0, 0};
}

class Filter {
 public:
  static auto create() -> Result<Filter> {
    if (sys::must_fail()) return failure(last_error());
    Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
    if (!filter.context_) return failure(Error::out_of_memory);
    return filter;
  }

  /// Sets one of libseccomp's attributes.
  auto set(scmp_filter_attr attribute, std::uint32_t value) -> Result<void> {
    return call<::seccomp_attr_set>(context_.get(), attribute, value);
  }

  /// Allows a call where every comparison holds.
  auto allow(int system_call, std::initializer_list<scmp_arg_cmp> where = {}) -> Result<void> {
    return add(SCMP_ACT_ALLOW, system_call, where);
  }

  auto allow_all(std::span<const int> system_calls) -> Result<void> {
    for (const int system_call : system_calls) PARLEY_TRY(allow(system_call));
    return {};
  }

  auto add(std::uint32_t action, int system_call, std::initializer_list<scmp_arg_cmp> where = {})
      -> Result<void> {
    return call<::seccomp_rule_add_array>(context_.get(), action, system_call,
                                          static_cast<unsigned>(where.size()), where.begin());
  }

  /// The program. libseccomp writes it to a descriptor only.
  auto compile() -> Result<std::vector<sock_filter>> {
    const auto file = OwnedFd::from_number(
        PARLEY_TRY(sys::call<::memfd_create>("parley-filter", unsigned{MFD_CLOEXEC})));
    PARLEY_TRY(call<::seccomp_export_bpf>(context_.get(), file.number()));
    struct stat status{};
    PARLEY_TRY(sys::call<sys::file_status>(file.number(), &status));
    std::vector<sock_filter> program(static_cast<std::size_t>(status.st_size) /
                                     sizeof(sock_filter));
    PARLEY_TRY(sys::call<::pread>(file.number(), program.data(),
                                  program.size() * sizeof(sock_filter), off_t{0}));
    return program;
  }

 private:
  explicit Filter(scmp_filter_ctx context) : context_(context, seccomp_release) {}

  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context_;
};

auto allow_commands(Filter& filter) -> Result<void> {
  for (const int command : fcntl_commands) {
    PARLEY_TRY(filter.allow(SCMP_SYS(fcntl), {is(1, static_cast<std::uint32_t>(command))}));
  }
  // O_ASYNC would send signals to whoever owns a terminal.
  PARLEY_TRY(filter.allow(SCMP_SYS(fcntl), {is(1, F_SETFL), lacks(2, O_ASYNC)}));
  for (const std::uint32_t request : ioctl_requests) {
    PARLEY_TRY(filter.allow(SCMP_SYS(ioctl), {is(1, request)}));
  }
  for (const int option : prctl_options) {
    PARLEY_TRY(filter.allow(SCMP_SYS(prctl), {is(0, static_cast<std::uint32_t>(option))}));
  }
  return {};
}

/// Sending without an address, and pairs whose ends can reach only each other: a datagram socket
/// could name strangers in sendmsg. MSG_FASTOPEN would connect.
auto allow_sockets(Filter& filter) -> Result<void> {
  for (const std::uint32_t type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    constexpr std::uint32_t type_bits = 0xf;  // besides SOCK_CLOEXEC and SOCK_NONBLOCK
    PARLEY_TRY(filter.allow(SCMP_SYS(socketpair),
                            {is(0, AF_UNIX), {1, SCMP_CMP_MASKED_EQ, type_bits, type}}));
  }
  // Of the levels only these: behind others a privileged process finds the firewall's tables, as it
  // does behind IP's own from this number on.
  constexpr std::uint64_t first_of_the_firewall = 64;
  for (const std::uint32_t level :
       std::array<std::uint32_t, 3>{SOL_SOCKET, IPPROTO_TCP, IPPROTO_UDP}) {
    PARLEY_TRY(filter.allow(SCMP_SYS(setsockopt), {is(1, level)}));
  }
  for (const std::uint32_t level : std::array<std::uint32_t, 2>{IPPROTO_IP, IPPROTO_IPV6}) {
    PARLEY_TRY(filter.allow(SCMP_SYS(setsockopt),
                            {is(1, level), {2, SCMP_CMP_LT, first_of_the_firewall, 0}}));
  }
  PARLEY_TRY(filter.allow(SCMP_SYS(sendto), {lacks(3, MSG_FASTOPEN), is_null(4)}));
  PARLEY_TRY(filter.allow(SCMP_SYS(sendmsg), {lacks(2, MSG_FASTOPEN)}));
  PARLEY_TRY(filter.allow(SCMP_SYS(sendmmsg), {lacks(3, MSG_FASTOPEN)}));
  return {};
}

/// Calls that name a process, where it is this one.
auto allow_own_process(Filter& filter) -> Result<void> {
  PARLEY_TRY(filter.allow(SCMP_SYS(clone), {lacks(0, forbidden_clone_flags)}));
  // The flags of clone3 are in memory. Told that there is none, the C library uses clone.
  PARLEY_TRY(filter.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3)));
  for (const int system_call : {SCMP_SYS(prlimit64), SCMP_SYS(getpgid), SCMP_SYS(getsid),
                                SCMP_SYS(get_robust_list), SCMP_SYS(sched_setaffinity)}) {
    PARLEY_TRY(filter.allow(system_call, {is(0, 0)}));
  }
  // A negative clock is the processor time of the process whose number is in it.
  constexpr std::uint32_t sign = 0x8000'0000;
  for (const int system_call : {SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
                                SCMP_SYS(clock_nanosleep), SCMP_SYS(timer_create)}) {
    PARLEY_TRY(filter.allow(system_call, {lacks(0, sign)}));
  }
  for (const int system_call : {SCMP_SYS(getpriority), SCMP_SYS(setpriority)}) {
    PARLEY_TRY(filter.allow(system_call, {is(0, PRIO_PROCESS), is(1, 0)}));
  }
  return {};
}

auto allow_signals(Filter& filter, SignalGuard guard) -> Result<void> {
  if (guard == SignalGuard::landlock) return filter.allow_all(to_any_process);
  const auto own = static_cast<std::uint32_t>(PARLEY_TRY(sys::call<::getpid>()));
  for (const int system_call :
       {SCMP_SYS(kill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo)}) {
    PARLEY_TRY(filter.allow(system_call, {is(0, own)}));
  }
  return {};
}

}  // namespace

auto compile_filter(SignalGuard guard) -> Result<std::vector<sock_filter>> {
  Filter filter = PARLEY_TRY(Filter::create());
  PARLEY_TRY(filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
  constexpr std::uint32_t binary_tree = 2;
  PARLEY_TRY(filter.set(SCMP_FLTATR_CTL_OPTIMIZE, binary_tree));
  for (const std::span<const int> group :
       {std::span<const int>(on_held_descriptors), std::span<const int>(without_a_name),
        std::span<const int>(own_memory), std::span<const int>(own_threads_and_time),
        std::span<const int>(own_process)}) {
    PARLEY_TRY(filter.allow_all(group));
  }
  PARLEY_TRY(allow_commands(filter));
  PARLEY_TRY(allow_sockets(filter));
  PARLEY_TRY(allow_own_process(filter));
  PARLEY_TRY(allow_signals(filter, guard));
  return filter.compile();
}

}  // namespace parley::os
#endif
