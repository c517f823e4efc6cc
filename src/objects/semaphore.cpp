#include <utility>

#include <parley/semaphore_set.hpp>

namespace parley {
namespace {

auto as_set_options(const SemaphoreOptions& options) -> SemaphoreSetOptions {
  return {.mode = options.mode,
          .participants = options.participants,
          .operations = 1,
          .waiters = options.waiters,
          .undo = options.undo};
}

}  // namespace

auto Semaphore::from(Result<SemaphoreSet> set) -> Result<Semaphore> {
  auto whole = PARLEY_TRY(std::move(set));
  if (whole.count() != 1) return failure(Error::wrong_kind);
  const bool undo = whole.has_undo();
  return Semaphore(std::move(whole), undo);
}

auto Semaphore::create(std::uint16_t value, const SemaphoreOptions& options) -> Result<Semaphore> {
  return from(SemaphoreSet::create({&value, 1}, as_set_options(options)));
}

auto Semaphore::create(std::string_view name, std::uint16_t value, const SemaphoreOptions& options)
    -> Result<Semaphore> {
  return from(SemaphoreSet::create(name, {&value, 1}, as_set_options(options)));
}

auto Semaphore::open(std::string_view name) -> Result<Semaphore> {
  return from(SemaphoreSet::open(name));
}

auto Semaphore::open_or_create(std::string_view name, std::uint16_t value,
                               const SemaphoreOptions& options) -> Result<Semaphore> {
  return from(SemaphoreSet::open_or_create(name, {&value, 1}, as_set_options(options)));
}

auto Semaphore::adopt(os::OwnedFd fd) -> Result<Semaphore> {
  return from(SemaphoreSet::adopt(std::move(fd)));
}

auto Semaphore::wait(Deadline deadline) -> Result<void> {
  return set_.operate({.index = 0, .delta = -1, .undo = undo_}, deadline);
}

auto Semaphore::post() -> Result<void> {
  return set_.operate({.index = 0, .delta = 1, .undo = undo_}, Deadline::now());
}

}  // namespace parley
