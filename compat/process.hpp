// What the drop-in knows of its process: the space that it is in, and who it is.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include <parley/space.hpp>

namespace parley::compat {

/// The space that the environment names (PARLEY_SPACE), else this user's own. Null where it cannot
/// be had, which is said once on standard error: there is no System V IPC then.
auto space() noexcept -> Space*;

/// This process's effective ids, as they are now.
class User {
 public:
  User();
  [[nodiscard]] auto as_space_user() const noexcept -> SpaceUser {
    return {.uid = uid_, .gid = gid_, .groups = groups(), .is_privileged = is_privileged_};
  }

 private:
  static constexpr int groups_at_most = 256;
  [[nodiscard]] auto groups() const noexcept -> std::span<const gid_t> {
    return {groups_, static_cast<std::size_t>(group_count_)};
  }

  uid_t uid_;
  gid_t gid_;
  int group_count_;
  gid_t groups_[groups_at_most];
  bool is_privileged_;
};

/// Whether this process may go beyond limits (CAP_SYS_RESOURCE).
auto may_exceed_limits() noexcept -> bool;
/// Whether it may lock any memory (CAP_IPC_LOCK).
auto may_lock_any() noexcept -> bool;

/// Changes with each call that changes who this process is (setuid(2) and its kin).
auto user_generation() noexcept -> std::uint32_t;

}  // namespace parley::compat
