// A segment as it lies in memory, for the invariants: looking takes no place, no latch, buries
// nobody.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>

#include <doctest/doctest.h>
#include <parley/os/descriptor.hpp>

#include "shm/layout/segment.hpp"

namespace parley::test {

class SegmentView {
 public:
  explicit SegmentView(os::BorrowedFd fd) {
    struct stat status{};
    REQUIRE(fstat(fd.number(), &status) == 0);
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.number(), 0);
    REQUIRE(memory != MAP_FAILED);
    bytes_ = {static_cast<std::byte*>(memory), size};
  }
  SegmentView(const SegmentView&) = delete;
  auto operator=(const SegmentView&) -> SegmentView& = delete;
  ~SegmentView() { ::munmap(bytes_.data(), bytes_.size()); }

  [[nodiscard]] auto header() const -> shm::SegmentHeader& {
    return *std::launder(reinterpret_cast<shm::SegmentHeader*>(bytes_.data()));
  }
  [[nodiscard]] auto place_count() const -> std::uint32_t {
    return header().place_count.load_relaxed();
  }
  [[nodiscard]] auto place(std::uint32_t at) const -> shm::Place& {
    return std::launder(reinterpret_cast<shm::Place*>(bytes_.data() + shm::places_offset))[at];
  }
  [[nodiscard]] auto body() const -> std::span<std::byte> {
    return bytes_.subspan(header().body_offset.load_relaxed());
  }

  /// Places that are taken: by the living, and by the dead that nobody has buried.
  [[nodiscard]] auto taken() const -> std::size_t { return count(false); }
  [[nodiscard]] auto dead() const -> std::size_t { return count(true); }

  /// How many participants were buried. Who dies while freeing a place may have counted it already.
  [[nodiscard]] auto buried() const -> std::size_t {
    std::size_t sum = 0;
    for (std::uint32_t at = 0; at < place_count(); ++at) {
      sum += place(at).generation.load_relaxed();
    }
    return sum;
  }

 private:
  [[nodiscard]] auto count(bool only_dead) const -> std::size_t {
    std::size_t count = 0;
    for (std::uint32_t at = 0; at < place_count(); ++at) {
      const auto life = place(at).life.load_acquire();
      if (life != 0 && (!only_dead || shm::is_dead(life))) ++count;
    }
    return count;
  }

  std::span<std::byte> bytes_;
};

}  // namespace parley::test
