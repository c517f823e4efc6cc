// Which kind of socket a descriptor is, and what every socket of ours is prepared with.
#pragma once

#include <sys/socket.h>

#include <parley/os/address.hpp>
#include <parley/os/descriptor.hpp>

#include "os/sys.hpp"

namespace parley::os {

struct SocketKind {
  Family family;
  SocketType type;
  bool listens;
};

/// `invalid` for anything but a socket of one of the families and types that Parley has.
auto socket_kind(BorrowedFd fd) -> Result<SocketKind>;

/// A local seqpacket socket says that it has ended just as it says that a message is empty: 0 bytes
/// and no flag. A message, though, carries a timestamp where one is asked for.
auto mark_messages(BorrowedFd fd, Family family, SocketType type) -> Result<void>;

}  // namespace parley::os
