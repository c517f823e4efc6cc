// The other process of a test, as a lambda beside the assertions.
#pragma once

#include <sys/types.h>

#include <functional>

namespace parley::test {

/// A forked child that runs `body` and exits: 0 if the body returned, 1 if it threw or a REQUIRE in
/// it failed (in a peer use REQUIRE: a CHECK only prints). It dies with the test process.
class Peer {
 public:
  explicit Peer(const std::function<void()>& body);
  Peer(const Peer&) = delete;
  auto operator=(const Peer&) -> Peer& = delete;

  /// Waits for the end, where nobody did yet; an exit status other than 0 fails the test.
  ~Peer();

  /// Waits for the end: the exit status, or minus the number of the signal that ended it.
  auto wait() -> int;

  /// kill -9, and waits until it is gone.
  void kill();

  [[nodiscard]] auto pid() const -> pid_t { return pid_; }

 private:
  pid_t pid_;
  bool ended_ = false;
};

/// Whether the process sleeps in a system call: state S of /proc/PID/stat.
auto is_asleep(pid_t pid) -> bool;

/// Waits, without a limit of its own, until the process was seen asleep several times in a row. For
/// tests in which a peer must be blocked before the next step.
void wait_until_asleep(pid_t pid);

}  // namespace parley::test
