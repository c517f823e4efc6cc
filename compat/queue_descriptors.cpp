#include "queue_descriptors.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <new>

#include "handles.hpp"

namespace parley::compat {
namespace {

/// Which of those that this process was: another after each fork(2).
constinit std::atomic<std::uint32_t> process_count{0};

constinit QueueDescriptors descriptors;

void after_fork_in_child() {
  process_count.fetch_add(1, std::memory_order_relaxed);
  descriptors.forget_calls();
}

}  // namespace

auto queue_descriptors() noexcept -> QueueDescriptors& {
  return descriptors;
}

auto SharedFlags::create() -> Result<SharedFlags> {
  void* const page = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return failure(last_error());
  return SharedFlags(new (page) std::atomic<int>(0));
}

SharedFlags::~SharedFlags() {
  if (word_ != nullptr) munmap(word_, sizeof *word_);
}

QueueDescriptors::Use::Use(Slot& slot) noexcept
    : slot_(&slot), process_(process_count.load(std::memory_order_relaxed)) {}

void QueueDescriptors::Use::leave() noexcept {
  // A child that a signal's handler forked during this call has counted it out already.
  if (process_ != process_count.load(std::memory_order_relaxed)) return;
  const auto word = slot_->word.fetch_sub(1, std::memory_order_acq_rel) - 1;
  if (word == is_whole) end_if_unused(*slot_);
}

/// What was closed goes with its last call.
void QueueDescriptors::end_if_unused(Slot& slot) noexcept {
  std::uint64_t closed = is_whole;
  if (!slot.word.compare_exchange_strong(closed, is_ending, std::memory_order_acq_rel)) return;
  slot.open.reset();
  slot.word.fetch_and(~is_ending, std::memory_order_release);
}

auto QueueDescriptors::slot_of(mqd_t number) noexcept -> Slot* {
  const auto index = static_cast<std::uint32_t>(number);
  return index < slots_.size() ? slots_[index].load(std::memory_order_acquire) : nullptr;
}

auto QueueDescriptors::use(mqd_t number) noexcept -> std::optional<Use> {
  Slot* const slot = slot_of(number);
  if (slot == nullptr) return std::nullopt;
  const auto word = slot->word.fetch_add(1, std::memory_order_acquire);
  Use use(*slot);
  if ((word & is_open) == 0) return std::nullopt;
  return use;
}

auto QueueDescriptors::use_checked(mqd_t number) noexcept -> std::optional<Use> {
  auto used = use(number);
  if (used && numbers_of(number) != (*used)->file) return std::nullopt;
  return used;
}

auto QueueDescriptors::add(OpenQueue&& open) -> Result<mqd_t> {
  [[maybe_unused]] static const int told = pthread_atfork(nullptr, nullptr, after_fork_in_child);
  const mqd_t number = open.queue.descriptor().number();
  const auto index = static_cast<std::uint32_t>(number);
  if (index >= slots_.size()) return failure(static_cast<Error>(EMFILE));
  Slot* slot = slots_[index].load(std::memory_order_relaxed);
  // The one before may be going at this moment; or the program closed it while we were opening.
  const auto busy = is_open | is_whole | is_ending;
  if (slot == nullptr || (slot->word.load(std::memory_order_acquire) & busy) != 0) {
    slot = new Slot;
    slots_[index].store(slot, std::memory_order_release);
  }
  slot->open.emplace(std::move(open));
  slot->word.fetch_or(is_open | is_whole, std::memory_order_release);
  if (number >= end_) end_ = number + 1;
  return number;
}

auto QueueDescriptors::close(mqd_t number) -> bool {
  Slot* const slot = slot_of(number);
  if (slot == nullptr || (slot->word.load(std::memory_order_acquire) & is_open) == 0) return false;
  const bool was_ours = numbers_of(number) == slot->open->file;
  slot->word.fetch_and(~is_open, std::memory_order_acq_rel);
  end_if_unused(*slot);
  return was_ours;
}

void QueueDescriptors::sweep() {
  for (mqd_t number = 0; number < end_; ++number) {
    Slot* const slot = slot_of(number);
    if (slot == nullptr) continue;
    const auto word = slot->word.load(std::memory_order_acquire);
    if ((word & is_open) != 0 && numbers_of(number) != slot->open->file) close(number);
    if (word == is_whole) end_if_unused(*slot);
  }
}

void QueueDescriptors::forget_calls() noexcept {
  for (mqd_t number = 0; number < end_; ++number) {
    Slot* const slot = slot_of(number);
    if (slot != nullptr) slot->word.fetch_and(is_open | is_whole, std::memory_order_relaxed);
  }
}

}  // namespace parley::compat
