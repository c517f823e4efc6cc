// SemaphoreSet: System V's semaphores in shared memory; Semaphore: a set of one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/object.hpp>
#include <parley/os/descriptor.hpp>

namespace parley {

/// One change of one semaphore, or a wait for it.
struct SemaphoreOperation {
  std::uint16_t index;
  /// Positive: added. Negative: subtracted once the value is large enough. 0: waits until the value
  /// is 0.
  std::int16_t delta;
  bool no_wait = false;  ///< Where this one would have to wait, `would_block` at once.
  bool undo = false;     ///< Taken back when this participant ends, however it ends.
};

struct SemaphoreSetOptions {
  mode_t mode = 0600;               ///< Of a named object's file, as it is: no umask is applied.
  std::uint32_t participants = 64;  ///< At most at one time; up to 8175.
  std::uint32_t operations = 32;    ///< In one call at most; up to 500.
  std::uint32_t waiters = 128;      ///< Calls that wait at one time at most; up to 65535.
  /// Without it `undo` is `invalid`, and a set of one semaphore is changed without a lock: as cheap
  /// as sem_post(3). Such changes are not noted in `last_operation`.
  bool undo = true;
};

struct SemaphoreSetStatus {
  std::size_t count;
  std::size_t participants;  ///< That take part now.
  std::size_t waiting;       ///< Calls that wait.
  std::optional<std::chrono::sys_seconds> last_operation;
  std::chrono::sys_seconds last_change;  ///< Creation or `set_value(s)`.
};

/// Counters from 0 to 32767, several of which change all together or not at all, as System V's
/// (semop(2)), but with the cost of a few atomic instructions where nobody has to wait.
///
/// When a participant ends, what it did with `undo` is taken back at once, and who waited for that
/// proceeds. A participant that dies in the middle of a call has done all of it or nothing.
/// Bounds cost no memory: that for calls that wait and for `undo` is taken when it is first used.
/// What all objects have in common, also the errors of `create`, `open` and `adopt`: object.hpp.
class SemaphoreSet {
 public:
  static constexpr int highest_value = 32767;
  static constexpr std::size_t semaphores_at_most = 32000;
  static constexpr std::size_t operations_at_most = 500;

  /// A new set without a name, with a semaphore for each of `values`. `invalid` without any, with
  /// more than 32000 or for options out of their bounds; `out_of_range` for a value over 32767;
  /// `no_space` where there is not the memory.
  static auto create(std::span<const std::uint16_t> values, const SemaphoreSetOptions& options = {})
      -> Result<SemaphoreSet>;

  /// The same, with a name. `exists` if it is taken.
  static auto create(std::string_view name, std::span<const std::uint16_t> values,
                     const SemaphoreSetOptions& options = {}) -> Result<SemaphoreSet>;

  static auto open(std::string_view name) -> Result<SemaphoreSet>;

  /// The set of that name, as it is, or a new one.
  static auto open_or_create(std::string_view name, std::span<const std::uint16_t> values,
                             const SemaphoreSetOptions& options = {}) -> Result<SemaphoreSet>;

  /// Takes a received or inherited descriptor.
  static auto adopt(os::OwnedFd fd) -> Result<SemaphoreSet>;

  /// Takes the name away; who uses the set goes on. unlink(2)
  static auto unlink(std::string_view name) -> Result<void>;

  SemaphoreSet(SemaphoreSet&&) noexcept;
  auto operator=(SemaphoreSet&&) noexcept -> SemaphoreSet&;
  SemaphoreSet(const SemaphoreSet&) = delete;
  auto operator=(const SemaphoreSet&) -> SemaphoreSet& = delete;
  /// Ends this participation: undoes what it did with `undo`.
  ~SemaphoreSet();

  /// To hand on. None once it was closed.
  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd;
  /// Closes the descriptor: the set is then opened by its name for a moment where one is needed, so
  /// a program may have more objects than descriptors, and may close those it has not opened. If
  /// the name is gone or another's, what needs one is `removed`. `invalid` for a set without a
  /// name; not while another thread uses this handle.
  auto close_descriptor() -> Result<void>;
  [[nodiscard]] auto count() const noexcept -> std::size_t;
  [[nodiscard]] auto has_undo() const noexcept -> bool;

  /// Of this handle; `adaptive` at first.
  void set_wait_strategy(WaitStrategy strategy) noexcept;

  /// All operations at once or none, tried in their order, each seeing the effect of those before
  /// it. The first that cannot proceed decides: with `no_wait` the call ends with `would_block`,
  /// else it waits for that one, until the deadline; a call that waits and then comes to one with
  /// `no_wait` that cannot proceed ends with `would_block`, too. Waiters are served first come,
  /// first served, but those that only wait for zero before the others, as in Linux; and one that
  /// cannot proceed does not hold up later ones that can.
  ///
  /// `removed` if the set is removed; `invalid` without any operation, or for `undo` in a set
  /// without; EFBIG for an index outside of the set; `too_big` for more operations than the set
  /// takes; `out_of_range` for a value over 32767, or an undo value outside of -32768 to 32767;
  /// `no_space` if it would have to wait and as many as the set takes already do, or if there is no
  /// memory for its wait or for the participant's first `undo`.
  auto operate(std::span<const SemaphoreOperation> operations, Deadline deadline) -> Result<void>;

  auto operate(SemaphoreOperation operation, Deadline deadline) -> Result<void> {
    return operate({&operation, 1}, deadline);
  }

  /// An index outside of the set is `invalid`, here and below; a removed set `removed`.
  auto value(std::uint16_t index) -> Result<std::uint16_t>;

  /// `out_of_range` outside of 0 to 32767, and nothing changes. Forgets what any participant would
  /// undo of it, and lets waiters proceed.
  auto set_value(std::uint16_t index, int value) -> Result<void>;

  /// Of one moment.
  auto values() -> Result<std::vector<std::uint16_t>>;

  /// All at once, `count()` of them, else `invalid`. As `set_value`.
  auto set_values(std::span<const std::uint16_t> values) -> Result<void>;

  /// The process that last operated on it or set it, or whose operation was undone at its end; its
  /// number as it knew itself. 0: none yet.
  auto last_process(std::uint16_t index) -> Result<pid_t>;

  /// Calls that wait for the value to grow, and for it to be 0. A call of several operations counts
  /// at the first of them that cannot proceed. `busy` where so many wait, with so many operations,
  /// that to count them takes longer than a second; here and in `status`.
  auto waiting_for_increase(std::uint16_t index) -> Result<std::size_t>;
  auto waiting_for_zero(std::uint16_t index) -> Result<std::size_t>;

  auto status() -> Result<SemaphoreSetStatus>;

  /// Ends the set for all: who waits, and every later call of anybody, gets `removed`. The name, if
  /// it has one, stays until `unlink`.
  auto remove() -> Result<void>;

 private:
  class State;
  explicit SemaphoreSet(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

struct SemaphoreOptions {
  mode_t mode = 0600;               ///< Of a named object's file, as it is: no umask is applied.
  std::uint32_t participants = 64;  ///< At most at one time; up to 8175.
  std::uint32_t waiters = 128;      ///< As in SemaphoreSetOptions.
  bool undo = false;                ///< Whether a dead participant's units come back.
};

/// One counter: a SemaphoreSet of one, with the verbs of sem_overview(7).
class Semaphore {
 public:
  static auto create(std::uint16_t value, const SemaphoreOptions& options = {})
      -> Result<Semaphore>;
  static auto create(std::string_view name, std::uint16_t value,
                     const SemaphoreOptions& options = {}) -> Result<Semaphore>;
  static auto open(std::string_view name) -> Result<Semaphore>;
  static auto open_or_create(std::string_view name, std::uint16_t value,
                             const SemaphoreOptions& options = {}) -> Result<Semaphore>;
  static auto adopt(os::OwnedFd fd) -> Result<Semaphore>;
  static auto unlink(std::string_view name) -> Result<void> { return SemaphoreSet::unlink(name); }

  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd { return set_.descriptor(); }
  void set_wait_strategy(WaitStrategy strategy) noexcept { set_.set_wait_strategy(strategy); }

  /// Takes one unit, once there is one.
  auto wait(Deadline deadline) -> Result<void>;

  /// Gives one unit. `out_of_range` over 32767.
  auto post() -> Result<void>;

  auto value() -> Result<std::uint16_t> { return set_.value(0); }

 private:
  Semaphore(SemaphoreSet set, bool undo) noexcept : set_(std::move(set)), undo_(undo) {}
  static auto from(Result<SemaphoreSet> set) -> Result<Semaphore>;

  SemaphoreSet set_;
  bool undo_;
};

}  // namespace parley
