#include <parley/os/confinement.hpp>

#include <doctest/doctest.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <mqueue.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include <array>
#include <string>

#include "support/confined.hpp"
#include "support/peer.hpp"
#include "support/temp_dir.hpp"

using namespace parley::os;
using parley::test::can_be_confined;
using parley::test::check_denied;
using parley::test::not_everywhere;
using parley::test::Peer;
using parley::test::TempDir;

TEST_CASE("a confined process opens, reads and changes nothing by a path") {
  if (!can_be_confined()) return;
  const TempDir folder;
  const std::string file = folder / "file";
  const std::string other = folder / "other";
  REQUIRE(close(open(file.c_str(), O_CREAT | O_WRONLY, 0600)) == 0);
  const auto held = OwnedFd::from_number(open(folder.path().c_str(), O_RDONLY | O_DIRECTORY));
  const auto held_file = OwnedFd::from_number(open(file.c_str(), O_RDWR));
  const std::string by_number = "/proc/self/fd/" + std::to_string(held_file.number());
  const int at = held.number();
  const char* path = file.c_str();
  const char* second = other.c_str();
  struct stat status{};
  struct statfs filesystem{};
  struct statx extended{};
  std::array<char, 4096> text{};
  open_how how{};
  how.flags = O_RDONLY;
  std::array<unsigned, 34> handle{128};  // a struct file_handle: its size, its type, the bytes
  int mount_id = 0;
  check_denied({
      {"open", [&] { return open(path, O_RDONLY); }},
      {"open of a descriptor in /proc", [&] { return open(by_number.c_str(), O_RDONLY); }},
      {"creat", [&] { return creat(second, 0600); }},
      {"openat below a held folder", [&] { return openat(at, "file", O_RDONLY); }},
      {"openat of an unnamed file", [&] { return openat(at, ".", O_TMPFILE | O_RDWR, 0600); }},
      {"openat2", [&] { return syscall(SYS_openat2, at, "file", &how, sizeof how); }},
      {"name_to_handle_at",
       [&] { return syscall(SYS_name_to_handle_at, at, "file", handle.data(), &mount_id, 0); },
       not_everywhere},
      {"open_by_handle_at",
       [&] { return syscall(SYS_open_by_handle_at, at, handle.data(), O_RDONLY); }, not_everywhere},
      {"stat", [&] { return stat(path, &status); }},
      {"fstatat below a held folder", [&] { return fstatat(at, "file", &status, 0); }},
      {"statx", [&] { return statx(at, "file", 0, STATX_BASIC_STATS, &extended); }},
      {"statfs", [&] { return statfs(path, &filesystem); }},
      {"access", [&] { return access(path, R_OK); }},
      {"faccessat2", [&] { return syscall(SYS_faccessat2, at, "file", R_OK, AT_EACCESS); }},
      {"readlink", [&] { return readlink("/proc/self/exe", text.data(), text.size()); }},
      {"getcwd", [&] { return syscall(SYS_getcwd, text.data(), text.size()); }},
      {"chmod", [&] { return chmod(path, 0644); }},
      {"fchmodat", [&] { return fchmodat(at, "file", 0644, 0); }},
      {"fchmod", [&] { return fchmod(held_file.number(), 0644); }},
      {"chown", [&] { return chown(path, getuid(), getgid()); }},
      {"truncate", [&] { return truncate(path, 0); }},
      {"utimensat", [&] { return utimensat(at, "file", nullptr, 0); }},
      {"rename", [&] { return rename(path, path); }},
      {"renameat2", [&] { return syscall(SYS_renameat2, at, "file", at, "file", 0); }},
      {"link", [&] { return link(path, second); }},
      {"linkat of a held descriptor",
       [&] { return linkat(AT_FDCWD, by_number.c_str(), at, "third", AT_SYMLINK_FOLLOW); }},
      {"symlink", [&] { return symlink("x", (folder / "link").c_str()); }},
      {"mkdir", [&] { return mkdir((folder / "folder").c_str(), 0700); }},
      {"rmdir", [&] { return rmdir((folder / "folder").c_str()); }},
      {"mknod", [&] { return mknod((folder / "fifo").c_str(), S_IFIFO | 0600, 0); }},
      {"unlink", [&] { return unlink(second); }},
      {"unlinkat", [&] { return unlinkat(at, "link", 0); }},
      {"setxattr", [&] { return setxattr(path, "user.a", "b", 1, 0); }},
      {"getxattr", [&] { return getxattr(path, "user.a", text.data(), text.size()); }},
      {"chdir", [&] { return chdir("/"); }},
      {"fchdir", [&] { return fchdir(at); }},
      {"chroot", [&] { return chroot("/"); }, not_everywhere},
      {"inotify_add_watch", [&] { return syscall(SYS_inotify_add_watch, -1, path, 1); }},
      {"fanotify_init", [&] { return syscall(SYS_fanotify_init, 0, 0); }, not_everywhere},
      {"mount", [&] { return mount("none", "/nowhere", "tmpfs", 0, nullptr); }, not_everywhere},
      {"umount2", [&] { return umount2("/nowhere", 0); }, not_everywhere},
      {"open_tree", [&] { return syscall(SYS_open_tree, at, ".", 0); }, not_everywhere},
      {"fsopen", [&] { return syscall(SYS_fsopen, "tmpfs", 0); }, not_everywhere},
      {"execve", [&] { return syscall(SYS_execve, "/nowhere", nullptr, nullptr); }},
      {"execveat of a held descriptor",
       [&] {
         char* const none[] = {nullptr};
         return syscall(SYS_execveat, held_file.number(), "", none, none, AT_EMPTY_PATH);
       }},
  });
}

TEST_CASE("a confined process loads no library and asks for no account") {
  if (!can_be_confined()) return;
  Peer peer([] {
    constexpr const char* library = "libresolv.so.2";  // there with the C library, not loaded
    REQUIRE(dlopen(library, RTLD_NOW | RTLD_NOLOAD) == nullptr);
    REQUIRE(Confinement::enter());
    REQUIRE(dlopen(library, RTLD_NOW) == nullptr);
  });
}

namespace {

/// One System V object and one POSIX object of each kind, for as long as it lives.
struct Objects {
  Objects() = default;
  Objects(const Objects&) = delete;
  auto operator=(const Objects&) -> Objects& = delete;
  ~Objects() {
    semctl(set, 0, IPC_RMID);
    msgctl(queue, IPC_RMID, nullptr);
    shmctl(segment, IPC_RMID, nullptr);
    for (const int fd : {memory, posix_queue}) close(fd);
    if (semaphore != SEM_FAILED) sem_close(semaphore);
    mq_unlink(name.c_str());
    sem_unlink(name.c_str());
    shm_unlink(name.c_str());
  }

  std::string name = "/parley-test-" + std::to_string(getpid());
  int set = semget(IPC_PRIVATE, 1, 0600);
  int queue = msgget(IPC_PRIVATE, 0600);
  int segment = shmget(IPC_PRIVATE, 4096, 0600);
  int memory = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  int posix_queue = mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, nullptr);
  sem_t* semaphore = sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 1);
};

}  // namespace

TEST_CASE("a confined process reaches no System V or POSIX object by key, id or name") {
  if (!can_be_confined()) return;
  const Objects objects;
  for (const int made : {objects.set, objects.queue, objects.segment, objects.memory}) {
    REQUIRE(made != -1);
  }
  REQUIRE(objects.semaphore != SEM_FAILED);
  const char* name = objects.name.c_str();
  sembuf raise{.sem_num = 0, .sem_op = 1, .sem_flg = 0};
  const timespec at_once{};
  struct {
    long type;
    char text;
  } message{1, 'x'};
  check_denied({
      {"semget", [&] { return semget(0x7061726c, 0, 0); }},
      {"semop by id", [&] { return semop(objects.set, &raise, 1); }},
      {"semtimedop by id", [&] { return semtimedop(objects.set, &raise, 1, &at_once); }},
      {"semctl by id", [&] { return semctl(objects.set, 0, GETVAL); }},
      {"msgget", [&] { return msgget(0x7061726c, 0); }},
      {"msgsnd by id", [&] { return msgsnd(objects.queue, &message, 1, IPC_NOWAIT); }},
      {"msgrcv by id", [&] { return msgrcv(objects.queue, &message, 1, 0, IPC_NOWAIT); }},
      {"msgctl by id", [&] { return msgctl(objects.queue, IPC_STAT, nullptr); }},
      {"shmget", [&] { return shmget(0x7061726c, 0, 0); }},
      {"shmat by id", [&] { return reinterpret_cast<long>(shmat(objects.segment, nullptr, 0)); }},
      {"shmctl by id", [&] { return shmctl(objects.segment, IPC_STAT, nullptr); }},
      {"shm_open", [&] { return shm_open(name, O_RDWR, 0); }},
      {"shm_unlink", [&] { return unlink("/dev/shm/parley-test-none"); }},
      {"sem_open", [&] { return sem_open(name, 0) == SEM_FAILED ? -1L : 0L; }},
      {"mq_open", [&] { return mq_open(name, O_RDWR); }},
      {"mq_unlink", [&] { return syscall(SYS_mq_unlink, "parley-test-none"); }},
      {"add_key", [&] { return syscall(SYS_add_key, "user", "parley", "x", 1, 0); },
       not_everywhere},
      {"keyctl", [&] { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, 0, 0); }, not_everywhere},
  });
}

TEST_CASE("a confined process gets no privileges, namespaces, programs in the kernel, or rings") {
  if (!can_be_confined()) return;
  const auto terminal = OwnedFd::from_number(posix_openpt(O_RDWR | O_NOCTTY));
  io_uring_params parameters{};
  check_denied({
      {"io_uring_setup", [&] { return syscall(SYS_io_uring_setup, 1, &parameters); },
       not_everywhere},
      {"io_uring_enter", [&] { return syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0); },
       not_everywhere},
      {"bpf", [] { return syscall(SYS_bpf, 0, nullptr, 0); }, not_everywhere},
      {"userfaultfd", [] { return syscall(SYS_userfaultfd, 0); }, not_everywhere},
      {"init_module", [] { return syscall(SYS_init_module, nullptr, 0, ""); }, not_everywhere},
      {"kexec_load", [] { return syscall(SYS_kexec_load, 0, 0, nullptr, 0); }, not_everywhere},
      {"reboot", [] { return syscall(SYS_reboot, 0, 0, 0, nullptr); }, not_everywhere},
      {"syslog", [] { return syscall(SYS_syslog, 10, nullptr, 0); }, not_everywhere},
      {"sethostname", [] { return syscall(SYS_sethostname, "x", 100); }, not_everywhere},
      {"settimeofday", [] { return syscall(SYS_settimeofday, nullptr, nullptr); }, not_everywhere},
      {"unshare", [] { return unshare(CLONE_FS); }, not_everywhere},
      {"setns", [] { return setns(-1, 0); }, not_everywhere},
      {"clone into a namespace",
       [] { return syscall(SYS_clone, long{CLONE_NEWUTS}, 0L, 0L, 0L, 0L); }, not_everywhere},
      {"clone of a sibling",
       [] {
         const long pid =
             syscall(SYS_clone, long{CLONE_PARENT | CLONE_VFORK | SIGCHLD}, 0L, 0L, 0L, 0L);
         if (pid == 0) _exit(0);
         return pid;
       }},
      {"setuid", [] { return setuid(getuid()); }},
      {"setgroups", [] { return syscall(SYS_setgroups, 0, nullptr); }, not_everywhere},
      {"capset", [] { return syscall(SYS_capset, nullptr, nullptr); }},
      {"personality", [] { return personality(0xffffffff); }},
      {"a filter of its own", [] { return syscall(SYS_seccomp, 1, 0, nullptr); }},
      {"prctl for capabilities", [] { return prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L); }},
      {"typing into a terminal", [&] { return ioctl(terminal.number(), TIOCSTI, "x"); },
       not_everywhere},
      {"opening the other end of a terminal",
       [&] { return ioctl(terminal.number(), TIOCGPTPEER, O_RDWR); }},
      {"a terminal's foreground group",
       [&] {
         pid_t group = 0;
         return ioctl(terminal.number(), TIOCSPGRP, &group);
       }},
      {"copying a network interface's list",
       [&] { return ioctl(terminal.number(), SIOCGIFCONF, nullptr); }},
  });
}

TEST_CASE("clone3 is said not to exist, so that the C library makes threads without it") {
  if (!can_be_confined()) return;
  Peer peer([] {
    REQUIRE(Confinement::enter());
    errno = 0;
    REQUIRE(syscall(SYS_clone3, nullptr, 0) == -1);
    REQUIRE(errno == ENOSYS);
  });
}

#ifdef __x86_64__
TEST_CASE("a confined process that calls the kernel as another architecture's is killed") {
  if (!can_be_confined()) return;
  Peer peer([] {
    REQUIRE(Confinement::enter());
    long result = 20;  // getpid of 32-bit programs
    asm volatile("int $0x80" : "+a"(result) : : "memory");
    REQUIRE(result == -1);
  });
  const int status = peer.wait();
  const bool is_killed = status == -SIGSYS || status == -SIGSEGV;  // without 32-bit support
  CHECK(is_killed);
}
#endif
