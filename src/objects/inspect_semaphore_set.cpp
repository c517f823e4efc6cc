#include <algorithm>
#include <array>

#include "objects/inspect.hpp"
#include "shm/layout/semaphore_set.hpp"

namespace parley {
namespace {

using Words = ObjectWords;

/// Where a call that waits stops: counts it there. As SemaphoreSet::waiting_for_increase has it.
void count_waiter(Words operations, std::vector<InspectedSemaphore>& semaphores) {
  struct Change {
    std::uint16_t index;
    std::int32_t value;
  };
  std::vector<Change> changes;
  for (const auto& word : operations) {
    const auto packed = word.load_relaxed();
    const auto index = static_cast<std::uint16_t>(packed);
    const auto delta = static_cast<std::int16_t>(static_cast<std::uint16_t>(packed >> 16U));
    if (index >= semaphores.size()) return;  // not of this moment
    auto change = std::ranges::find(changes, index, &Change::index);
    if (change == changes.end()) {
      changes.push_back({.index = index, .value = semaphores[index].value});
      change = changes.end() - 1;
    }
    if (delta == 0 && change->value != 0) {
      ++semaphores[index].waiting_for_zero;
      return;
    }
    change->value += delta;
    if (change->value < 0) {
      ++semaphores[index].waiting_for_increase;
      return;
    }
  }
}

auto shape_of(const shm::SemaphoreSetBody& body, const ObjectLook& look)
    -> Result<shm::SemaphoreSetShape> {
  const shm::SemaphoreSetShape shape{.count = body.count.load_relaxed(),
                                     .operations = body.operations.load_relaxed(),
                                     .waiters = body.waiters.load_relaxed(),
                                     .place_count = look.place_count};
  const bool sound = shape.count >= 1 && shape.count <= SemaphoreSet::semaphores_at_most &&
                     shape.operations >= 1 &&
                     shape.operations <= SemaphoreSet::operations_at_most && shape.waiters >= 1 &&
                     shape.waiters <= 0xffff && shape.body_bytes() == look.body_bytes;
  return sound ? Result<shm::SemaphoreSetShape>(shape) : failure(Error::corrupt);
}

/// What the end of each participant changes.
auto look_at_undo(const ObjectLook& look, const shm::SemaphoreSetShape& shape,
                  std::uint64_t backed_rows, std::span<const shm::SemaphoreWord> semaphores)
    -> Result<void> {
  const auto words = shape.undo_row_words();
  for (auto& who : look.participants.all()) {
    if (who.place >= backed_rows) continue;
    const auto row = PARLEY_TRY(look.reader.read_body<shm::Atomic<std::uint64_t>>(
        shape.undo_rows() + who.place * words * sizeof(std::uint64_t), words));
    for (std::size_t i = 0; i < semaphores.size(); ++i) {
      const auto packed = row[1 + i].load_relaxed();
      const auto resets = static_cast<std::uint32_t>(semaphores[i].resets.load_relaxed());
      if (packed >> 32U == resets && static_cast<std::uint32_t>(packed) != 0) ++who.adjustments;
    }
    if (who.adjustments != 0) who.process = static_cast<std::uint32_t>(row[0].load_relaxed());
  }
  return {};
}

}  // namespace

auto look_at_semaphore_set(const ObjectLook& look) -> Result<SemaphoreSetInspection> {
  const auto copy = PARLEY_TRY(look.reader.read_body<shm::SemaphoreSetBody>(0, 1));
  const auto& body = copy[0];
  const auto shape = PARLEY_TRY(shape_of(body, look));
  SemaphoreSetInspection set{.has_undo = body.undo.load_relaxed() != 0,
                             .is_removed = body.removed.load_relaxed() != 0,
                             .operations_at_most = shape.operations,
                             .waiters_at_most = shape.waiters,
                             .semaphores = {},
                             .last_operation = time_if_any(body.last_operation.load_relaxed()),
                             .last_change = std::chrono::sys_seconds(
                                 std::chrono::seconds(body.last_change.load_relaxed()))};
  const auto words =
      PARLEY_TRY(look.reader.read_body<shm::SemaphoreWord>(shape.semaphores(), shape.count));
  for (const auto& word : words.all()) {
    const auto state = word.state.load_relaxed();
    set.semaphores.push_back({.value = static_cast<std::uint16_t>(state & shm::value_bits),
                              .last_process = static_cast<std::uint32_t>(state >> 32U),
                              .waiting_for_increase = 0,
                              .waiting_for_zero = 0});
  }
  if (set.has_undo) {
    PARLEY_TRY(look_at_undo(look, shape, body.backed_rows.load_relaxed(), words.all()));
  }
  PARLEY_TRY(look.reader.scan(
      shape.waiter_records(), shape.waiter_bytes() / sizeof(std::uint64_t),
      std::min<std::uint64_t>(body.backed_waiters.load_relaxed(), shape.waiters),
      [&](Words record) -> Result<void> {
        const auto& waiter = record_as<shm::Waiter>(record);
        if (!look.participants.note_waiter(waiter)) return {};
        const std::size_t count = std::min(waiter.request.load_relaxed(), shape.operations);
        const auto operations = record.subspan(sizeof(shm::Waiter) / sizeof(std::uint64_t), count);
        count_waiter(operations, set.semaphores);
        return {};
      }));
  return set;
}

}  // namespace parley
