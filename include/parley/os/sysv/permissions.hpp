// Who may use a System V object: what its three kinds have in common.
#pragma once

#include <sys/types.h>

#include <parley/os/sysv/key.hpp>

namespace parley::os::sysv {

/// What IPC_SET can change. A process is judged as owner (or creator), else as group, else as
/// other, by the first that fits; a privileged one (CAP_IPC_OWNER) may do everything.
struct Access {
  uid_t uid;
  gid_t gid;
  mode_t mode;  ///< Nine bits. Execute counts only for attaching shared memory executable.
};

/// The common part of every object's status: struct ipc_perm.
struct Permissions {
  Key key;  ///< `private_key()` also for shared memory that is marked for removal.
  Access access;
  uid_t creator_uid;
  gid_t creator_gid;
  unsigned sequence;  ///< Part of the id: tells one life of a table slot from the next.
};

/// What a new object starts with; its owner and creator are this process's effective ids.
struct CreateOptions {
  mode_t mode = 0600;  ///< As it is: no umask is applied.
};

/// What opening by key asks for.
struct OpenOptions {
  /// Read or write bits that this process must have been granted, else `access_denied` at once; 0
  /// leaves that to the operations.
  mode_t needed_mode = 0;
};

}  // namespace parley::os::sysv
