// Messages through shared memory of any kind, guarded by semaphores of any kind.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tour/mechanism.hpp"

namespace parley::cli {

/// Shared memory of one kind.
class Area {
 public:
  Area() = default;
  Area(const Area&) = delete;
  auto operator=(const Area&) -> Area& = delete;
  virtual ~Area() = default;

  virtual auto make(std::size_t size_bytes, Leftovers& leftovers) -> Result<void> = 0;

  /// All of it, in this process; an attachment that was made before goes.
  virtual auto attach() -> Result<std::span<std::byte>> = 0;
};

/// Four counting semaphores of one kind.
class Gate {
 public:
  static constexpr std::size_t count = 4;

  Gate() = default;
  Gate(const Gate&) = delete;
  auto operator=(const Gate&) -> Gate& = delete;
  virtual ~Gate() = default;

  /// `place` is for those that lie in the shared memory: 64 bytes for each.
  virtual auto make(std::span<std::byte> place, const std::array<std::uint16_t, count>& values,
                    Leftovers& leftovers) -> Result<void> = 0;
  virtual auto join(std::span<std::byte> place) -> Result<void> = 0;

  virtual auto wait(std::uint16_t index) -> Result<void> = 0;
  virtual auto post(std::uint16_t index) -> Result<void> = 0;
};

auto sysv_area() -> std::unique_ptr<Area>;
auto posix_area() -> std::unique_ptr<Area>;
auto memfd_area() -> std::unique_ptr<Area>;
auto sysv_gate() -> std::unique_ptr<Gate>;
auto posix_gate() -> std::unique_ptr<Gate>;
auto parley_gate() -> std::unique_ptr<Gate>;

auto guarded_memory(std::unique_ptr<Area> area, std::unique_ptr<Gate> gate)
    -> std::unique_ptr<Mechanism>;

}  // namespace parley::cli
