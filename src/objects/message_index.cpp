#include "objects/message_index.hpp"

#include <bit>

namespace parley {

using shm::Draft;
using shm::halves;
using shm::high_half;
using shm::low_half;

namespace {

constexpr auto is_node(std::uint32_t reference) -> bool {
  return (reference & 1U) != 0;
}
constexpr auto group_reference(std::uint32_t group) -> std::uint32_t {
  return 2 * (group + 1);
}
constexpr auto node_reference(std::uint32_t group) -> std::uint32_t {
  return 2 * (group + 1) + 1;
}
constexpr auto decides(std::uint64_t key, std::uint64_t bit) -> bool {
  return (key >> bit & 1U) != 0;
}

}  // namespace

/// A half of a word that refers to a node or a group.
struct MessageIndex::Edge {
  shm::Word* word;
  bool high;

  [[nodiscard]] auto get(const Draft& draft) const -> std::uint32_t {
    const auto both = draft.get(*word);
    return high ? high_half(both) : low_half(both);
  }
  void set(Draft& draft, std::uint32_t reference) const {
    const auto both = draft.get(*word);
    draft.set(*word, high ? halves(low_half(both), reference) : halves(reference, high_half(both)));
  }
};

/// The group to which the key's bits lead, in a tree that is not empty.
auto MessageIndex::nearest(std::uint64_t key) const -> Result<std::uint32_t> {
  auto reference = low_half(root_.load_relaxed());
  for (std::uint64_t below = shm::no_node; is_node(reference);) {
    if (!exists(reference)) return failure(Error::corrupt);
    const auto& node = group(reference);
    const auto bit = node.bit.load_relaxed();
    if (bit >= below) return failure(Error::corrupt);
    below = bit;
    const auto children = node.children.load_relaxed();
    reference = decides(key, bit) ? high_half(children) : low_half(children);
  }
  if (!exists(reference)) return failure(Error::corrupt);
  return reference / 2 - 1;
}

auto MessageIndex::find(std::uint64_t key) const -> Result<std::optional<std::uint32_t>> {
  if (low_half(root_.load_relaxed()) == 0) return std::nullopt;
  const auto found = PARLEY_TRY(nearest(key));
  if (groups_[found].key.load_relaxed() != key) return std::nullopt;
  return found;
}

auto MessageIndex::insert(Draft& draft, std::uint32_t added, std::uint64_t key) -> Result<void> {
  auto& own = groups_[added];
  // Nobody's before it is referred to.
  own.key.store_release(key);
  own.list.store_release(0);
  Edge edge{.word = &root_, .high = false};
  if (edge.get(draft) == 0) {
    own.bit.store_release(shm::no_node);
    edge.set(draft, group_reference(added));
    return {};
  }
  const auto differing = groups_[PARLEY_TRY(nearest(key))].key.load_relaxed() ^ key;
  if (differing == 0) return failure(Error::corrupt);
  const auto decisive = static_cast<std::uint64_t>(std::bit_width(differing)) - 1;
  std::uint64_t below = shm::no_node;
  for (auto reference = edge.get(draft); is_node(reference); reference = edge.get(draft)) {
    if (!exists(reference)) return failure(Error::corrupt);
    auto& node = group(reference);
    const auto bit = node.bit.load_relaxed();
    if (bit >= below) return failure(Error::corrupt);
    below = bit;
    if (bit < decisive) break;
    edge = {.word = &node.children, .high = decides(key, bit)};
  }
  const auto other = edge.get(draft);
  const auto reference = group_reference(added);
  own.bit.store_release(decisive);
  own.children.store_release(decides(key, decisive) ? halves(other, reference)
                                                    : halves(reference, other));
  edge.set(draft, node_reference(added));
  return {};
}

auto MessageIndex::remove(Draft& draft, std::uint32_t removed) -> Result<void> {
  const auto key = groups_[removed].key.load_relaxed();
  Edge edge{.word = &root_, .high = false};
  std::optional<Edge> to_parent;
  std::optional<Edge> to_own;
  std::uint32_t parent = 0;
  auto reference = edge.get(draft);
  for (std::uint64_t below = shm::no_node; is_node(reference); reference = edge.get(draft)) {
    if (!exists(reference)) return failure(Error::corrupt);
    auto& node = group(reference);
    const auto bit = draft.get(node.bit);
    if (bit >= below) return failure(Error::corrupt);
    below = bit;
    if (reference == node_reference(removed)) to_own = edge;
    to_parent = edge;
    parent = reference;  // once read and checked
    edge = {.word = &node.children, .high = decides(key, bit)};
  }
  if (reference != group_reference(removed)) return failure(Error::corrupt);
  if (!to_parent) {
    edge.set(draft, 0);
    return {};
  }
  const Edge sibling{.word = edge.word, .high = !edge.high};
  to_parent->set(draft, sibling.get(draft));
  if (parent == node_reference(removed)) return {};
  auto& freed = group(parent);
  if (!to_own) {
    draft.set(freed.bit, shm::no_node);
    return {};
  }
  // The node in the group that goes moves to where there is room now.
  draft.set(freed.children, draft.get(groups_[removed].children));
  draft.set(freed.bit, draft.get(groups_[removed].bit));
  to_own->set(draft, parent);
  return {};
}

MessageIndex::Walk::Walk(const MessageIndex& index) noexcept : index_(index) {
  const auto root = low_half(index_.root_.load_relaxed());
  if (root == 0) return;
  left_[0] = root;
  below_[0] = shm::no_node;
  count_ = 1;
}

auto MessageIndex::Walk::next() -> Result<std::optional<std::uint32_t>> {
  if (count_ == 0) return std::nullopt;
  --count_;
  auto reference = left_[count_];
  auto below = below_[count_];
  while (is_node(reference)) {
    if (!index_.exists(reference)) return failure(Error::corrupt);
    const auto& node = index_.group(reference);
    const auto bit = node.bit.load_relaxed();
    if (bit >= below) return failure(Error::corrupt);
    below = bit;
    const auto children = node.children.load_relaxed();
    left_[count_] = high_half(children);
    below_[count_] = bit;
    ++count_;
    reference = low_half(children);
  }
  if (!index_.exists(reference) || ++seen_ > index_.groups_.size()) {
    return failure(Error::corrupt);
  }
  return reference / 2 - 1;
}

}  // namespace parley
