// What all of Parley's objects in shared memory have in common.
//
// An object is one descriptor: a memfd, or a real file that has a path. To share it, hand the
// descriptor on, by fork, exec or over a local socket, or let others open the path. Everything
// that is needed to use the object is in it.
//
// **Names.** A name with a slash in it is a path. A bare name is a file in
// `$XDG_RUNTIME_DIR/parley` or, where that variable is not set, in `/dev/shm/parley-UID`; these
// directories are made where they are missing and must be this user's own, mode 0700, else
// `access_denied`. Who may open an object is what the permissions of the file and of its
// directories say. A named object stays, as its file, when nobody uses it any more; `unlink` takes
// the name away, and the object goes with its last user.
//
// **Opening.** Nobody ever sees a half-made object: it gets its name when it is whole. `open` and
// `adopt` check what they find before they believe it: `invalid` is no object of ours, `wrong_kind`
// another one, `not_supported` one of a newer format, `corrupt` one that contradicts itself. A
// named object that is truncated while it is used is `corrupt` from then on; nobody gets a SIGBUS
// (except where the program replaces the handler that Parley installed).
//
// **Participants.** Each handle takes a place in the object, of which there are as many as its
// creator said, else `no_space`. When its process ends, however it ends, or the handle goes, what
// it held is undone at once, as the object's own contract says. A child of fork(2) that uses an
// inherited handle is a participant of its own. A program that exec(2) starts adopts an inherited
// descriptor. Threads may share a handle. Attaching starts one thread in the process, which sleeps.
//
// **Deadlines.** What waits takes a `Deadline`. Calls without one wait only for others that are in
// the middle of a change, which takes nanoseconds: `busy` if it takes a second, because that
// process was stopped, or means ill. Under `Deadline::now()` the same holds.
#pragma once

#include <cstdint>

namespace parley {

/// How a handle waits for others.
enum class WaitStrategy : std::uint8_t {
  adaptive,  ///< Looks for some microseconds, then sleeps: the best where both sides are busy.
  block,     ///< Sleeps at once, and leaves the processor to others.
  spin,      ///< Looks until the deadline: for a processor of its own.
};

}  // namespace parley
