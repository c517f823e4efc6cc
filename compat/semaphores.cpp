// semget(2), semop(2), semctl(2) on SemaphoreSet.
#include <sys/sem.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdarg>
#include <limits>
#include <vector>

#include <parley/semaphore_set.hpp>

#include "handles.hpp"
#include "sysv.hpp"

namespace parley::compat {
namespace {

/// As semctl(2) has programs define it.
union Argument {
  int value;
  semid_ds* status;
  unsigned short* values;
  seminfo* info;
};

constinit Handles<SemaphoreSet> sets(SpaceKind::semaphores);

auto make(const SpaceEntry& entry, const std::string& path, const SpaceLimits& limits)
    -> Result<void> {
  const std::vector<std::uint16_t> zeros(entry.size);
  const auto made = SemaphoreSet::create(
      path, zeros,
      {.mode = file_mode(entry.mode),
       .participants = participants,
       .operations = static_cast<std::uint32_t>(std::max<std::uint64_t>(limits.semopm, 1)),
       .waiters = waiters});
  return made ? Result<void>() : failure(made.error());
}

auto get(key_t key, int count, int flags) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  const auto& limits = space->limits();
  if (count < 0 || static_cast<std::uint64_t>(count) > limits.semmsl) return fail(EINVAL);
  const NoCancel no_cancel;
  const User user;
  const auto id = space->table(SpaceKind::semaphores)
                      .get(
                          {.key = key,
                           .flags = flags,
                           .size = static_cast<std::uint64_t>(count),
                           .objects_at_most = limits.semmni,
                           .total_at_most = limits.semmns,
                           .process = getpid()},
                          user.as_space_user(),
                          [&](const SpaceEntry& found) -> Result<void> {
                            const bool fits = static_cast<std::uint64_t>(count) <= found.size;
                            return fits ? Result<void>() : failure(Error::invalid);
                          },
                          [&](const SpaceEntry& entry, const std::string& path) -> Result<void> {
                            if (entry.size == 0) return failure(Error::invalid);
                            return make(entry, path, limits);
                          });
  return id ? *id : fail(id.error());
}

/// Whether nothing of it changes a value.
auto only_waits(std::span<const sembuf> operations) -> bool {
  return std::ranges::all_of(operations, [](const sembuf& each) { return each.sem_op == 0; });
}

/// The kernel looks at the numbers before it looks at the permissions.
auto fail_to_use(int id, std::span<const sembuf> operations, Error error) -> int {
  const auto entry = compat::space()->table(SpaceKind::semaphores).find(id);
  const auto fits = [&](const sembuf& each) { return each.sem_num < entry->size; };
  if (entry && !std::ranges::all_of(operations, fits)) return fail(EFBIG);
  return fail_in_call(error);
}

auto operate(int id, std::span<const sembuf> operations, Deadline deadline) -> int {
  constexpr std::size_t few = 8;
  std::array<SemaphoreOperation, few> short_list;
  std::vector<SemaphoreOperation> long_list;
  if (operations.size() > few) long_list.resize(operations.size());
  const std::span<SemaphoreOperation> list(
      operations.size() > few ? long_list.data() : short_list.data(), operations.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& asked = operations[i];
    list[i] = {.index = asked.sem_num,
               .delta = asked.sem_op,
               .no_wait = (asked.sem_flg & IPC_NOWAIT) != 0,
               .undo = (asked.sem_flg & SEM_UNDO) != 0};
  }
  const auto set = sets.use(id, only_waits(operations) ? 04 : 02);
  if (!set) return fail_to_use(id, operations, set.error());
  const auto done = (*set)->operate(list, deadline);
  if (done) [[likely]]
    return 0;
  return done.error() == Error::no_space ? fail(ENOMEM) : fail_in_call(done.error());
}

auto operate(int id, const sembuf* operations, size_t count, const timespec* timeout) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  if (count < 1 || id < 0) return fail(EINVAL);
  if (count > space->limits().semopm) return fail(E2BIG);
  if (is_bad(operations)) return fail(EFAULT);
  auto deadline = Deadline::never().or_signal();
  if (timeout != nullptr) {
    if (is_bad(timeout)) return fail(EFAULT);
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) {
      return fail(EINVAL);
    }
    constexpr std::int64_t longest = 1LL << 32U;
    const auto end =
        Deadline::after(std::chrono::seconds(std::min<std::int64_t>(timeout->tv_sec, longest)) +
                        std::chrono::nanoseconds(timeout->tv_nsec));
    deadline = deadline.no_later_than(end.point());
  }
  return operate(id, {operations, count}, deadline);
}

/// IPC_STAT, SEM_STAT and SEM_STAT_ANY.
auto stat(SpaceTable& table, int name, Named named, semid_ds* status) -> int {
  const auto entry = entry_to_read(table, name, named);
  if (!entry) return fail(entry.error());
  if (is_bad(status)) return fail(EFAULT);
  semid_ds told{};
  tell(*entry, told.sem_perm);
  told.sem_nsems = entry->size;
  told.sem_ctime = entry->changed;
  if (const auto set = sets.use(entry->id, 0)) {
    if (const auto known = (*set)->status()) {
      told.sem_otime = as_seconds(known->last_operation);
      told.sem_ctime = std::max<std::int64_t>(told.sem_ctime, as_seconds(known->last_change));
    }
  }
  *status = told;
  return named == Named::by_id ? 0 : entry->id;
}

auto info(const Space& space, const SpaceTable& table, int command, seminfo* info) -> int {
  if (is_bad(info)) return fail(EFAULT);
  const auto& limits = space.limits();
  const auto status = table.status();
  constexpr int undo_bytes = 20;
  seminfo told{};
  told.semmap = told.semmns = told.semmnu = as_int(limits.semmns);
  told.semmni = as_int(limits.semmni);
  told.semmsl = as_int(limits.semmsl);
  told.semopm = told.semume = as_int(limits.semopm);
  told.semusz = command == SEM_INFO ? static_cast<int>(status.count) : undo_bytes;
  told.semvmx = SemaphoreSet::highest_value;
  told.semaem = command == SEM_INFO ? as_int(status.total) : SemaphoreSet::highest_value;
  *info = told;
  return std::max(status.highest_index, 0);
}

auto set_value(int id, int index, int value) -> int {
  if (value < 0 || value > SemaphoreSet::highest_value) return fail(ERANGE);
  const auto entry = compat::space()->table(SpaceKind::semaphores).find(id);
  if (!entry) return fail(entry.error());
  if (index < 0 || static_cast<std::uint64_t>(index) >= entry->size) return fail(EINVAL);
  const auto set = sets.use(id, 02);
  if (!set) return fail_in_call(set.error());
  const auto done = (*set)->set_value(static_cast<std::uint16_t>(index), value);
  return done ? 0 : fail_in_call(done.error());
}

auto values(int id, unsigned short* into) -> int {
  const auto set = sets.use(id, 04);
  if (!set) return fail_in_call(set.error());
  const auto all = (*set)->values();
  if (!all) return fail_in_call(all.error());
  if (is_bad(into)) return fail(EFAULT);
  std::ranges::copy(*all, into);
  return 0;
}

auto set_values(int id, const unsigned short* from) -> int {
  const auto set = sets.use(id, 02);
  if (!set) return fail_in_call(set.error());
  if (is_bad(from)) return fail(EFAULT);
  const auto done = (*set)->set_values({from, (*set)->count()});
  return done ? 0 : fail_in_call(done.error());
}

/// What GETVAL, GETPID, GETNCNT and GETZCNT tell of one semaphore.
auto look(int id, int index, int command) -> int {
  const auto set = sets.use(id, 04);
  if (!set) return fail_in_call(set.error());
  if (index < 0 || static_cast<std::size_t>(index) >= (*set)->count()) return fail(EINVAL);
  const auto of = static_cast<std::uint16_t>(index);
  const auto told = [](const auto& result) {
    return result ? static_cast<int>(*result) : fail_in_call(result.error());
  };
  if (command == GETVAL) return told((*set)->value(of));
  if (command == GETPID) return told((*set)->last_process(of));
  if (command == GETNCNT) return told((*set)->waiting_for_increase(of));
  return told((*set)->waiting_for_zero(of));
}

auto control(int id, int index, int command, Argument argument) -> int {
  Space* const space = compat::space();
  if (space == nullptr) return fail(ENOSYS);
  if (id < 0) return fail(EINVAL);
  auto& table = space->table(SpaceKind::semaphores);
  const NoCancel no_cancel;
  switch (command) {
    case IPC_INFO:
    case SEM_INFO:
      return info(*space, table, command, argument.info);
    case IPC_STAT:
      return stat(table, id, Named::by_id, argument.status);
    case SEM_STAT:
      return stat(table, id, Named::by_index, argument.status);
    case SEM_STAT_ANY:
      return stat(table, id, Named::by_index_any, argument.status);
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
      return look(id, index, command);
    case GETALL:
      return values(id, argument.values);
    case SETVAL:
      return set_value(id, index, argument.value);
    case SETALL:
      return set_values(id, argument.values);
    case IPC_SET:
      if (is_bad(argument.status)) return fail(EFAULT);
      return set_permissions(table, id, argument.status->sem_perm);
    case IPC_RMID:
      return remove(table, id);
    default:
      return fail(EINVAL);
  }
}

}  // namespace
}  // namespace parley::compat

PARLEY_COMPAT auto semget(key_t key, int count, int flags) noexcept -> int {
  return parley::compat::get(key, count, flags);
}

PARLEY_COMPAT auto semop(int id, sembuf* operations, size_t count) noexcept -> int {
  return parley::compat::operate(id, operations, count, nullptr);
}

PARLEY_COMPAT auto semtimedop(int id, sembuf* operations, size_t count,
                              const timespec* timeout) noexcept -> int {
  return parley::compat::operate(id, operations, count, timeout);
}

PARLEY_COMPAT auto semctl(int id, int index, int command, ...) noexcept -> int {
  // Absent where the command takes none; what stands in its place is then not looked at.
  va_list more;
  va_start(more, command);
  const auto argument = va_arg(more, parley::compat::Argument);
  va_end(more);
  return parley::compat::control(id, index, command, argument);
}
