// Which groups of messages there are, in the order of their keys: a tree over the bits of the keys.
//
// A walk down looks at 64 nodes at most, since each decides by a lower bit than the one above it. A
// group that comes or goes changes a few words. Its inner nodes lie in the groups themselves, one
// in each.
//
// Invariants  I1 a node's bit is lower than that of the node above it, and all keys below it have
//                the same higher bits.
//             I2 where the node in a group is used, it lies on the way from the root to that group.
// Crash       All of it changes in the transaction that the caller's draft becomes.
//
// After D. J. Bernstein's crit-bit trees, and W. Tarreau's "elastic binary trees" for I2.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <parley/error.hpp>

#include "shm/draft.hpp"
#include "shm/layout/message_queue.hpp"

namespace parley {

class MessageIndex {
 public:
  /// The root is the low half of the word.
  MessageIndex(shm::Word& root, std::span<shm::MessageGroup> groups) noexcept
      : root_(root), groups_(groups) {}

  /// The group of that key, if there is one.
  [[nodiscard]] auto find(std::uint64_t key) const -> Result<std::optional<std::uint32_t>>;

  /// Adds a group that is in no tree and that nobody else sees. Its key must not be there.
  auto insert(shm::Draft& draft, std::uint32_t group, std::uint64_t key) -> Result<void>;

  auto remove(shm::Draft& draft, std::uint32_t group) -> Result<void>;

  class Walk;

 private:
  friend class Walk;
  struct Edge;

  [[nodiscard]] auto exists(std::uint32_t reference) const noexcept -> bool {
    return reference >= 2 && reference / 2 <= groups_.size();
  }
  [[nodiscard]] auto group(std::uint32_t reference) const noexcept -> shm::MessageGroup& {
    return groups_[reference / 2 - 1];
  }
  auto nearest(std::uint64_t key) const -> Result<std::uint32_t>;

  shm::Word& root_;
  std::span<shm::MessageGroup> groups_;
};

/// All groups, lowest key first, in an index that does not change meanwhile.
class MessageIndex::Walk {
 public:
  explicit Walk(const MessageIndex& index) noexcept;

  /// The next one; none behind the last. `corrupt` for what is no tree.
  auto next() -> Result<std::optional<std::uint32_t>>;

 private:
  MessageIndex index_;
  // What is still to be walked: references, and below which bit they must decide. One for each
  // node on the way to where we are.
  std::array<std::uint32_t, shm::no_node + 1> left_;
  std::array<std::uint64_t, shm::no_node + 1> below_;
  std::size_t count_ = 0;
  std::size_t seen_ = 0;
};

}  // namespace parley
