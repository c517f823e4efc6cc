#include "sysv.hpp"

#include <unistd.h>

#include <ctime>

namespace parley::compat {

void tell(const SpaceEntry& entry, ipc_perm& permissions) {
  permissions = {};
  permissions.__key = entry.key;
  permissions.uid = entry.uid;
  permissions.gid = entry.gid;
  permissions.cuid = entry.creator_uid;
  permissions.cgid = entry.creator_gid;
  permissions.mode = static_cast<decltype(permissions.mode)>(entry.mode);
  permissions.__seq = static_cast<decltype(permissions.__seq)>(entry.id >> 15U);
}

auto set_permissions(SpaceTable& table, int id, const ipc_perm& wanted,
                     const std::function<Result<void>(SpaceEntry&, const SpaceUser&)>& also,
                     mode_t (*mode_of_file)(mode_t)) -> int {
  const NoCancel no_cancel;
  const User user;
  const auto asks = user.as_space_user();
  const auto changed = table.change(id, [&](SpaceEntry& entry) -> Result<void> {
    if (!entry.is_of(asks)) return failure(Error::not_permitted);
    if (wanted.uid == static_cast<uid_t>(-1) || wanted.gid == static_cast<gid_t>(-1)) {
      return failure(Error::invalid);
    }
    if (also) {
      if (const auto done = also(entry, asks); !done) return done;
    }
    entry.uid = wanted.uid;
    entry.gid = wanted.gid;
    entry.mode = (entry.mode & ~mode_t{0777}) | (wanted.mode & 0777U);
    entry.changed = std::time(nullptr);
    // The file follows as far as this user can have it: its owner stays who made it, but for root.
    const auto path = table.path_of(id);
    static_cast<void>(chmod(path.c_str(), mode_of_file(entry.mode)));
    if (asks.uid == 0) static_cast<void>(chown(path.c_str(), entry.uid, entry.gid) == 0);
    return {};
  });
  return changed ? 0 : fail(changed.error());
}

auto remove(SpaceTable& table, int id) -> int {
  const NoCancel no_cancel;
  const User user;
  const auto asks = user.as_space_user();
  const auto removed = table.remove(id, [&](const SpaceEntry& entry) {
    return entry.is_of(asks) ? Result<void>() : failure(Error::not_permitted);
  });
  return removed ? 0 : fail(removed.error());
}

auto entry_to_read(const SpaceTable& table, int name, Named named) -> Result<SpaceEntry> {
  auto entry = named == Named::by_id ? table.find(name) : table.at(name);
  if (!entry || named == Named::by_index_any) return entry;
  const User user;
  if (!entry->lets(user.as_space_user(), 0444)) return failure(Error::access_denied);
  return entry;
}

}  // namespace parley::compat
