// What the three kinds of System V objects have in common inside: permissions, times, listing.
#pragma once

#include <sys/ipc.h>

#include <chrono>
#include <ctime>
#include <optional>
#include <utility>
#include <vector>

#include <parley/os/sysv/permissions.hpp>

namespace parley::os::sysv {

constexpr mode_t all_mode_bits = 0777;

inline auto to_permissions(const ipc_perm& perm) -> Permissions {
  return {.key = Key::from_number(perm.__key),
          .access = {.uid = perm.uid, .gid = perm.gid, .mode = perm.mode & all_mode_bits},
          .creator_uid = perm.cuid,
          .creator_gid = perm.cgid,
          .sequence = static_cast<unsigned>(perm.__seq)};
}

inline void apply(const Access& access, ipc_perm& perm) {
  perm.uid = access.uid;
  perm.gid = access.gid;
  perm.mode = access.mode & all_mode_bits;
}

inline auto to_time(std::time_t seconds) -> std::chrono::sys_seconds {
  return std::chrono::sys_seconds(std::chrono::seconds(seconds));
}

/// For the time of what may never have happened, which the kernel tells as 0.
inline auto to_time_if_any(std::time_t seconds) -> std::optional<std::chrono::sys_seconds> {
  if (seconds == 0) return std::nullopt;
  return to_time(seconds);
}

/// The flags of a get that makes a new object.
inline auto create_flags(mode_t mode) -> int {
  return static_cast<int>(mode & all_mode_bits) | IPC_CREAT | IPC_EXCL;
}

/// The id of the object with that key, which must be one that can be found.
template <class Get>
auto find(Key key, OpenOptions options, Get get) -> Result<int> {
  if (key.is_private()) return failure(Error::invalid);
  return get(key.number(), static_cast<int>(options.needed_mode & all_mode_bits));
}

/// Creates or opens, whichever works; between the two another process may create or remove it. Not
/// by one get with IPC_CREAT: that does not tell whether there is something to take back after a
/// later failure, and takes the mode for what an opener wants.
template <class Create, class Open>
auto create_or_open(Create create, Open open) -> decltype(create()) {
  for (;;) {
    auto created = create();
    if (created || created.error() != Error::exists) return created;
    auto opened = open();
    if (opened || opened.error() != Error::not_found) return opened;
  }
}

/// The status of every object in the kernel's table up to the slot `highest`; `status_at` asks for
/// one slot. A slot that is free, or becomes free meanwhile, is passed over.
template <class StatusAt>
auto list_slots(int highest, StatusAt status_at)
    -> Result<std::vector<typename decltype(status_at(0))::value_type>> {
  std::vector<typename decltype(status_at(0))::value_type> all;
  for (int slot = 0; slot <= highest; ++slot) {
    auto status = status_at(slot);
    if (status) {
      all.push_back(*std::move(status));
    } else if (status.error() != Error::invalid && status.error() != Error::removed) {
      return failure(status.error());
    }
  }
  return all;
}

}  // namespace parley::os::sysv
