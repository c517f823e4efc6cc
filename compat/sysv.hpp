// What the three kinds of System V objects have in common in the drop-in.
#pragma once

#include <sys/ipc.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>

#include "export.hpp"
#include "process.hpp"

namespace parley::compat {

constexpr std::uint32_t participants = 511;  // of a set or a queue: what one page has room for
constexpr std::uint32_t waiters = 1024;

/// The file of an object can be opened by all whom its mode lets do anything with it: to take part
/// is to write to it. What each of them may do is looked at by the drop-in itself.
constexpr auto file_mode(mode_t mode) -> mode_t {
  mode_t of_file = 0600;
  if ((mode & 060U) != 0) of_file |= 060U;
  if ((mode & 06U) != 0) of_file |= 06U;
  return of_file;
}

/// As the kernel's structures have numbers.
inline auto as_int(std::uint64_t value) -> int {
  return static_cast<int>(std::min<std::uint64_t>(value, std::numeric_limits<int>::max()));
}
/// 0: never.
inline auto as_seconds(const std::optional<std::chrono::sys_seconds>& time) -> std::int64_t {
  return time ? time->time_since_epoch().count() : 0;
}

void tell(const SpaceEntry& entry, ipc_perm& permissions);

/// `not_permitted` for a stranger, who may not even be let lock the table.
auto check_owner(const SpaceTable& table, int id, const SpaceUser& asks) -> Result<void>;

/// IPC_SET: what stands of the permissions in the program's structure. `also` changes more.
auto set_permissions(SpaceTable& table, int id, const ipc_perm& wanted,
                     const std::function<Result<void>(SpaceEntry&, const SpaceUser&)>& also = {},
                     mode_t (*mode_of_file)(mode_t) = file_mode) -> int;

/// IPC_RMID.
auto remove(SpaceTable& table, int id) -> int;

/// The entry that a STAT command names: by its id, or by its index, and then `any` of them may be
/// looked at.
enum class Named { by_id, by_index, by_index_any };
auto entry_to_read(const SpaceTable& table, int name, Named named) -> Result<SpaceEntry>;

/// The error of a call whose object may have been removed while it ran.
inline auto fail_in_call(Error error) noexcept -> int {
  // `corrupt`, `not_found`: the file of an object was cut off or taken away under us.
  if (error == Error::corrupt || error == Error::not_found) return fail(EIDRM);
  if (error == Error::timed_out) return fail(EAGAIN);
  return fail(error);
}

}  // namespace parley::compat
