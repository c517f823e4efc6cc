// What stat(2) tells of a file's owner and mode.
#pragma once

#include <sys/stat.h>

#include <parley/os/owner.hpp>

namespace parley::os {

inline auto permissions_of(const struct stat& status) -> FilePermissions {
  return {.owner = {.uid = status.st_uid, .gid = status.st_gid}, .mode = status.st_mode & 0777U};
}

}  // namespace parley::os
