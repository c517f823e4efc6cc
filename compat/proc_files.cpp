// The files of /proc in which the kernel tells of System V and POSIX objects: opened here they tell
// of the space's, so that ipcs(1) and its kin see what the program sees.
//
// Such a file is a sealed memfd with the text of that moment. Every other path goes to the C
// library's own function; one of these that is to be written to is EACCES, since the limits of a
// space are set when it is made.
#undef _FORTIFY_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "export.hpp"
#include "next.hpp"
#include "process.hpp"

namespace parley::compat {
namespace {

using Open = int(const char*, int, ...);
using OpenAt = int(int, const char*, int, ...);
using OpenChecked = int(const char*, int);
using OpenAtChecked = int(int, const char*, int);
using Create = int(const char*, mode_t);
using OpenStream = FILE*(const char*, const char*);

constinit Next<Open> next_open("open");
constinit Next<OpenAt> next_openat("openat");
constinit Next<Create> next_creat("creat");
constinit Next<OpenStream> next_fopen("fopen");
#ifdef __GLIBC__
constinit Next<Open> next_open64("open64");
constinit Next<OpenAt> next_openat64("openat64");
constinit Next<Create> next_creat64("creat64");
constinit Next<OpenStream> next_fopen64("fopen64");
constinit Next<OpenChecked> next_open_2("__open_2");
constinit Next<OpenChecked> next_open64_2("__open64_2");
constinit Next<OpenAtChecked> next_openat_2("__openat_2");
constinit Next<OpenAtChecked> next_openat64_2("__openat64_2");
#endif

template <class... Nexts>
void look_up(Nexts&... nexts) {
  (static_cast<void>(nexts.get()), ...);
}

[[gnu::constructor]] void look_up_all() {
  look_up(next_open, next_openat, next_creat, next_fopen);
#ifdef __GLIBC__
  look_up(next_open64, next_openat64, next_creat64, next_fopen64, next_open_2, next_open64_2,
          next_openat_2, next_openat64_2);
#endif
}

constexpr std::size_t line_bytes = 320;
using Line = std::array<char, line_bytes>;

auto printed(const Line& line, int length) -> std::string {
  const auto written = static_cast<std::size_t>(std::max(length, 0));
  return {line.data(), std::min(written, line.size() - 1)};
}

/// As semctl(2) has programs define it.
union Argument {
  semid_ds* status;
  seminfo* info;
};

auto semaphores(const Space& /*space*/) -> std::string {
  std::string text =
      "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
  seminfo info{};
  const int highest = semctl(0, 0, SEM_INFO, Argument{.info = &info});
  for (int index = 0; index <= highest; ++index) {
    semid_ds of{};
    const int id = semctl(index, 0, SEM_STAT_ANY, Argument{.status = &of});
    if (id < 0) continue;
    const auto& who = of.sem_perm;
    Line line;
    text += printed(
        line, std::snprintf(line.data(), line.size(),
                            "%10d %10d  %4o %10lu %5u %5u %5u %5u %10lld %10lld\n", who.__key, id,
                            unsigned{who.mode}, static_cast<unsigned long>(of.sem_nsems), who.uid,
                            who.gid, who.cuid, who.cgid, static_cast<long long>(of.sem_otime),
                            static_cast<long long>(of.sem_ctime)));
  }
  return text;
}

auto messages(const Space& /*space*/) -> std::string {
  std::string text =
      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid"
      "      stime      rtime      ctime\n";
  msginfo info{};
  const int highest = msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&info));
  for (int index = 0; index <= highest; ++index) {
    msqid_ds of{};
    const int id = msgctl(index, MSG_STAT_ANY, &of);
    if (id < 0) continue;
    const auto& who = of.msg_perm;
    Line line;
    text += printed(
        line, std::snprintf(
                  line.data(), line.size(),
                  "%10d %10d  %4o  %10lu %10lu %5d %5d %5u %5u %5u %5u %10lld %10lld "
                  "%10lld\n",
                  who.__key, id, unsigned{who.mode}, static_cast<unsigned long>(of.__msg_cbytes),
                  static_cast<unsigned long>(of.msg_qnum), of.msg_lspid, of.msg_lrpid, who.uid,
                  who.gid, who.cuid, who.cgid, static_cast<long long>(of.msg_stime),
                  static_cast<long long>(of.msg_rtime), static_cast<long long>(of.msg_ctime)));
  }
  return text;
}

auto memory(Space& space) -> std::string {
  std::string text =
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid"
      "  cgid      atime      dtime      ctime                   rss                  swap\n";
  shm_info info{};
  const int highest = shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&info));
  for (int index = 0; index <= highest; ++index) {
    shmid_ds of{};
    const int id = shmctl(index, SHM_STAT_ANY, &of);
    if (id < 0) continue;
    const auto& who = of.shm_perm;
    struct stat file{};
    const auto path = space.table(SpaceKind::memory).path_of(id);
    constexpr unsigned long block_bytes = 512;
    const auto blocks = stat(path.c_str(), &file) == 0 ? file.st_blocks : 0;
    Line line;
    text += printed(
        line,
        std::snprintf(line.data(), line.size(),
                      "%10d %10d  %4o %21zu %5d %5d  %5lu %5u %5u %5u %5u %10lld %10lld "
                      "%10lld %21lu %21u\n",
                      who.__key, id, unsigned{who.mode}, of.shm_segsz, of.shm_cpid, of.shm_lpid,
                      static_cast<unsigned long>(of.shm_nattch), who.uid, who.gid, who.cuid,
                      who.cgid, static_cast<long long>(of.shm_atime),
                      static_cast<long long>(of.shm_dtime), static_cast<long long>(of.shm_ctime),
                      static_cast<unsigned long>(blocks) * block_bytes, 0U));
  }
  return text;
}

auto semaphore_limits(const Space& space) -> std::string {
  const auto& limits = space.limits();
  return std::to_string(limits.semmsl) + '\t' + std::to_string(limits.semmns) + '\t' +
         std::to_string(limits.semopm) + '\t' + std::to_string(limits.semmni) + '\n';
}

/// A file with one limit in it, and nothing above `at_most`.
struct LimitFile {
  std::string_view path;
  std::uint64_t SpaceLimits::* limit;
  std::uint64_t at_most = std::numeric_limits<std::uint64_t>::max();
};
constexpr std::array limit_files{
    LimitFile{"/proc/sys/kernel/msgmax", &SpaceLimits::msgmax},
    LimitFile{"/proc/sys/kernel/msgmnb", &SpaceLimits::msgmnb},
    LimitFile{"/proc/sys/kernel/msgmni", &SpaceLimits::msgmni},
    LimitFile{"/proc/sys/kernel/shmmax", &SpaceLimits::shmmax},
    LimitFile{"/proc/sys/kernel/shmall", &SpaceLimits::shmall},
    LimitFile{"/proc/sys/kernel/shmmni", &SpaceLimits::shmmni},
    LimitFile{"/proc/sys/fs/mqueue/msg_max", &SpaceLimits::msg_max},
    LimitFile{"/proc/sys/fs/mqueue/msgsize_max", &SpaceLimits::msgsize_max},
    LimitFile{"/proc/sys/fs/mqueue/queues_max", &SpaceLimits::queues_max},
    LimitFile{"/proc/sys/fs/mqueue/msg_default", &SpaceLimits::msg_max, 10},
    LimitFile{"/proc/sys/fs/mqueue/msgsize_default", &SpaceLimits::msgsize_max, 8192},
};

/// Files with more in them.
struct TextFile {
  std::string_view path;
  std::string (*text)(Space&);
};
constexpr std::array text_files{
    TextFile{"/proc/sysvipc/sem", [](Space& space) { return semaphores(space); }},
    TextFile{"/proc/sysvipc/msg", [](Space& space) { return messages(space); }},
    TextFile{"/proc/sysvipc/shm", memory},
    TextFile{"/proc/sys/kernel/sem", [](Space& space) { return semaphore_limits(space); }},
};

auto is_among_ours(std::string_view path) -> bool {
  return std::ranges::find(limit_files, path, &LimitFile::path) != limit_files.end() ||
         std::ranges::find(text_files, path, &TextFile::path) != text_files.end();
}

auto is_ours(const char* path, int flags) -> bool {
  constexpr std::string_view start = "/proc/sys";
  if (is_bad(path) || std::strncmp(path, start.data(), start.size()) != 0) [[likely]]
    return false;
  return (flags & O_PATH) == 0 && is_among_ours(path);
}

auto text_of(std::string_view path, Space& space) -> std::string {
  for (const auto& file : limit_files) {
    if (file.path != path) continue;
    return std::to_string(std::min(space.limits().*file.limit, file.at_most)) + '\n';
  }
  return std::ranges::find(text_files, path, &TextFile::path)->text(space);
}

auto open_ours(const char* path, int flags) -> int {
  if ((flags & O_ACCMODE) != O_RDONLY) return fail(EACCES);
  if ((flags & O_DIRECTORY) != 0) return fail(ENOTDIR);
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOENT);
  const NoCancel no_cancel;
  const int before = errno;
  const auto text = text_of(path, *space);
  const bool closes = (flags & O_CLOEXEC) != 0;
  const int fd = memfd_create(path, MFD_ALLOW_SEALING | (closes ? MFD_CLOEXEC : 0U));
  if (fd < 0) return fd;
  const bool is_whole = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!is_whole || lseek(fd, 0, SEEK_SET) != 0) {
    close(fd);
    return fail(ENOMEM);
  }
  fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  errno = before;
  return fd;
}

auto open_stream(Next<OpenStream>& next, const char* path, const char* mode) -> FILE* {
  if (!is_ours(path, 0) || is_bad(mode)) return next.get()(path, mode);
  const bool only_reads = mode[0] == 'r' && std::strchr(mode, '+') == nullptr;
  const bool closes = std::strchr(mode, 'e') != nullptr;
  const int fd = open_ours(path, (only_reads ? O_RDONLY : O_RDWR) | (closes ? O_CLOEXEC : 0));
  return fd < 0 ? nullptr : fdopen(fd, mode);
}

/// The argument that stands there only where a file may be made.
auto takes_mode(int flags) -> bool {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

}  // namespace
}  // namespace parley::compat

namespace compat = parley::compat;

// What stands behind `flags` where a file may be made.
#define PARLEY_MODE(flags)                              \
  mode_t mode = 0;                                      \
  if (compat::takes_mode(flags)) {                      \
    va_list more;                                       \
    va_start(more, flags);                              \
    mode = static_cast<mode_t>(va_arg(more, unsigned)); \
    va_end(more);                                       \
  }

PARLEY_COMPAT auto open(const char* path, int flags, ...) -> int {
  PARLEY_MODE(flags)
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_open.get()(path, flags, mode);
}

PARLEY_COMPAT auto openat(int directory, const char* path, int flags, ...) -> int {
  PARLEY_MODE(flags)
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_openat.get()(directory, path, flags, mode);
}

PARLEY_COMPAT auto creat(const char* path, mode_t mode) -> int {
  return compat::is_ours(path, 0) ? compat::fail(EACCES) : compat::next_creat.get()(path, mode);
}

PARLEY_COMPAT auto fopen(const char* path, const char* mode) -> FILE* {
  return compat::open_stream(compat::next_fopen, path, mode);
}

#ifdef __GLIBC__

PARLEY_COMPAT auto open64(const char* path, int flags, ...) -> int {
  PARLEY_MODE(flags)
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_open64.get()(path, flags, mode);
}

PARLEY_COMPAT auto openat64(int directory, const char* path, int flags, ...) -> int {
  PARLEY_MODE(flags)
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_openat64.get()(directory, path, flags, mode);
}

PARLEY_COMPAT auto creat64(const char* path, mode_t mode) -> int {
  return compat::is_ours(path, 0) ? compat::fail(EACCES) : compat::next_creat64.get()(path, mode);
}

PARLEY_COMPAT auto fopen64(const char* path, const char* mode) -> FILE* {
  return compat::open_stream(compat::next_fopen64, path, mode);
}

// Those of programs that were built with _FORTIFY_SOURCE.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): their names.

PARLEY_COMPAT auto __open_2(const char* path, int flags) -> int {
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_open_2.get()(path, flags);
}

PARLEY_COMPAT auto __open64_2(const char* path, int flags) -> int {
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_open64_2.get()(path, flags);
}

PARLEY_COMPAT auto __openat_2(int directory, const char* path, int flags) -> int {
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_openat_2.get()(directory, path, flags);
}

PARLEY_COMPAT auto __openat64_2(int directory, const char* path, int flags) -> int {
  return compat::is_ours(path, flags) ? compat::open_ours(path, flags)
                                      : compat::next_openat64_2.get()(directory, path, flags);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

#endif
