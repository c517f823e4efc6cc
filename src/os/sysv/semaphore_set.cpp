#include <parley/os/sysv/semaphore_set.hpp>

#include <sys/sem.h>

#include <algorithm>
#include <array>
#include <climits>
#include <utility>

#include "os/sys.hpp"
#include "os/sysv/gate.hpp"
#include "os/sysv/object.hpp"
#include "os/sysv/semaphore_calls.hpp"

namespace parley::os::sysv {
namespace {

/// Only read and write: an execute bit would pass for the mark of a gate.
constexpr mode_t mode_bits = 0666;

auto to_status(int id, const semid_ds& ds) -> SemaphoreSetStatus {
  SemaphoreSetStatus status{.id = id,
                            .permissions = to_permissions(ds.sem_perm),
                            .count = ds.sem_nsems,
                            .gated = gate::is_marked(ds.sem_perm.mode),
                            .last_operation = to_time_if_any(ds.sem_otime),
                            .last_change = to_time(ds.sem_ctime)};
  if (status.gated) {
    --status.count;
    status.permissions.access.mode &= mode_bits;
  }
  return status;
}

/// What IPC_STAT says, also to a process that may only write: the listing tells everybody.
auto look_up(int id) -> Result<SemaphoreSetStatus> {
  semid_ds ds{};
  const auto asked = semaphore_control(id, 0, IPC_STAT, {.status = &ds});
  if (asked) return to_status(id, ds);
  if (asked.error() != Error::access_denied) return failure(asked.error());
  const auto all = PARLEY_TRY(SemaphoreSet::list());
  const auto found = std::ranges::find(all, id, &SemaphoreSetStatus::id);
  if (found == all.end()) return failure(Error::invalid);
  return *found;
}

auto make(Key key, std::size_t count, mode_t mode) -> Result<int> {
  if (count == 0 || count > INT_MAX) return failure(Error::invalid);
  return sys::call<::semget>(key.number(), static_cast<int>(count), create_flags(mode));
}

auto info(int command) -> Result<std::pair<int, seminfo>> {
  seminfo told{};
  const int highest = PARLEY_TRY(semaphore_control(0, 0, command, {.info = &told}));
  return std::pair(highest, told);
}

/// Every value as it goes to the kernel, followed by that of the gate.
auto with_gate(std::span<const std::uint16_t> values, bool gated) -> std::vector<unsigned short> {
  std::vector<unsigned short> all(values.begin(), values.end());
  if (gated) all.push_back(gate::open);
  return all;
}

}  // namespace

auto SemaphoreSet::create(Key key, std::size_t count, CreateOptions options)
    -> Result<SemaphoreSet> {
  const int id = PARLEY_TRY(make(key, count, options.mode & mode_bits));
  return SemaphoreSet(id, count, false);
}

auto SemaphoreSet::create(Key key, std::span<const std::uint16_t> values, CreateOptions options)
    -> Result<SemaphoreSet> {
  if (values.empty()) return failure(Error::invalid);
  if (std::ranges::max(values) > gate::highest_value) return failure(Error::out_of_range);
  const bool gated = !key.is_private();
  const mode_t mode = (options.mode & mode_bits) | (gated ? gate::mark : 0);
  const int id = PARLEY_TRY(make(key, values.size() + (gated ? 1 : 0), mode));
  const SemaphoreSet set(id, values.size(), gated);
  const auto ready = gated ? gate::fill(id, values) : set.set_values(values);
  if (!ready) {
    sys::release<::semctl>(id, 0, IPC_RMID);
    return failure(ready.error());
  }
  return set;
}

auto SemaphoreSet::open_or_create(Key key, std::size_t count, CreateOptions options)
    -> Result<SemaphoreSet> {
  return create_or_open([&] { return create(key, count, options); },
                        [&]() -> Result<SemaphoreSet> {
                          const auto set = PARLEY_TRY(open(key, Deadline::now()));
                          if (set.count_ < count) return failure(Error::invalid);
                          return set;
                        });
}

auto SemaphoreSet::open_or_create(Key key, std::span<const std::uint16_t> values,
                                  CreateOptions options) -> Result<SemaphoreSet> {
  return create_or_open(
      [&] { return create(key, values, options); },
      [&]() -> Result<SemaphoreSet> {
        const auto set = PARLEY_TRY(adopt(PARLEY_TRY(sys::call<::semget>(key.number(), 0, 0))));
        if (set.count_ < values.size()) return failure(Error::invalid);
        if (!set.gated_) return set;
        auto ready = gate::pass(set.id_, set.count_, Deadline::now());
        // A larger set is not the one that these values are for.
        const bool is_ours = set.count_ == values.size();
        if (!ready && ready.error() == Error::would_block && is_ours) {
          ready = gate::fill(set.id_, values);
        }
        PARLEY_TRY(ready);
        return set;
      });
}

auto SemaphoreSet::open(Key key, Deadline deadline, OpenOptions options) -> Result<SemaphoreSet> {
  const auto set = PARLEY_TRY(adopt(PARLEY_TRY(find(key, options, [](key_t number, int flags) {
    return sys::call<::semget>(number, 0, flags);
  }))));
  if (set.gated_) PARLEY_TRY(gate::pass(set.id_, set.count_, deadline));
  return set;
}

auto SemaphoreSet::adopt(int id) -> Result<SemaphoreSet> {
  const auto status = PARLEY_TRY(look_up(id));
  return SemaphoreSet(id, status.count, status.gated);
}

auto SemaphoreSet::operate(std::span<const Operation> operations, Deadline deadline) const
    -> Result<void> {
  constexpr std::size_t usual_limit = 500;
  std::array<sembuf, usual_limit> few;
  std::vector<sembuf> many;
  if (operations.size() > few.size()) many.resize(operations.size());
  sembuf* const calls = many.empty() ? few.data() : many.data();
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const auto& [index, delta, no_wait, undo] = operations[i];
    if (index >= count_) return failure(static_cast<Error>(EFBIG));
    calls[i] = {.sem_num = index,
                .sem_op = delta,
                .sem_flg = static_cast<short>((no_wait ? IPC_NOWAIT : 0) | (undo ? SEM_UNDO : 0))};
  }
  return semaphore_operate(id_, {calls, operations.size()}, deadline);
}

auto SemaphoreSet::value(std::uint16_t index) const -> Result<std::uint16_t> {
  return static_cast<std::uint16_t>(PARLEY_TRY(ask(index, GETVAL)));
}

auto SemaphoreSet::set_value(std::uint16_t index, int value) const -> Result<void> {
  if (index >= count_) return failure(Error::invalid);
  PARLEY_TRY(semaphore_control(id_, index, SETVAL, {.value = value}));
  return {};
}

auto SemaphoreSet::values() const -> Result<std::vector<std::uint16_t>> {
  std::vector<unsigned short> all(count_ + (gated_ ? 1 : 0));
  PARLEY_TRY(semaphore_control(id_, 0, GETALL, {.values = all.data()}));
  all.resize(count_);
  return all;
}

auto SemaphoreSet::set_values(std::span<const std::uint16_t> values) const -> Result<void> {
  if (values.size() != count_) return failure(Error::invalid);
  auto all = with_gate(values, gated_);
  PARLEY_TRY(semaphore_control(id_, 0, SETALL, {.values = all.data()}));
  return {};
}

auto SemaphoreSet::last_process(std::uint16_t index) const -> Result<pid_t> {
  return PARLEY_TRY(ask(index, GETPID));
}

auto SemaphoreSet::waiting_for_increase(std::uint16_t index) const -> Result<std::size_t> {
  return static_cast<std::size_t>(PARLEY_TRY(ask(index, GETNCNT)));
}

auto SemaphoreSet::waiting_for_zero(std::uint16_t index) const -> Result<std::size_t> {
  return static_cast<std::size_t>(PARLEY_TRY(ask(index, GETZCNT)));
}

auto SemaphoreSet::ask(std::uint16_t index, int command) const -> Result<int> {
  if (index >= count_) return failure(Error::invalid);
  return sys::call<::semctl>(id_, int{index}, command);
}

auto SemaphoreSet::status() const -> Result<SemaphoreSetStatus> {
  semid_ds ds{};
  PARLEY_TRY(semaphore_control(id_, 0, IPC_STAT, {.status = &ds}));
  return to_status(id_, ds);
}

auto SemaphoreSet::set_access(Access access) const -> Result<void> {
  access.mode = (access.mode & mode_bits) | (gated_ ? gate::mark : 0);
  semid_ds ds{};
  apply(access, ds.sem_perm);
  PARLEY_TRY(semaphore_control(id_, 0, IPC_SET, {.status = &ds}));
  return {};
}

auto SemaphoreSet::remove() const -> Result<void> {
  PARLEY_TRY(sys::call<::semctl>(id_, 0, IPC_RMID));
  return {};
}

auto SemaphoreSet::list() -> Result<std::vector<SemaphoreSetStatus>> {
  const int highest = PARLEY_TRY(info(SEM_INFO)).first;
  return list_slots(highest, [](int slot) -> Result<SemaphoreSetStatus> {
    semid_ds ds{};
    const int id = PARLEY_TRY(semaphore_control(slot, 0, SEM_STAT_ANY, {.status = &ds}));
    return to_status(id, ds);
  });
}

auto SemaphoreSet::limits() -> Result<SemaphoreLimits> {
  const auto [highest, told] = PARLEY_TRY(info(IPC_INFO));
  return SemaphoreLimits{.sets = static_cast<std::size_t>(told.semmni),
                         .semaphores = static_cast<std::size_t>(told.semmns),
                         .semaphores_per_set = static_cast<std::size_t>(told.semmsl),
                         .operations_per_call = static_cast<std::size_t>(told.semopm),
                         .highest_value = told.semvmx,
                         .highest_undo = told.semaem};
}

auto SemaphoreSet::usage() -> Result<SemaphoreUsage> {
  const auto [highest, told] = PARLEY_TRY(info(SEM_INFO));
  return SemaphoreUsage{.sets = static_cast<std::size_t>(told.semusz),
                        .semaphores = static_cast<std::size_t>(told.semaem)};
}

}  // namespace parley::os::sysv
