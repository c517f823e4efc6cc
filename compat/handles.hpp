// The objects that this process has opened, by their ids: opened at their first use, and let go
// when another object has come in their place.
//
// A call holds its object by a count in the handle's word, beside the id. Handles stay where they
// are for good, one per index, so whoever comes late finds another id there, and goes to `attach`.
#pragma once

#include <sched.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "export.hpp"
#include "process.hpp"

namespace parley::compat {

template <class Object>
class Handles {
 public:
  constexpr explicit Handles(SpaceKind kind) noexcept : kind_(kind) {}

 private:
  struct Handle {
    std::atomic<std::uint64_t> word{0};  ///< How many calls use it; above, the id + 1.
    /// What the user may: bits 0 and 1 read and write, 2 to 23 `user_generation`, above the stamp
    /// of the entry of which it holds. Of the object, so it is 0 again with each new one.
    std::atomic<std::uint64_t> granted{0};
    std::optional<Object> object;
  };

 public:
  /// An object that is used: it stays until this goes.
  class Use {
   public:
    explicit Use(Handle& handle) noexcept : handle_(&handle) {}
    Use(Use&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Use(const Use&) = delete;
    auto operator=(const Use&) -> Use& = delete;
    auto operator=(Use&&) -> Use& = delete;
    ~Use() {
      if (handle_ != nullptr) handle_->word.fetch_sub(1, std::memory_order_release);
    }

    auto operator*() const noexcept -> Object& { return *handle_->object; }
    auto operator->() const noexcept -> Object* { return &*handle_->object; }

   private:
    Handle* handle_;
  };

  /// The object of that id, for a user who is let read (04), write (02) or both. `invalid` where
  /// there is none, `access_denied`.
  auto use(int id, mode_t wanted) -> Result<Use> {
    Space* const space = compat::space();
    if (space == nullptr) return failure(Error::no_such_call);
    auto& table = space->table(kind_);
    const auto stamp = table.stamp(id);
    if (!stamp) return failure(Error::invalid);
    auto& slot = slots_[static_cast<std::uint32_t>(id) % slots_.size()];
    Handle* handle = slot.load(std::memory_order_acquire);
    if (handle == nullptr || !enter(*handle, id)) [[unlikely]] {
      handle = PARLEY_TRY(attach(table, slot, id));
    }
    Use use(*handle);
    const std::uint64_t now = *stamp << 24U | std::uint64_t{user_generation() & 0x3f'ffffU} << 2U;
    const auto granted = handle->granted.load(std::memory_order_relaxed);
    if ((granted & ~std::uint64_t{3}) == now && (granted * 2 & wanted) == wanted) [[likely]] {
      return use;
    }
    PARLEY_TRY(grant(table, *handle, id, now, wanted));
    return use;
  }

 private:
  static auto enter(Handle& handle, int id) noexcept -> bool {
    const auto word = handle.word.fetch_add(1, std::memory_order_acquire);
    if (word >> 32U == static_cast<std::uint64_t>(id) + 1) return true;
    handle.word.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }

  static auto grant(const SpaceTable& table, Handle& handle, int id, std::uint64_t now,
                    mode_t wanted) -> Result<void> {
    const auto entry = PARLEY_TRY(table.find(id));
    const User user;
    const auto asks = user.as_space_user();
    const std::uint64_t bits = (entry.lets(asks, 04) ? 2U : 0U) | (entry.lets(asks, 02) ? 1U : 0U);
    handle.granted.store(now | bits, std::memory_order_relaxed);
    return (bits * 2 & wanted) == wanted ? Result<void>() : failure(Error::access_denied);
  }

  /// It goes by its name: programs close what they have not opened, and have more objects than
  /// descriptors.
  static auto open(const std::string& path) -> Result<Object> {
    auto object = Object::open(path);
    if (!object)
      return failure(object.error() == Error::not_found ? Error::removed : object.error());
    const auto closed = object->close_descriptor();
    return closed ? std::move(object) : failure(closed.error());
  }

  /// Opens it and enters.
  auto attach(const SpaceTable& table, std::atomic<Handle*>& slot, int id) -> Result<Handle*>;

  SpaceKind kind_;
  std::array<std::atomic<Handle*>, 32768> slots_{};
};

/// Held by the thread that opens an object, and by one that forks.
class Opening {
 public:
  Opening() noexcept;
  Opening(const Opening&) = delete;
  auto operator=(const Opening&) -> Opening& = delete;
  ~Opening();

 private:
  NoCancel no_cancel_;
  NoSignals no_signals_;
};

template <class Object>
auto Handles<Object>::attach(const SpaceTable& table, std::atomic<Handle*>& slot, int id)
    -> Result<Handle*> {
  const Opening opening;
  Handle* handle = slot.load(std::memory_order_acquire);
  if (handle != nullptr && enter(*handle, id)) return handle;  // another thread was faster
  auto object = PARLEY_TRY(open(table.path_of(id)));
  // Nobody new uses the old one, which is removed: who still does is about to leave. But who forked
  // in a signal handler inherited uses that never end.
  if (handle != nullptr) {
    constexpr int looks_at_most = 1000;
    handle->word.fetch_and(0xffff'ffff, std::memory_order_acq_rel);
    int looks = 0;
    while (handle->word.load(std::memory_order_acquire) != 0 && looks < looks_at_most) {
      sched_yield();
      ++looks;
    }
    if (looks == looks_at_most) handle = nullptr;
  }
  if (handle == nullptr) {
    handle = new Handle;
    slot.store(handle, std::memory_order_release);
  }
  handle->object.reset();
  handle->object.emplace(std::move(object));
  handle->granted.store(0, std::memory_order_relaxed);
  // Added, since somebody who is late may just count himself in and out again.
  handle->word.fetch_add((static_cast<std::uint64_t>(id) + 1) << 32U | 1U,
                         std::memory_order_acq_rel);
  return handle;
}

}  // namespace parley::compat
