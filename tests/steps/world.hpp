// The objects and the searches of the explored scenarios.
#pragma once

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <parley/object.hpp>
#include <parley/os/descriptor.hpp>

#include "shm/layout/segment.hpp"
#include "steps/explorer.hpp"

namespace parley::test {

/// An object with a handle for each of three threads, in places 1 to 3, and one for the check.
template <class Object>
class World {
 public:
  explicit World(Object first) {
    handles_.reserve(4);
    handles_.push_back(std::move(first));
    while (handles_.size() < 4) {
      auto copy = parley::os::duplicate(handles_[0].descriptor()).value();
      handles_.push_back(Object::adopt(std::move(copy)).value());
    }
    for (auto& handle : handles_) handle.set_wait_strategy(parley::WaitStrategy::block);
    places_ = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
                   handles_[0].descriptor().number(), 0);
    REQUIRE(places_ != MAP_FAILED);
  }
  World(const World&) = delete;
  auto operator=(const World&) -> World& = delete;
  ~World() { munmap(places_, 4096); }

  auto operator[](std::size_t thread) -> Object& { return handles_[thread]; }
  auto judge() -> Object& { return handles_[3]; }

  /// The life word of a thread's participant.
  [[nodiscard]] auto life(std::size_t thread) const -> std::uint32_t* {
    auto* const bytes = static_cast<std::byte*>(places_) + parley::shm::places_offset;
    return reinterpret_cast<std::uint32_t*>(bytes + (thread + 1) * sizeof(parley::shm::Place));
  }

 private:
  std::vector<Object> handles_;
  void* places_;
};

inline auto search(int preemptions) -> Search {
  const bool full = std::getenv("PARLEY_FULL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  return {.preemptions = preemptions + (full ? 1 : 0),
          .runs = full ? 1'000'000U : 2'000U,
          .random_runs = full ? 100'000U : 2'000U};
}

inline void check_sound(const Found& found) {
  CHECK_FALSE(found.stuck.has_value());
  CHECK(found.runs > 10);
}

}  // namespace parley::test
