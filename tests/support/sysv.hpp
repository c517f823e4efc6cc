// System V objects in tests: removed at the end, counted in an IPC namespace of the test's own.
#pragma once

#include <sys/types.h>

#include <utility>

#include <parley/os/descriptor.hpp>
#include <parley/os/sysv/key.hpp>

#include "os/sys.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {

/// An object that is removed when the test ends, unless the test did so.
template <class Object>
class Scoped {
 public:
  explicit Scoped(Object object) : object_(std::move(object)) {}
  Scoped(const Scoped&) = delete;
  auto operator=(const Scoped&) -> Scoped& = delete;
  ~Scoped() {
    // Not one of the calls that a test counts and makes fail.
    os::sys::injection.calls_until_failure = 0;
    static_cast<void>(object_.remove());
  }

  auto operator->() const -> const Object* { return &object_; }
  auto operator*() const -> const Object& { return object_; }

 private:
  Object object_;
};

/// A key that nobody else uses: made of the random name of a directory of the test's own. What has
/// that key in the end is removed.
class OwnKey {
 public:
  OwnKey();
  OwnKey(const OwnKey&) = delete;
  auto operator=(const OwnKey&) -> OwnKey& = delete;
  ~OwnKey();

  [[nodiscard]] auto key() const -> os::sysv::Key { return key_; }

 private:
  TempDir directory_;
  os::sysv::Key key_;
};

/// While it lives, this process is in an IPC namespace of its own, empty at first, which takes all
/// that is in it along. `is_entered()` is false where the machine refuses that.
class IpcNamespace {
 public:
  IpcNamespace();
  IpcNamespace(const IpcNamespace&) = delete;
  auto operator=(const IpcNamespace&) -> IpcNamespace& = delete;
  ~IpcNamespace();

  [[nodiscard]] auto is_entered() const -> bool { return before_.is_open(); }

 private:
  os::OwnedFd before_;
};

}  // namespace parley::test
