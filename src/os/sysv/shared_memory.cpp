#include <parley/os/sysv/shared_memory.hpp>

#include <sys/shm.h>

#include <bit>

#include "os/sys.hpp"
#include "os/sysv/object.hpp"

namespace parley::os::sysv {
namespace {

/// Where shmget's flags hold the logarithm of the huge pages' size.
constexpr unsigned huge_page_shift = 26;

auto to_status(int id, const shmid_ds& ds) -> SharedMemoryStatus {
  return {.id = id,
          .permissions = to_permissions(ds.shm_perm),
          .size_bytes = ds.shm_segsz,
          .attachment_count = ds.shm_nattch,
          .creator = ds.shm_cpid,
          .last_process = ds.shm_lpid,
          .last_attach = to_time_if_any(ds.shm_atime),
          .last_detach = to_time_if_any(ds.shm_dtime),
          .last_change = to_time(ds.shm_ctime),
          .marked_for_removal = (ds.shm_perm.mode & SHM_DEST) != 0,
          .locked = (ds.shm_perm.mode & SHM_LOCKED) != 0};
}

auto stat(int id) -> Result<SharedMemoryStatus> {
  shmid_ds ds{};
  PARLEY_TRY(sys::call<::shmctl>(id, IPC_STAT, &ds));
  return to_status(id, ds);
}

auto control(int id, int command) -> Result<void> {
  PARLEY_TRY(sys::call<::shmctl>(id, command, static_cast<shmid_ds*>(nullptr)));
  return {};
}

/// The C library's prototype knows only one of the structures that shmctl fills.
template <class Info>
auto info(int command) -> Result<std::pair<int, Info>> {
  Info told{};
  const int highest =
      PARLEY_TRY(sys::call<::shmctl>(0, command, reinterpret_cast<shmid_ds*>(&told)));
  return std::pair(highest, told);
}

auto create_flags(const SharedMemoryOptions& options) -> Result<int> {
  unsigned flags = IPC_CREAT | IPC_EXCL | (options.mode & all_mode_bits);
  if (options.no_reserve) flags |= SHM_NORESERVE;
  if (options.huge_page_bytes) {
    flags |= SHM_HUGETLB;
    if (const std::size_t page_bytes = *options.huge_page_bytes; page_bytes != 0) {
      if (!std::has_single_bit(page_bytes)) return failure(Error::invalid);
      flags |= static_cast<unsigned>(std::countr_zero(page_bytes)) << huge_page_shift;
    }
  }
  return static_cast<int>(flags);
}

auto attach_at(int id, const AttachOptions& options, int access) -> Result<void*> {
  const int flags = access | (options.round_down ? SHM_RND : 0) |
                    (options.replace ? SHM_REMAP : 0) | (options.executable ? SHM_EXEC : 0);
  return sys::call<::shmat>(id, static_cast<const void*>(options.address), flags);
}

}  // namespace

template <class Byte>
BasicAttachment<Byte>::~BasicAttachment() {
  if (!bytes_.empty()) sys::release<::shmdt>(static_cast<const void*>(bytes_.data()));
}

template <class Byte>
auto BasicAttachment<Byte>::detach() && -> Result<void> {
  if (bytes_.empty()) return failure(Error::invalid);
  PARLEY_TRY(sys::call<::shmdt>(static_cast<const void*>(bytes_.data())));
  bytes_ = {};
  return {};
}

template class BasicAttachment<std::byte>;
template class BasicAttachment<const std::byte>;

auto SharedMemory::create(Key key, std::size_t size_bytes, SharedMemoryOptions options)
    -> Result<SharedMemory> {
  const int flags = PARLEY_TRY(create_flags(options));
  const int id = PARLEY_TRY(sys::call<::shmget>(key.number(), size_bytes, flags));
  return SharedMemory(id, size_bytes);
}

auto SharedMemory::open_or_create(Key key, std::size_t size_bytes, SharedMemoryOptions options)
    -> Result<SharedMemory> {
  return create_or_open([&] { return create(key, size_bytes, options); },
                        [&]() -> Result<SharedMemory> {
                          const auto memory = PARLEY_TRY(open(key));
                          if (memory.size_bytes_ < size_bytes) return failure(Error::invalid);
                          return memory;
                        });
}

auto SharedMemory::open(Key key, OpenOptions options) -> Result<SharedMemory> {
  return adopt(PARLEY_TRY(find(key, options, [](key_t number, int flags) {
    return sys::call<::shmget>(number, std::size_t{0}, flags);
  })));
}

auto SharedMemory::adopt(int id) -> Result<SharedMemory> {
  return SharedMemory(id, PARLEY_TRY(stat(id)).size_bytes);
}

auto SharedMemory::attach(AttachOptions options) const -> Result<Attachment> {
  void* const start = PARLEY_TRY(attach_at(id_, options, 0));
  return Attachment({static_cast<std::byte*>(start), size_bytes_});
}

auto SharedMemory::attach_read_only(AttachOptions options) const -> Result<ReadOnlyAttachment> {
  const void* const start = PARLEY_TRY(attach_at(id_, options, SHM_RDONLY));
  return ReadOnlyAttachment({static_cast<const std::byte*>(start), size_bytes_});
}

auto SharedMemory::lock() const -> Result<void> {
  return control(id_, SHM_LOCK);
}

auto SharedMemory::unlock() const -> Result<void> {
  return control(id_, SHM_UNLOCK);
}

auto SharedMemory::status() const -> Result<SharedMemoryStatus> {
  return stat(id_);
}

auto SharedMemory::set_access(Access access) const -> Result<void> {
  shmid_ds ds{};
  apply(access, ds.shm_perm);
  PARLEY_TRY(sys::call<::shmctl>(id_, IPC_SET, &ds));
  return {};
}

auto SharedMemory::remove() const -> Result<void> {
  return control(id_, IPC_RMID);
}

auto SharedMemory::list() -> Result<std::vector<SharedMemoryStatus>> {
  const int highest = PARLEY_TRY(info<shm_info>(SHM_INFO)).first;
  return list_slots(highest, [](int slot) -> Result<SharedMemoryStatus> {
    shmid_ds ds{};
    const int id = PARLEY_TRY(sys::call<::shmctl>(slot, SHM_STAT_ANY, &ds));
    return to_status(id, ds);
  });
}

auto SharedMemory::limits() -> Result<SharedMemoryLimits> {
  const auto [highest, told] = PARLEY_TRY(info<shminfo>(IPC_INFO));
  return SharedMemoryLimits{.segments = told.shmmni,
                            .least_bytes = told.shmmin,
                            .most_bytes = told.shmmax,
                            .all_pages = told.shmall};
}

auto SharedMemory::usage() -> Result<SharedMemoryUsage> {
  const auto [highest, told] = PARLEY_TRY(info<shm_info>(SHM_INFO));
  return SharedMemoryUsage{.segments = static_cast<std::size_t>(told.used_ids),
                           .all_pages = told.shm_tot,
                           .resident_pages = told.shm_rss,
                           .swapped_pages = told.shm_swp};
}

}  // namespace parley::os::sysv
