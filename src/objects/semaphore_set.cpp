#include <parley/semaphore_set.hpp>

#include <algorithm>
#include <utility>

#include "objects/semaphore_set_state.hpp"

namespace parley {
namespace {

auto time_of(const shm::Atomic<std::uint64_t>& seconds) -> std::chrono::sys_seconds {
  return std::chrono::sys_seconds(std::chrono::seconds(seconds.load_relaxed()));
}

auto make(std::string_view name, std::span<const std::uint16_t> values,
          const SemaphoreSetOptions& options) -> Result<shm::Segment> {
  if (values.empty() || values.size() > SemaphoreSet::semaphores_at_most ||
      options.operations == 0 || options.operations > SemaphoreSet::operations_at_most ||
      options.waiters == 0 || options.waiters > 0xffff ||
      options.participants >= shm::places_at_most) {
    return failure(Error::invalid);
  }
  if (std::ranges::any_of(values, [](auto value) { return value > SemaphoreSet::highest_value; })) {
    return failure(Error::out_of_range);
  }
  const shm::SemaphoreSetShape shape{.count = static_cast<std::uint32_t>(values.size()),
                                     .operations = options.operations,
                                     .waiters = options.waiters,
                                     .place_count = options.participants + 1};
  const shm::ByteRange backed{.begin = 0, .end = shape.backed_at_first()};
  return shm::Segment::create({.name = name, .mode = options.mode},
                              {.kind = shm::ObjectKind::semaphore_set,
                               .body_version = shm::semaphore_set_version,
                               .participants = options.participants,
                               .body_bytes = shape.body_bytes(),
                               .backed = {&backed, 1}},
                              [&](std::span<std::byte> body) {
                                SemaphoreTable::create(body, shape, options.undo, values);
                              });
}

}  // namespace

SemaphoreSet::SemaphoreSet(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
SemaphoreSet::SemaphoreSet(SemaphoreSet&&) noexcept = default;
auto SemaphoreSet::operator=(SemaphoreSet&&) noexcept -> SemaphoreSet& = default;
SemaphoreSet::~SemaphoreSet() = default;

auto SemaphoreSet::create(std::span<const std::uint16_t> values, const SemaphoreSetOptions& options)
    -> Result<SemaphoreSet> {
  return SemaphoreSet(PARLEY_TRY(State::of(PARLEY_TRY(make({}, values, options)))));
}

auto SemaphoreSet::create(std::string_view name, std::span<const std::uint16_t> values,
                          const SemaphoreSetOptions& options) -> Result<SemaphoreSet> {
  if (name.empty()) return failure(Error::invalid);
  auto state = PARLEY_TRY(State::of(PARLEY_TRY(make(name, values, options))));
  PARLEY_TRY(state->segment().publish(name));
  return SemaphoreSet(std::move(state));
}

auto SemaphoreSet::open(std::string_view name) -> Result<SemaphoreSet> {
  return SemaphoreSet(PARLEY_TRY(State::of(PARLEY_TRY(
      shm::Segment::open(name, shm::ObjectKind::semaphore_set, shm::semaphore_set_version)))));
}

auto SemaphoreSet::open_or_create(std::string_view name, std::span<const std::uint16_t> values,
                                  const SemaphoreSetOptions& options) -> Result<SemaphoreSet> {
  return shm::open_or_create([&] { return open(name); },
                             [&] { return create(name, values, options); });
}

auto SemaphoreSet::adopt(os::OwnedFd fd) -> Result<SemaphoreSet> {
  return SemaphoreSet(PARLEY_TRY(State::of(PARLEY_TRY(shm::Segment::adopt(
      std::move(fd), shm::ObjectKind::semaphore_set, shm::semaphore_set_version)))));
}

auto SemaphoreSet::unlink(std::string_view name) -> Result<void> {
  return shm::Segment::unlink(name);
}

auto SemaphoreSet::descriptor() const noexcept -> os::BorrowedFd {
  return state_->descriptor();
}

auto SemaphoreSet::close_descriptor() -> Result<void> {
  return state_->close_descriptor();
}

auto SemaphoreSet::count() const noexcept -> std::size_t {
  return state_->table().shape().count;
}

auto SemaphoreSet::has_undo() const noexcept -> bool {
  return state_->table().has_undo();
}

void SemaphoreSet::set_wait_strategy(WaitStrategy strategy) noexcept {
  state_->set_wait_strategy(strategy);
}

auto SemaphoreSet::operate(std::span<const SemaphoreOperation> operations, Deadline deadline)
    -> Result<void> {
  return state_->operate(operations, deadline);
}

auto SemaphoreSet::value(std::uint16_t index) -> Result<std::uint16_t> {
  if (index >= count()) return failure(Error::invalid);
  return state_->look(
      [&](const auto& table, TimeLimit&) -> Result<std::uint16_t> { return table.value(index); });
}

auto SemaphoreSet::values() -> Result<std::vector<std::uint16_t>> {
  std::vector<std::uint16_t> all(count());
  PARLEY_TRY(state_->look([&](const auto& table, TimeLimit&) -> Result<void> {
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i] = table.value(static_cast<std::uint16_t>(i));
    }
    return {};
  }));
  return all;
}

auto SemaphoreSet::set_value(std::uint16_t index, int value) -> Result<void> {
  if (index >= count()) return failure(Error::invalid);
  if (value < 0 || value > highest_value) return failure(Error::out_of_range);
  const auto checked = static_cast<std::uint16_t>(value);
  return state_->set(index, {&checked, 1});
}

auto SemaphoreSet::set_values(std::span<const std::uint16_t> values) -> Result<void> {
  if (values.size() != count()) return failure(Error::invalid);
  if (std::ranges::any_of(values, [](auto value) { return value > highest_value; })) {
    return failure(Error::out_of_range);
  }
  return state_->set(0, values);
}

auto SemaphoreSet::last_process(std::uint16_t index) -> Result<pid_t> {
  if (index >= count()) return failure(Error::invalid);
  return state_->look([&](const auto& table, TimeLimit&) -> Result<pid_t> {
    return static_cast<pid_t>(table.word(index).state.load_relaxed() >> 32U);
  });
}

auto SemaphoreSet::waiting_for_increase(std::uint16_t index) -> Result<std::size_t> {
  if (index >= count()) return failure(Error::invalid);
  return state_->look([&](const auto& table, TimeLimit& limit) -> Result<std::size_t> {
    return PARLEY_TRY(table.waiting(index, limit)).for_increase;
  });
}

auto SemaphoreSet::waiting_for_zero(std::uint16_t index) -> Result<std::size_t> {
  if (index >= count()) return failure(Error::invalid);
  return state_->look([&](const auto& table, TimeLimit& limit) -> Result<std::size_t> {
    return PARLEY_TRY(table.waiting(index, limit)).for_zero;
  });
}

auto SemaphoreSet::status() -> Result<SemaphoreSetStatus> {
  return state_->look([&](const auto& table, TimeLimit& limit) -> Result<SemaphoreSetStatus> {
    const auto waiting = PARLEY_TRY(table.waiting(0, limit));
    SemaphoreSetStatus status{.count = count(),
                              .participants = state_->participants(),
                              .waiting = waiting.all,
                              .last_operation = {},
                              .last_change = time_of(table.body().last_change)};
    if (table.body().last_operation.load_relaxed() != 0) {
      status.last_operation = time_of(table.body().last_operation);
    }
    return status;
  });
}

auto SemaphoreSet::remove() -> Result<void> {
  return state_->remove();
}

}  // namespace parley
