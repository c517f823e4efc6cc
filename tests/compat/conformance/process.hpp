// Other processes beside the assertions, and waiting for what they do.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

namespace conformance {

/// errno of a call that failed with -1, else 0.
template <class Value>
auto error_of(Value result) -> int {
  if constexpr (std::is_pointer_v<Value>) {
    return reinterpret_cast<std::intptr_t>(result) == -1 ? errno : 0;
  } else {
    return result == -1 ? errno : 0;
  }
}

/// Polls; false when the condition did not become true for ten seconds.
auto becomes_true(const std::function<bool()>& condition) -> bool;

/// The seconds of the clock that the kernel's objects take their times from, which lags a tick
/// behind.
auto now_seconds() -> long;
/// True when a time lies between that earlier second and now.
auto is_since(long earlier, long time) -> bool;
/// Waits for the clock to show a later second than this.
void wait_past(long second);

/// An address that can be neither read nor written.
auto bad_address() -> void*;

/// A handler of SIGUSR1 that counts, installed with these flags.
void count_signals(int flags);
auto signals_counted() -> int;

/// The effective, real and saved ids, and all supplementary groups, of a child.
struct Identity {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
inline const Identity nobody{65534, 65534, {}};

/// Whether this process has it; root need not have all.
auto has_capability(int number) -> bool;
inline constexpr int cap_sys_resource = 24;

/// True, and says so, when this is not root, who alone can be another.
auto skipped_without_root() -> bool;

/// Says so, and is true, on the drop-in: for what it is known not to do as the kernel does.
auto differs_in_drop_in() -> bool;

/// One end of a connection between a process and its child. Numbers go both ways.
class Link {
 public:
  explicit Link(int descriptor) : descriptor_(descriptor) {}
  void tell(long value) const;
  /// -1 when the other end is gone.
  auto hear() const -> long;
  [[nodiscard]] auto descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

/// A child that dies with its parent, and at the latest with the handle. What the body returns is
/// its result.
class Child {
 public:
  using Body = std::function<long(Link)>;
  explicit Child(const Body& body, const Identity* identity = nullptr);
  explicit Child(const std::function<long()>& body, const Identity* identity = nullptr);
  Child(const Child&) = delete;
  auto operator=(const Child&) -> Child& = delete;
  ~Child();

  [[nodiscard]] auto pid() const { return pid_; }
  void tell(long value) const { link_.tell(value); }
  [[nodiscard]] auto hear() const { return link_.hear(); }
  /// Hears the result and waits for the end.
  auto result() -> long;
  /// Waits for the end.
  void wait();
  void signal(int number = 10) const;
  void kill();
  /// True once its first thread sleeps and goes on sleeping.
  [[nodiscard]] auto blocks() const -> bool;

 private:
  pid_t pid_;
  Link link_{-1};
};

/// Runs a body as somebody else and gives its result.
auto as(const Identity& identity, const std::function<long()>& body) -> long;

/// What this program does when it is executed with "--role NAME" and numbers.
struct Role {
  using Body = int (*)(const std::vector<long>&);
  Role(const char* name, Body body);
};
/// Executes this program in that role; returns only on failure.
auto execute_role(const char* name, const std::vector<long>& numbers) -> int;
auto run_role(int count, char** arguments) -> int;

}  // namespace conformance
