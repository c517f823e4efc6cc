// Where the payloads of longer messages lie: blocks of one contiguous arena, found and freed in a
// bounded number of steps.
//
// Invariants  I1 the blocks from 0 to the end follow each other without a gap, and each knows the
//                size of the one before it. No two free ones are neighbours, the last is not free.
//             I2 a free block is in the list of its size's class, and a class's bits are set if and
//                only if its list is not empty.
// Crash       All of it changes in the transaction that the caller's draft becomes; a block's
//             payload, and what is beyond the end, is nobody's until then.
//
// After M. Masmano, I. Ripoll, A. Crespo, J. Real, "TLSF: a New Dynamic Memory Allocator for
// Real-Time Systems" (2004).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <parley/error.hpp>

#include "shm/draft.hpp"
#include "shm/layout/message_queue.hpp"

namespace parley {

class MessageArena {
 public:
  MessageArena(std::span<std::byte> units, shm::MessageQueueBody& body,
               shm::ArenaClasses& classes) noexcept
      : units_(units), body_(body), classes_(classes) {}

  /// A block for that many bytes, for a slot: its index. `would_block` where there is no room;
  /// `no_buffer_space` where there is, but without memory: `wanted` says up to which unit.
  auto allocate(shm::Draft& draft, std::uint32_t size_bytes, std::uint32_t owner,
                std::uint64_t& wanted) -> Result<std::uint32_t>;

  /// `corrupt` where the block is not that slot's.
  auto free(shm::Draft& draft, std::uint32_t block, std::uint32_t owner) -> Result<void>;

  /// The payload of a block that is that slot's. `corrupt` where it is not, or is shorter.
  [[nodiscard]] auto payload(std::uint32_t block, std::uint32_t owner,
                             std::uint32_t size_bytes) const -> Result<std::span<std::byte>>;

  /// Where the payload of a block that was just allocated is to be.
  [[nodiscard]] auto room(std::uint32_t block, std::uint32_t size_bytes) const noexcept
      -> std::span<std::byte> {
    return units_.subspan((std::size_t{block} + 1) * shm::arena_unit, size_bytes);
  }

 private:
  struct Extent {
    std::uint32_t size;
    std::uint32_t before;
  };
  struct Class {
    std::uint32_t row;
    std::uint32_t column;
  };

  [[nodiscard]] auto block(std::uint32_t at) const noexcept -> shm::ArenaBlock&;
  auto extent(const shm::Draft& draft, std::uint32_t at) const -> Result<Extent>;
  [[nodiscard]] static auto class_of(std::uint32_t size) -> Class;
  [[nodiscard]] auto first(Class of) const noexcept -> shm::Word&;
  auto find(const shm::Draft& draft, std::uint32_t size) const -> Result<std::uint32_t>;
  auto split(shm::Draft& draft, std::uint32_t at, std::uint32_t size) -> Result<void>;
  auto insert(shm::Draft& draft, std::uint32_t at, std::uint32_t size) -> Result<void>;
  auto remove(shm::Draft& draft, std::uint32_t at, std::uint32_t size) -> Result<void>;

  std::span<std::byte> units_;
  shm::MessageQueueBody& body_;
  shm::ArenaClasses& classes_;
};

}  // namespace parley
