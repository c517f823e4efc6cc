#include "hostile/objects.hpp"

#include <sched.h>

#include <cstring>
#include <thread>

#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>

#include "shm/layout/segment.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

/// Small, so that each word matters.
auto set_options(bool undo) -> SemaphoreSetOptions {
  SemaphoreSetOptions options;
  options.participants = 3;
  options.operations = 2;
  options.waiters = 2;
  options.undo = undo;
  return options;
}

template <class Word>
void put(Image& image, std::size_t offset, Word value) {
  std::memcpy(image.data() + offset, &value, sizeof value);
}

}  // namespace

auto with_a_dead_holder(Image image) -> Image {
  constexpr std::uint32_t place = 1;
  put(image, shm::places_offset + place * sizeof(shm::Place), shm::dead_life);
  put(image, shm::body_offset(4), place + 1);
  return image;
}

namespace {

/// Nobody but the maker; somebody who waits; a dead participant with something to undo.
auto set_images(std::size_t count, bool undo) -> std::vector<Image> {
  const std::vector<std::uint16_t> values(count, 1);
  auto set = SemaphoreSet::create(values, set_options(undo)).value();
  std::vector<Image> images{image_of(set.descriptor())};
  static_cast<void>(set.operate({.index = 0, .delta = -1, .undo = undo}, Deadline::now()));
  std::thread waiter([&] {
    auto own = SemaphoreSet::adopt(os::duplicate(set.descriptor()).value()).value();
    static_cast<void>(own.operate({.index = 0, .delta = -1, .undo = undo}, Deadline::never()));
  });
  while (set.status().value().waiting == 0) sched_yield();
  images.push_back(image_of(set.descriptor()));
  images.push_back(with_a_dead_holder(images.back()));
  static_cast<void>(set.remove());
  waiter.join();
  return images;
}

void exercise_set(os::OwnedFd fd, Victim& victim) {
  const auto briefly = [] { return Deadline::after(50us); };
  auto adopted = victim.adopt([&] { return SemaphoreSet::adopt(std::move(fd)); });
  if (!adopted) return;
  auto& set = *adopted;
  const bool undo = set.has_undo();
  const auto last = static_cast<std::uint16_t>(set.count() - 1);
  victim.is_attached();
  const auto operate = [&](const char* name, std::vector<SemaphoreOperation> operations) {
    const auto deadline = briefly();
    victim.call(name, deadline, [&] { return set.operate(operations, deadline); });
    if (!victim.is_patient()) return;
    victim.call(name, [&] { return set.operate(operations, Deadline::now()); });
  };
  operate("post", {{.index = 0, .delta = 1}});
  operate("wait", {{.index = 0, .delta = -1, .undo = undo}});
  operate("wait for two", {{.index = 0, .delta = -2, .undo = undo}});
  operate("wait for zero", {{.index = last, .delta = 0}});
  operate("two operations",
          {{.index = 0, .delta = 1, .undo = undo}, {.index = last, .delta = -1, .no_wait = true}});
  set.set_wait_strategy(WaitStrategy::block);
  operate("blocking wait for many", {{.index = 0, .delta = -30000}});
  set.set_wait_strategy(WaitStrategy::spin);
  operate("spinning wait for many", {{.index = last, .delta = -30000, .undo = undo}});
  if (victim.is_patient()) {
    victim.call("value", [&] { return set.value(last); });
    victim.call("values", [&] { return set.values(); });
    victim.call("last_process", [&] { return set.last_process(0); });
    victim.call("waiting_for_increase", [&] { return set.waiting_for_increase(0); });
    victim.call("waiting_for_zero", [&] { return set.waiting_for_zero(last); });
    victim.call("status", [&] { return set.status(); });
    victim.call("set_value", [&] { return set.set_value(0, 2); });
    victim.call("set_values",
                [&] { return set.set_values(std::vector<std::uint16_t>(set.count(), 1)); });
    victim.call("remove", [&] { return set.remove(); });
    victim.call("post after removal",
                [&] { return set.operate({.index = 0, .delta = 1}, Deadline::now()); });
  }
  victim.call("destroy", [&]() -> Result<void> {
    const auto gone = std::move(set);
    return {};
  });
}

auto mutex_images() -> std::vector<Image> {
  auto mutex = Mutex::create({.participants = 3}).value();
  std::vector<Image> images{image_of(mutex.descriptor())};
  static_cast<void>(mutex.acquire(Deadline::now()));
  images.push_back(image_of(mutex.descriptor()));
  images.push_back(with_a_dead_holder(images.back()));
  return images;
}

void exercise_mutex(os::OwnedFd fd, Victim& victim) {
  auto adopted = victim.adopt([&] { return Mutex::adopt(std::move(fd)); });
  if (!adopted) return;
  auto& mutex = *adopted;
  victim.is_attached();
  for (const auto strategy : {WaitStrategy::adaptive, WaitStrategy::block, WaitStrategy::spin}) {
    mutex.set_wait_strategy(strategy);
    const auto deadline = Deadline::after(50us);
    victim.call("acquire", deadline, [&] { return mutex.acquire(deadline); });
    static_cast<void>(mutex.peer_died());
    victim.call("release", deadline, [&] { return mutex.release(); });
    victim.call("try", [&] { return mutex.acquire(Deadline::now()); });
    victim.call("release", deadline, [&] { return mutex.release(); });
  }
  victim.call("destroy", [&]() -> Result<void> {
    const auto gone = std::move(mutex);
    return {};
  });
}

}  // namespace

auto set_with_undo() -> Target {
  return {"set with undo", [] { return set_images(2, true); }, exercise_set};
}

auto set_of_one_without_undo() -> Target {
  return {"set of one without undo", [] { return set_images(1, false); }, exercise_set};
}

auto mutex() -> Target {
  return {"mutex", mutex_images, exercise_mutex};
}

auto every_object() -> std::vector<Target> {
  return {set_with_undo(), set_of_one_without_undo(), mutex(), stream_with_held_ends(),
          message_queue()};
}

}  // namespace parley::test
