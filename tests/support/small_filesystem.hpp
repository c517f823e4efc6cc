// A small filesystem of a test's own, for what happens when it is full.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "support/peer.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {

/// Runs `body` in a peer that alone sees a tmpfs of one megabyte in the directory that it is told.
/// Where none can be mounted, says that the test is skipped.
inline void with_small_filesystem(const std::function<void(const std::string&)>& body) {
  constexpr int cannot_mount = 77;
  const TempDir dir;
  Peer peer([&] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", dir.path().c_str(), "tmpfs", 0, "size=1m,mode=1777") != 0) {
      _exit(cannot_mount);
    }
    body(dir.path());
  });
  const int status = peer.wait();
  if (status == cannot_mount) return skip("a filesystem cannot be mounted here");
  CHECK(status == 0);
}

}  // namespace parley::test
