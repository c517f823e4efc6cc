#include "os/sysv/gate.hpp"

#include <sys/sem.h>

#include <algorithm>
#include <array>

#include "os/sysv/semaphore_calls.hpp"

namespace parley::os::sysv::gate {
namespace {

/// A step is the same for all processes, so it does not depend on SEMOPM; 32 operations are within
/// every system's.
constexpr std::size_t operations_per_step = 32;
constexpr std::size_t values_per_step = operations_per_step - 3;

auto steps_done(int id, std::size_t index) -> Result<int> {
  return sys::call<::semctl>(id, static_cast<int>(index), GETVAL);
}

/// `would_block` if it is not, or no longer, this step's turn; `corrupt` if there is no such step,
/// because a program that does not know of the gate has changed it.
auto do_step(int id, std::span<const std::uint16_t> values, int step) -> Result<void> {
  const auto index = static_cast<unsigned short>(values.size());
  const std::size_t first = static_cast<std::size_t>(step) * values_per_step;
  if (first >= values.size()) return failure(Error::corrupt);
  const std::size_t end = std::min(first + values_per_step, values.size());
  std::array<sembuf, operations_per_step> operations{};
  std::size_t count = 0;
  const auto then = [&](unsigned short number, int delta) {
    operations.at(count++) = {
        .sem_num = number, .sem_op = static_cast<short>(delta), .sem_flg = IPC_NOWAIT};
  };
  if (step != 0) then(index, -step);
  then(index, 0);
  for (std::size_t i = first; i < end; ++i) {
    if (values[i] != 0) then(static_cast<unsigned short>(i), values[i]);
  }
  then(index, end == values.size() ? int{open} : step + 1);
  return semaphore_operate(id, std::span(operations).first(count), Deadline::now());
}

}  // namespace

auto fill(int id, std::span<const std::uint16_t> values) -> Result<void> {
  for (int step = 0; step != open;) {
    const auto done = do_step(id, values, step);
    if (!done && done.error() != Error::would_block) return done;
    const bool was_last = static_cast<std::size_t>(step + 1) * values_per_step >= values.size();
    if (done && was_last) return {};
    step = done ? step + 1 : PARLEY_TRY(steps_done(id, values.size()));
  }
  return {};
}

auto pass(int id, std::size_t index, Deadline deadline) -> Result<void> {
  const auto done = steps_done(id, index);
  if (done && *done == open) return {};
  if (!done && done.error() != Error::access_denied) return failure(done.error());
  // Once the gate is open this fails with ERANGE and changes nothing; until then it waits.
  const auto number = static_cast<unsigned short>(index);
  std::array<sembuf, 3> never_done{{{.sem_num = number, .sem_op = -open, .sem_flg = 0},
                                    {.sem_num = number, .sem_op = open, .sem_flg = 0},
                                    {.sem_num = number, .sem_op = 1, .sem_flg = 0}}};
  const auto opened = semaphore_operate(id, never_done, deadline);
  if (!opened && opened.error() == Error::out_of_range) return {};
  return opened;
}

}  // namespace parley::os::sysv::gate
