// System V semaphores: a set of counters that several operations change all together or not at all.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/os/sysv/permissions.hpp>

namespace parley::os::sysv {

/// One change of one semaphore, or a wait for it.
struct Operation {
  std::uint16_t index;
  /// Positive: added. Negative: subtracted once the value is large enough. 0: waits until the value
  /// is 0.
  std::int16_t delta;
  bool no_wait = false;  ///< IPC_NOWAIT: where this one would have to wait, `would_block` at once.
  bool undo = false;     ///< SEM_UNDO: taken back when this process ends, however it ends.
};

struct SemaphoreSetStatus {
  int id;
  Permissions permissions;
  std::size_t count;  ///< Of semaphores, without the gate.
  bool gated;         ///< Has one more semaphore behind these, the gate; see `SemaphoreSet`.
  std::optional<std::chrono::sys_seconds> last_operation;  ///< None: there was none yet.
  std::chrono::sys_seconds last_change;  ///< Creation, `set_access`, `set_value`, `set_values`.
};

/// IPC_INFO. What Linux reports but does not use is left out.
struct SemaphoreLimits {
  std::size_t sets;                 ///< SEMMNI, in the system.
  std::size_t semaphores;           ///< SEMMNS, in all sets together.
  std::size_t semaphores_per_set;   ///< SEMMSL; a gate counts.
  std::size_t operations_per_call;  ///< SEMOPM
  int highest_value;                ///< SEMVMX
  int highest_undo;                 ///< SEMAEM
};

/// SEM_INFO.
struct SemaphoreUsage {
  std::size_t sets;
  std::size_t semaphores;
};

/// A System V semaphore set. The handle is a number that may be copied at will: nothing happens to
/// the set when it goes. The set stays, whoever dies, until `remove` (or ipcrm(1), or a restart).
/// After that every call through any handle is `invalid`, and who was waiting gets `removed`.
/// sysvipc(7), semget(2), semop(2), semctl(2)
///
/// **Initial values.** The kernel makes a set and gives it values in two steps, and between them
/// another process may open it and go wrong. A set that is created here with initial values under a
/// key therefore has one semaphore more than was asked for, behind the others: the gate. It opens
/// in the same atomic operation that puts the last value in place. `open` waits for that in the
/// kernel; `open_or_create` does the missing steps itself, so that a creator that was killed half
/// way is no harm. The set is known by its mode: execute permission for others alone, which means
/// nothing to the kernel. The gate is not reachable through this type and not in `count`.
///
/// The gate can not bind programs that call semget themselves: they see one semaphore more, may use
/// the set before it is ready (those that wait for `sem_otime` to be set are safe), and do break it
/// if they change the gate or the mode. Nor can it help to open what such programs make: their sets
/// are opened as they are.
class SemaphoreSet {
 public:
  /// A new set of `count` semaphores, all 0, whole at once and without a gate. `exists` if the key
  /// is taken; `invalid` for a `count` of 0 or over SEMMSL; `no_space` over SEMMNI or SEMMNS.
  static auto create(Key key, std::size_t count, CreateOptions options = {})
      -> Result<SemaphoreSet>;

  /// A new set with a semaphore for each of `values`, with a gate unless the key is private. Errors
  /// as above; `out_of_range` for a value over SEMVMX; `access_denied` if `options.mode` does not
  /// let its creator write. After an error there is no new set.
  static auto create(Key key, std::span<const std::uint16_t> values, CreateOptions options = {})
      -> Result<SemaphoreSet>;

  /// The set of that key, or a new one. `invalid` if there is one of fewer semaphores;
  /// `would_block` if it has a gate that is not open yet.
  static auto open_or_create(Key key, std::size_t count, CreateOptions options = {})
      -> Result<SemaphoreSet>;

  /// The same. If the set is there and has a gate, but its creator has not finished, this finishes
  /// it, and so needs no deadline. All programs that create a key's set must give the same values.
  /// `corrupt` if the gate has a value that no creator gave it.
  static auto open_or_create(Key key, std::span<const std::uint16_t> values,
                             CreateOptions options = {}) -> Result<SemaphoreSet>;

  /// The set of that key, once it has its initial values. `not_found`; `invalid` for the private
  /// key; at the deadline, for instance because the creator was killed half way, `timed_out` or
  /// `would_block`. A process that may only read can not wait: `access_denied` until the set is
  /// ready.
  static auto open(Key key, Deadline deadline, OpenOptions options = {}) -> Result<SemaphoreSet>;

  /// The set of an id that was handed over or inherited, as it is. `invalid` if there is none.
  static auto adopt(int id) -> Result<SemaphoreSet>;

  [[nodiscard]] auto id() const noexcept -> int { return id_; }
  [[nodiscard]] auto count() const noexcept -> std::size_t { return count_; }

  /// All operations at once or none, tried in their order, each seeing the effect of those before
  /// it. The first that cannot proceed decides: with `no_wait` the call ends with `would_block`,
  /// else it waits for that one. Under `Deadline::now()` all have `no_wait`. Waiters are served
  /// first come, first served, but one that cannot proceed does not hold up later ones that can.
  ///
  /// `removed` if the set is removed while waiting; `invalid` if it was before, or without any
  /// operation; EFBIG for an index outside of the set; `too_big` for more than SEMOPM operations;
  /// `out_of_range` for a value over SEMVMX or an undo value over SEMAEM; `access_denied`: changing
  /// needs write permission, waiting for 0 read permission; `no_space` for no more undo memory.
  ///
  /// Undo: for each semaphore the process remembers what it added and subtracted with `undo`. When
  /// it ends, by exit or by kill -9, that is taken back: what would become negative becomes 0, and
  /// waiters proceed. Threads share it; a child of fork starts without; exec keeps it.
  [[nodiscard]] auto operate(std::span<const Operation> operations, Deadline deadline) const
      -> Result<void>;

  [[nodiscard]] auto operate(Operation operation, Deadline deadline) const -> Result<void> {
    return operate({&operation, 1}, deadline);
  }

  /// GETVAL. An index outside of the set is `invalid`, here and below.
  [[nodiscard]] auto value(std::uint16_t index) const -> Result<std::uint16_t>;

  /// SETVAL. `out_of_range` outside of 0 to SEMVMX, and nothing changes. Forgets what any process
  /// would undo of it, and lets waiters proceed.
  [[nodiscard]] auto set_value(std::uint16_t index, int value) const -> Result<void>;

  /// GETALL: of one moment.
  [[nodiscard]] auto values() const -> Result<std::vector<std::uint16_t>>;

  /// SETALL: all at once, `count()` of them, else `invalid`. As `set_value`.
  [[nodiscard]] auto set_values(std::span<const std::uint16_t> values) const -> Result<void>;

  /// The process that last operated on it, set it, or undid something at its end. GETPID
  [[nodiscard]] auto last_process(std::uint16_t index) const -> Result<pid_t>;

  /// Calls that wait for the value to grow, and for it to be 0. A call of several operations counts
  /// at the first of them that cannot proceed. GETNCNT, GETZCNT
  [[nodiscard]] auto waiting_for_increase(std::uint16_t index) const -> Result<std::size_t>;
  [[nodiscard]] auto waiting_for_zero(std::uint16_t index) const -> Result<std::size_t>;

  /// IPC_STAT. Needs read permission.
  [[nodiscard]] auto status() const -> Result<SemaphoreSetStatus>;

  /// IPC_SET. `not_permitted` unless owner, creator or privileged.
  [[nodiscard]] auto set_access(Access access) const -> Result<void>;

  /// IPC_RMID: at once, whoever uses it. `not_permitted` unless owner, creator or privileged.
  [[nodiscard]] auto remove() const -> Result<void>;

  /// Every set of this IPC namespace, whoever may use it. SEM_STAT_ANY (Linux 4.17)
  static auto list() -> Result<std::vector<SemaphoreSetStatus>>;

  static auto limits() -> Result<SemaphoreLimits>;
  static auto usage() -> Result<SemaphoreUsage>;

 private:
  SemaphoreSet(int id, std::size_t count, bool gated) noexcept
      : id_(id), count_(count), gated_(gated) {}

  [[nodiscard]] auto ask(std::uint16_t index, int command) const -> Result<int>;

  int id_;
  std::size_t count_;
  bool gated_;
};

}  // namespace parley::os::sysv
