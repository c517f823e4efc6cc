// All words of an object, for a test that forges them to fit together; and how long calls may take.
#pragma once

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>

#include <parley/os/descriptor.hpp>

#include "os/futex.hpp"
#include "shm/layout/segment.hpp"

namespace parley::test {

class ForgedMemory {
 public:
  ForgedMemory(os::BorrowedFd fd, std::uint32_t place_count, std::size_t body_bytes)
      : place_count_(place_count), body_bytes_(body_bytes) {
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, size_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd.number(), 0));
    REQUIRE(memory_ != MAP_FAILED);
  }
  ForgedMemory(const ForgedMemory&) = delete;
  auto operator=(const ForgedMemory&) -> ForgedMemory& = delete;
  ~ForgedMemory() { munmap(memory_, size_bytes()); }

  [[nodiscard]] auto place_count() const -> std::uint32_t { return place_count_; }
  [[nodiscard]] auto body() const -> std::span<std::byte> {
    return {memory_ + shm::body_offset(place_count_), body_bytes_};
  }

  /// All participants but the first are dead.
  void kill_all_others() {
    auto* const places = reinterpret_cast<shm::Place*>(memory_ + shm::places_offset);
    for (std::uint32_t at = 2; at < place_count_; ++at) {
      places[at].life.store_relaxed(shm::dead_life);
    }
    auto& header = *reinterpret_cast<shm::SegmentHeader*>(memory_);
    header.places_used.store_relaxed(place_count_);
    header.arrivals.fetch_add_acq_rel(1);
    os::futex_wake(header.arrivals.futex_word(), 1000);
  }

 private:
  [[nodiscard]] auto size_bytes() const -> std::size_t {
    return shm::body_offset(place_count_) + body_bytes_;
  }

  std::uint32_t place_count_;
  std::size_t body_bytes_;
  std::byte* memory_ = nullptr;
};

/// Makes the call; it must take no longer than that, and what a busy machine may add.
template <class Call>
auto within(std::chrono::nanoseconds limit, const char* name, Call call) {
  constexpr std::chrono::seconds slack{1};
  const auto start = std::chrono::steady_clock::now();
  auto result = call();
  const auto took = std::chrono::steady_clock::now() - start;
  INFO(name);
  CHECK(took < limit + slack);
  std::printf(
      "%s: %lld ms\n", name,
      static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  return result;
}

}  // namespace parley::test
