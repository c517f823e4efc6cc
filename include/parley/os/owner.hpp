// Whom a file belongs to, and who may use it.
#pragma once

#include <sys/types.h>

namespace parley::os {

struct Owner {
  uid_t uid;
  gid_t gid;

  auto operator==(const Owner&) const noexcept -> bool = default;
};

/// Of an object that is a file. Only the owner and root may change the mode, only root (mostly) the
/// owner: `not_permitted`. chmod(2), chown(2)
struct FilePermissions {
  Owner owner;
  mode_t mode;  ///< The nine permission bits.

  auto operator==(const FilePermissions&) const noexcept -> bool = default;
};

}  // namespace parley::os
