// The list of features, in the order in which they are shown.
#include "os/features/probe.hpp"

namespace parley::os::probe {
namespace {

constexpr bool needed = true;
constexpr bool improves = false;

constexpr std::string_view system_group = "system";
constexpr std::string_view sleeping = "sleeping and deaths";
constexpr std::string_view memory = "shared memory";
constexpr std::string_view sockets = "sockets and pipes";
constexpr std::string_view sysv = "System V";
constexpr std::string_view posix = "POSIX";
constexpr std::string_view confinement = "confinement";
constexpr std::string_view limits = "limits";

constexpr auto none = Unit::none;
constexpr auto count = Unit::count;
constexpr auto bytes = Unit::bytes;

constexpr std::string_view no_objects = "objects in shared memory";
constexpr std::string_view no_unnamed = "objects without a name";
constexpr std::string_view no_sysv = "this System V mechanism, and its stops of the tour";
constexpr std::string_view no_posix = "this POSIX mechanism, and its stops of the tour";
constexpr std::string_view no_named = "objects with a path in this directory";

constexpr Entry table[] = {
    {system_group, "linux", needed, none, linux_version, "every mechanism",
     "the calls that came later"},
    {system_group, "c_library", improves, none, c_library, "every call", "nothing"},
    {system_group, "cores", improves, count, cores, "spinning shortly before sleeping",
     "each exchange costs a switch of processes"},
    {system_group, "proc", needed, none, proc_filesystem,
     "opening FIFOs, naming finished files, read-only descriptors", "all of these"},
    {system_group, "boot_id", improves, none, boot_id,
     "knowing that nobody who used an object's file outlived a restart",
     "what they held in it stays held"},
    {system_group, "pid_namespace", improves, none, pid_namespace,
     "telling whether process ids of peers mean anything here", "nothing"},

    {sleeping, "futex", needed, none, futex, "sleeping and waking", no_objects},
    {sleeping, "futex_waitv", improves, none, futex_waitv,
     "waiting for data and for deaths at once", "sleepers that look for deaths every 5 ms"},
    {sleeping, "robust_list", needed, none, robust_list, "the kernel's mark of a death",
     no_objects},
    {sleeping, "madv_wipeonfork", needed, none, wipe_on_fork, "noticing a fork", no_objects},
    {sleeping, "membarrier", improves, none, membarrier,
     "knowing that the dead have stopped; fences on the side that sleeps only",
     "1 ms before each repair, and sleepers that look again every 2 ms"},
    {sleeping, "pidfd_open", improves, none, pidfd_open,
     "holding a child of fork, watching a process without its id's races",
     "Child::fork, and the deaths of peers without shared memory"},
    {sleeping, "pidfd_send_signal", improves, none, pidfd_send_signal,
     "signalling a child that cannot be mistaken", "Child::kill"},
    {sleeping, "pidfd_getfd", improves, none, pidfd_getfd, "looking at a process's objects",
     "showing objects that have no name"},
    {sleeping, "clone3", improves, none, clone3, "starting a child with its pidfd in one step",
     "two steps"},
    {sleeping, "close_range", improves, none, close_range,
     "starting a child with no descriptors but the stated ones", "a walk through /proc/self/fd"},

    {memory, "memfd_create", needed, none, memfd_create, "every object without a name", no_unnamed},
    {memory, "seal_shrink", needed, none, seal_shrink, "memory that no peer can truncate",
     no_unnamed},
    {memory, "seal_grow", needed, none, seal_grow, "memory that no peer can grow", no_unnamed},
    {memory, "seal_write", improves, none, seal_write, "large messages as finished memory",
     "a copy of each large message"},
    {memory, "seal_future_write", needed, none, seal_future_write,
     "memory that only its maker writes", "channels between processes that distrust each other"},
    {memory, "seal_seal", needed, none, seal_seal, "seals that are final", no_unnamed},
    {memory, "seal_exec", improves, none, seal_exec, "memory that cannot become a program",
     "that guard"},
    {memory, "memfd_noexec_seal", improves, none, memfd_noexec_seal,
     "memory that cannot become a program", "that guard"},
    {memory, "memfd_exec", improves, none, memfd_exec, "memory that may be a program, said openly",
     "the system's default decides"},
    {memory, "memfd_hugetlb", improves, none, memfd_hugetlb, "large objects in huge pages",
     "more misses of the address cache"},
    {memory, "memfd_secret", improves, none, memfd_secret, "memory that the kernel cannot read",
     "secret memory"},
    {memory, "memfd_lock", needed, none, memfd_lock, "coming to an object one at a time",
     no_objects},
    {memory, "object_directory", improves, none, object_directory, "objects with a bare name",
     "such objects; a path in another directory may do"},
    {memory, "tmpfile_runtime_dir", improves, none, runtime_dir_tmpfile, "named objects of a user",
     no_named},
    {memory, "tmpfile_dev_shm", improves, none, dev_shm_tmpfile, "named objects in memory",
     no_named},
    {memory, "tmpfile_tmp", improves, none, tmp_tmpfile, "named objects of passing use", no_named},
    {memory, "dev_shm_size", improves, bytes, dev_shm_size, "POSIX shared memory",
     "large files do not fit at once"},
    {memory, "dev_shm_free", improves, bytes, dev_shm_free, "POSIX shared memory",
     "large files do not fit at once"},

    {sockets, "descriptor_passing", needed, none, descriptor_passing,
     "handing objects to other processes", "objects can only be inherited"},
    {sockets, "peer_pidfd", improves, none, peer_pidfd, "watching who is at the other end",
     "the peer's id, which may be another's by then"},
    {sockets, "message_pidfd", improves, none, message_pidfd, "knowing who sent a message",
     "the sender's id, which may be another's by then"},
    {sockets, "loopback_ipv4", improves, none, loopback_ipv4, "TCP and UDP on this machine",
     "the tour's stop at TCP, unless IPv6 is there"},
    {sockets, "loopback_ipv6", improves, none, loopback_ipv6, "TCP and UDP on this machine",
     "nothing while IPv4 is there"},
    {sockets, "splice", improves, none, splice, "moving pages without copying", "a copy"},
    {sockets, "write_nosignal", improves, none, write_nosignal, "writing to a pipe without SIGPIPE",
     "three more system calls for each write"},
    {sockets, "pipe_max_size", improves, bytes, pipe_max_size, "pipes of a larger capacity",
     "more switches for large transfers"},
    {sockets, "io_uring", improves, none, io_uring, "many transfers with one system call",
     "a call for each"},

    {sysv, "sysv_semaphores", improves, none, sysv_semaphores, "sysv::SemaphoreSet", no_sysv},
    {sysv, "semmni", improves, count, semmni, "sets in the system", "fewer sets"},
    {sysv, "semmsl", improves, count, semmsl, "semaphores in a set", "smaller sets"},
    {sysv, "semopm", improves, count, semopm, "operations in one call", "fewer at once"},
    {sysv, "sysv_queues", improves, none, sysv_queues, "sysv::MessageQueue", no_sysv},
    {sysv, "msgmni", improves, count, msgmni, "queues in the system", "fewer queues"},
    {sysv, "msgmax", improves, bytes, msgmax, "the size of a message", "smaller messages"},
    {sysv, "msgmnb", improves, bytes, msgmnb, "what waits in a queue", "senders wait sooner"},
    {sysv, "msg_copy", improves, none, msg_copy, "looking at a message without taking it",
     "that operation"},
    {sysv, "sysv_shared_memory", improves, none, sysv_shared_memory, "sysv::SharedMemory", no_sysv},
    {sysv, "shmmni", improves, count, shmmni, "segments in the system", "fewer segments"},
    {sysv, "shmmax", improves, bytes, shmmax, "the size of a segment", "smaller segments"},

    {posix, "posix_semaphores", improves, none, posix_semaphores, "named posix::Semaphore",
     no_posix},
    {posix, "posix_queues", improves, none, posix_queues, "posix::MessageQueue", no_posix},
    {posix, "mqueue_msg_max", improves, count, mqueue_msg_max, "messages that wait in a queue",
     "senders wait sooner"},
    {posix, "mqueue_msgsize_max", improves, bytes, mqueue_msgsize_max, "the size of a message",
     "smaller messages"},
    {posix, "mqueue_queues_max", improves, count, mqueue_queues_max, "queues in the system",
     "fewer queues"},
    {posix, "rlimit_msgqueue", improves, bytes, rlimit_msgqueue, "queues of this user",
     "fewer or smaller queues"},
    {posix, "posix_shared_memory", improves, none, posix_shared_memory, "posix::SharedMemory",
     no_posix},

    {confinement, "landlock_abi", improves, count, landlock, "a process that opens no new paths",
     "the system-call filter alone confines"},
    {confinement, "seccomp_filter", improves, none, seccomp_filter,
     "a process that makes no new objects", "capability mode"},

    {limits, "rlimit_nofile", improves, count, rlimit_nofile,
     "open descriptors: one for each object", "fewer objects at once"},
    {limits, "rlimit_memlock", improves, bytes, rlimit_memlock, "locked and secret memory",
     "less of it"},
    {limits, "max_map_count", improves, count, max_map_count,
     "mappings: one or two for each object", "fewer objects at once"},
    {limits, "cgroup_pids", improves, count, cgroup_pids, "processes and threads", "fewer of them"},
    {limits, "cgroup_memory", improves, bytes, cgroup_memory, "memory of all objects",
     "the kernel kills the largest process"},
};

}  // namespace

auto entries() -> std::span<const Entry> {
  return table;
}

}  // namespace parley::os::probe
