// shmget(2), shmat(2), shmdt(2), shmctl(2) on SharedMemory.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include <parley/shared_memory.hpp>

#include "attachments.hpp"
#include "sysv.hpp"

namespace parley::compat {
namespace {

constexpr mode_t locked_mode = SHM_LOCKED;  // beside the nine bits

auto page_bytes() -> std::uint64_t {
  return static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

/// Without overflow.
auto pages_of(std::uint64_t bytes) -> std::uint64_t {
  return bytes / page_bytes() + (bytes % page_bytes() == 0 ? 0 : 1);
}

auto table_of(Space& space) -> SpaceTable& {
  return space.table(SpaceKind::memory);
}

/// Who may only read maps a descriptor that only reads: as the mode says, but its owner can always
/// look after the file.
constexpr auto segment_file_mode(mode_t mode) -> mode_t {
  return 0600U | (mode & 066U);
}

/// Of all segments.
auto pages_used(const SpaceTable& table) -> std::uint64_t {
  std::uint64_t pages = 0;
  const int highest = table.status().highest_index;
  for (int index = 0; index <= highest; ++index) {
    if (const auto entry = table.at(index)) pages += pages_of(entry->size);
  }
  return pages;
}

auto make(const SpaceTable& table, const SpaceEntry& entry, const std::string& path,
          const SpaceLimits& limits) -> Result<void> {
  if (entry.size == 0 || entry.size > limits.shmmax) return failure(Error::invalid);
  const auto pages = pages_of(entry.size);
  if (pages > std::numeric_limits<std::uint64_t>::max() / page_bytes()) {
    return failure(Error::no_space);
  }
  const auto used = pages_used(table);
  if (used > limits.shmall || pages > limits.shmall - used) return failure(Error::no_space);
  const auto lack = [](Error error) {
    return failure(error == Error::no_space ? Error::out_of_memory : error);
  };
  const auto counter = AttachmentCounter::create(path, file_mode(entry.mode));
  if (!counter) return lack(counter.error());
  const auto memory = SharedMemory::create(
      path, {.size_bytes = pages * page_bytes(), .mode = segment_file_mode(entry.mode)});
  if (memory) return {};
  AttachmentCounter::unlink(path);
  return lack(memory.error());
}

auto get(key_t key, std::size_t bytes, int flags) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  const auto& limits = space->limits();
  const NoCancel no_cancel;
  const User user;
  auto& table = table_of(*space);
  remove_unused(table);
  const auto id = table.get(
      {.key = key,
       .flags = flags,
       .size = bytes,
       .objects_at_most = limits.shmmni,
       .total_at_most = std::numeric_limits<std::uint64_t>::max(),
       .process = getpid()},
      user.as_space_user(),
      [&](const SpaceEntry& found) -> Result<void> {
        return bytes <= found.size ? Result<void>() : failure(Error::invalid);
      },
      [&](const SpaceEntry& entry, const std::string& path) {
        return make(table, entry, path, limits);
      });
  return id ? *id : fail(id.error());
}

/// How shmat(2) was asked to map.
struct Wish {
  void* address;
  int flags;  ///< Of shmat(2).

  [[nodiscard]] auto has(int flag) const -> bool { return (flags & flag) != 0; }
  [[nodiscard]] auto mode() const -> mode_t {
    return (has(SHM_RDONLY) ? 0444U : 0666U) | (has(SHM_EXEC) ? 0111U : 0U);
  }
  [[nodiscard]] auto protection() const -> int {
    return PROT_READ | (has(SHM_RDONLY) ? 0 : PROT_WRITE) | (has(SHM_EXEC) ? PROT_EXEC : 0);
  }
};

auto map(const Wish& wish, bool is_placed, const SpaceEntry& entry, const std::string& path)
    -> Result<MappedSegment> {
  const User user;
  if (!entry.lets(user.as_space_user(), wish.mode())) return failure(Error::access_denied);
  const auto memory = PARLEY_TRY(wish.has(SHM_RDONLY) ? SharedMemory::open_read_only(path)
                                                      : SharedMemory::open(path));
  const std::size_t bytes = pages_of(entry.size) * page_bytes();
  if (PARLEY_TRY(memory.size_bytes()) < bytes) return failure(Error::corrupt);
  int how = MAP_SHARED;
  if (is_placed) how |= wish.has(SHM_REMAP) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  void* const address =
      mmap(wish.address, bytes, wish.protection(), how, memory.descriptor().number(),
           static_cast<off_t>(memory.offset_bytes()));
  if (address == MAP_FAILED) return failure(errno == EEXIST ? Error::invalid : last_error());
  if (is_placed && address != wish.address) {  // a kernel that knows no MAP_FIXED_NOREPLACE
    munmap(address, bytes);
    return failure(Error::invalid);
  }
  return MappedSegment{.address = address, .bytes = bytes};
}

auto attach_at(int id, const void* address, int flags) -> void* {
  const auto failed = [](Error error) {
    fail_in_call(error);
    return reinterpret_cast<void*>(-1);  // NOLINT(performance-no-int-to-ptr)
  };
  Space* const space = compat::space();
  if (space == nullptr) return failed(Error::no_such_call);
  Wish wish{.address = const_cast<void*>(address), .flags = flags};
  const auto asked = reinterpret_cast<std::uintptr_t>(address);
  const auto below = asked % static_cast<std::uintptr_t>(SHMLBA);
  const bool is_placed = asked != 0;
  if (id < 0 || (below != 0 && !wish.has(SHM_RND))) return failed(Error::invalid);
  if (asked == below && wish.has(SHM_REMAP)) return failed(Error::invalid);
  wish.address = reinterpret_cast<void*>(asked - below);  // NOLINT(performance-no-int-to-ptr)
  const auto attached =
      attach(table_of(*space), id, [&](const SpaceEntry& entry, const std::string& path) {
        return map(wish, is_placed, entry, path);
      });
  return attached ? *attached : failed(attached.error());
}

/// IPC_STAT, SHM_STAT and SHM_STAT_ANY.
auto stat(SpaceTable& table, int name, Named named, shmid_ds* status) -> int {
  if (const auto entry = named == Named::by_id ? table.find(name) : table.at(name)) {
    remove_if_unused(table, entry->id);
  }
  const auto found = entry_to_read(table, name, named);
  if (!found) return fail(found.error());
  if (is_bad(status)) return fail(EFAULT);
  const auto [entry, attachments] = look_at(table, *found);
  shmid_ds told{};
  tell(entry, told.shm_perm);
  if (entry.is_marked) told.shm_perm.mode |= SHM_DEST;
  told.shm_segsz = entry.size;
  told.shm_atime = entry.attached;
  told.shm_dtime = entry.detached;
  told.shm_ctime = entry.changed;
  told.shm_cpid = entry.creator_process;
  told.shm_lpid = entry.last_process;
  told.shm_nattch = static_cast<shmatt_t>(attachments);
  *status = told;
  return named == Named::by_id ? 0 : entry.id;
}

/// IPC_INFO.
auto limits(const Space& space, const SpaceTable& table, shminfo* info) -> int {
  if (is_bad(info)) return fail(EFAULT);
  const auto& limits = space.limits();
  *info = {};
  info->shmmax = limits.shmmax;
  info->shmmin = 1;
  info->shmmni = info->shmseg = limits.shmmni;
  info->shmall = limits.shmall;
  return std::max(table.status().highest_index, 0);
}

/// SHM_INFO. All of a segment has memory from the start, and it is not known what is swapped out.
auto used(const SpaceTable& table, shm_info* info) -> int {
  if (is_bad(info)) return fail(EFAULT);
  const auto status = table.status();
  *info = {};
  info->used_ids = static_cast<int>(status.count);
  info->shm_tot = info->shm_rss = pages_used(table);
  return std::max(status.highest_index, 0);
}

auto set(SpaceTable& table, int id, const shmid_ds* wanted) -> int {
  if (is_bad(wanted)) return fail(EFAULT);
  return set_permissions(
      table, id, wanted->shm_perm,
      [&](const SpaceEntry&, const SpaceUser&) -> Result<void> {
        AttachmentCounter::set_mode(table.path_of(id), file_mode(wanted->shm_perm.mode));
        return {};
      },
      segment_file_mode);
}

/// IPC_RMID: it goes with its last attachment.
auto mark(SpaceTable& table, int id) -> int {
  const User user;
  const auto asks = user.as_space_user();
  const auto marked = table.change(id, [&](SpaceEntry& entry) -> Result<void> {
    if (!entry.is_of(asks)) return failure(Error::not_permitted);
    entry.is_marked = true;
    entry.key = IPC_PRIVATE;
    return {};
  });
  if (!marked) return fail(marked.error());
  remove_if_unused(table, id);
  return 0;
}

auto may_lock(const SpaceEntry& entry, const SpaceUser& user, bool locks) -> bool {
  if (may_lock_any()) return true;
  rlimit most{};
  getrlimit(RLIMIT_MEMLOCK, &most);
  return (user.uid == entry.uid || user.uid == entry.creator_uid) && (!locks || most.rlim_cur > 0);
}

/// SHM_LOCK and SHM_UNLOCK: what is told of it, to those who may.
auto lock(SpaceTable& table, int id, bool locks) -> int {
  const User user;
  const auto asks = user.as_space_user();
  const auto changed = table.change(id, [&](SpaceEntry& entry) -> Result<void> {
    if (!may_lock(entry, asks, locks)) return failure(Error::not_permitted);
    entry.mode = locks ? entry.mode | locked_mode : entry.mode & ~locked_mode;
    return {};
  });
  return changed ? 0 : fail(changed.error());
}

auto control(int id, int command, shmid_ds* argument) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  if (id < 0) return fail(EINVAL);
  auto& table = table_of(*space);
  const NoCancel no_cancel;
  switch (command) {
    case IPC_INFO:
      remove_unused(table);
      return limits(*space, table, reinterpret_cast<shminfo*>(argument));
    case SHM_INFO:
      remove_unused(table);
      return used(table, reinterpret_cast<shm_info*>(argument));
    case IPC_STAT:
      return stat(table, id, Named::by_id, argument);
    case SHM_STAT:
      return stat(table, id, Named::by_index, argument);
    case SHM_STAT_ANY:
      return stat(table, id, Named::by_index_any, argument);
    case IPC_SET:
      return set(table, id, argument);
    case IPC_RMID:
      return mark(table, id);
    case SHM_LOCK:
    case SHM_UNLOCK:
      return lock(table, id, command == SHM_LOCK);
    default:
      return fail(EINVAL);
  }
}

}  // namespace
}  // namespace parley::compat

PARLEY_COMPAT auto shmget(key_t key, size_t bytes, int flags) noexcept -> int {
  return parley::compat::get(key, bytes, flags);
}

PARLEY_COMPAT auto shmat(int id, const void* address, int flags) noexcept -> void* {
  return parley::compat::attach_at(id, address, flags);
}

PARLEY_COMPAT auto shmdt(const void* address) noexcept -> int {
  parley::Space* const space = parley::compat::space();
  if (space == nullptr) return parley::compat::fail(ENOSYS);
  const auto detached = parley::compat::detach(space->table(parley::SpaceKind::memory), address);
  return detached ? 0 : parley::compat::fail(detached.error());
}

PARLEY_COMPAT auto shmctl(int id, int command, shmid_ds* argument) noexcept -> int {
  return parley::compat::control(id, command, argument);
}
