// A MessageQueue with its participants, and what must hold of it when nobody is inside.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <parley/message_queue.hpp>

#include "crash/crash.hpp"
#include "crash/segment_view.hpp"
#include "objects/message_table.hpp"

namespace parley::test {

/// How long a call may take that others' deaths must not hold up.
inline auto soon() -> Deadline {
  return Deadline::after(std::chrono::seconds(20));
}

/// What tests send: a text that tells its length, so that a torn one shows.
inline auto text_of(char letter, std::size_t size) -> std::string {
  return std::string(size, letter);
}

class QueueWorld {
 public:
  explicit QueueWorld(const MessageQueueOptions& options = {})
      : queue(make(options)),
        view(queue.descriptor()),
        table_(MessageTable::of(view.body(), view.place_count()).value()) {}

  static constexpr std::uint64_t dead_letters = 99;

  /// Takes part: what a child of fork does at its first use.
  void attach() { REQUIRE(queue.status()); }

  void send(const std::string& text, std::uint64_t tag = 0, std::uint16_t priority = 0) {
    REQUIRE(queue.send(std::as_bytes(std::span(text)), {.tag = tag, .priority = priority}, soon()));
  }

  auto receive(Selection selection = Selection::oldest(), Deadline deadline = soon())
      -> Result<std::string> {
    const auto got = queue.receive(into_, {.selection = selection}, deadline);
    if (!got) return failure(got.error());
    return std::string(reinterpret_cast<const char*>(into_.data()), got->copied_bytes);
  }

  auto take(Selection selection = Selection::oldest()) -> TakenMessage {
    auto taken = queue.take(selection, soon());
    REQUIRE(taken.has_value());
    return std::move(*taken);
  }

  /// All that is queued, oldest first, and how often each came back.
  auto drain() -> std::vector<std::string> {
    std::vector<std::string> all;
    while (auto text = receive(Selection::oldest(), Deadline::now())) all.push_back(*text);
    return all;
  }

  /// Calls that wait and are not decided.
  [[nodiscard]] auto raw_waiting() const -> std::size_t {
    std::size_t count = 0;
    for (std::uint32_t i = 0; i < table_.shape().waiters; ++i) {
      if (shm::is_undecided(table_.line().record(i).state.load_acquire())) ++count;
    }
    return count;
  }
  [[nodiscard]] auto raw_messages() const -> std::size_t { return table_.messages(); }
  /// Whether all the dead are buried and nobody is inside.
  [[nodiscard]] auto is_quiet() const -> bool {
    return view.dead() == 0 && table_.body().latch.holder.load_acquire() == 0;
  }
  [[nodiscard]] auto is_removed() const -> bool { return table_.is_removed(); }

  /// What must hold when nobody waits or holds anything and all but `living` have been buried.
  void check_at_rest(std::size_t living = 1) {
    const auto status = queue.status();  // whoever uses it next buries the dead
    const auto& body = table_.body();
    CHECK(body.latch.holder.load_acquire() == 0);
    CHECK(body.journal.count.load_relaxed() == 0);
    CHECK(body.line.first.load_relaxed() == 0);
    CHECK(body.line.last.load_relaxed() == 0);
    for (std::uint32_t i = 0; i < table_.shape().waiters; ++i) {
      CHECK(table_.line().record(i).state.load_relaxed() == shm::waiter_free);
    }
    CHECK(view.taken() == living);
    CHECK(view.dead() == 0);
    if (is_removed()) {
      CHECK(status.error() == Error::removed);
      return;
    }
    CHECK(status->taken == 0);
    CHECK(status->reserved == 0);
    CHECK_FALSE(table_.is_trimming());
    check_lists();
    check_arena();
  }

  MessageQueue queue;
  SegmentView view;

 private:
  using Link = shm::Word shm::MessageSlot::*;

  static auto make(MessageQueueOptions options) -> MessageQueue {
    options.participants = 5;
    options.waiters = 4;
    auto queue = MessageQueue::create(options).value();
    queue.set_wait_strategy(WaitStrategy::block);
    return queue;
  }

  [[nodiscard]] auto slot(std::size_t index) const -> const shm::MessageSlot& {
    return std::launder(reinterpret_cast<const shm::MessageSlot*>(view.body().data() +
                                                                  table_.shape().slots()))[index];
  }
  [[nodiscard]] auto group(std::size_t index) const -> const shm::MessageGroup& {
    return std::launder(reinterpret_cast<const shm::MessageGroup*>(view.body().data() +
                                                                   table_.shape().groups()))[index];
  }

  /// The slots of a list, in which all are queued.
  auto walk(const shm::Word& list, Link link) const -> std::vector<std::uint32_t> {
    std::vector<std::uint32_t> all;
    const auto word = list.load_relaxed();
    std::uint64_t sequence = 0;
    std::uint32_t before = 0;
    for (auto at = shm::low_half(word); at != 0;) {
      const auto& message = slot(at - 1);
      const auto state = shm::MessageState::unpack(message.state.load_relaxed());
      CHECK(state.kind == shm::message_queued);
      CHECK(state.sequence > sequence);
      sequence = state.sequence;
      CHECK(shm::low_half((message.*link).load_relaxed()) == before);
      all.push_back(at - 1);
      REQUIRE(all.size() <= table_.shape().messages);
      before = at;
      at = shm::high_half((message.*link).load_relaxed());
    }
    CHECK(shm::high_half(word) == before);
    return all;
  }

  void walk_tree(std::uint32_t reference, std::uint64_t below, std::set<std::uint32_t>& groups,
                 std::set<std::uint32_t>& nodes) const {
    REQUIRE(reference >= 2);
    const auto index = reference / 2 - 1;
    if (reference % 2 == 0) {
      CHECK(groups.insert(index).second);
      return;
    }
    CHECK(nodes.insert(index).second);
    const auto bit = group(index).bit.load_relaxed();
    CHECK(bit < below);
    const auto children = group(index).children.load_relaxed();
    walk_tree(shm::low_half(children), bit, groups, nodes);
    walk_tree(shm::high_half(children), bit, groups, nodes);
  }

  auto groups_of(const shm::Word& tree) const -> std::set<std::uint32_t> {
    std::set<std::uint32_t> groups;
    std::set<std::uint32_t> nodes;
    const auto root = shm::low_half(tree.load_relaxed());
    if (root != 0) walk_tree(root, shm::no_node, groups, nodes);
    for (const auto node : nodes) CHECK(groups.contains(node));
    return groups;
  }

  /// Every message is in its lists, every other slot is free, and the sums are right.
  void check_lists() const {
    const auto& body = table_.body();
    const auto order = walk(body.order, &shm::MessageSlot::order);
    CHECK(order.size() == table_.messages());
    std::uint64_t bytes = 0;
    std::size_t ranked = 0;
    for (const auto at : order) {
      const auto shape = shm::MessageShape::unpack(slot(at).shape.load_relaxed());
      bytes += shape.size;
      if (shape.priority != 0) ++ranked;
    }
    CHECK(bytes == table_.bytes());
    std::size_t tagged = 0;
    std::size_t empty = 0;
    const auto tags = groups_of(body.tags);
    for (const auto each : tags) {
      const auto members = walk(group(each).list, &shm::MessageSlot::by_tag);
      for (const auto at : members) {
        CHECK(slot(at).tag.load_relaxed() == group(each).key.load_relaxed());
        CHECK(shm::high_half(slot(at).where.load_relaxed()) == each + 1);
      }
      tagged += members.size();
      if (members.empty()) ++empty;
    }
    CHECK(tagged == order.size());
    CHECK(empty <= 2);
    const auto priorities = groups_of(body.priorities);
    for (const auto each : priorities) {
      ranked -= walk(group(each).list, &shm::MessageSlot::by_priority).size();
    }
    CHECK(ranked == 0);
    // What was used is either in use or free.
    const auto free_of = [&](const shm::Word& word, auto&& next) {
      std::size_t free = 0;
      for (auto at = shm::low_half(word.load_relaxed()); at != 0; at = next(at - 1)) {
        REQUIRE(++free <= shm::high_half(word.load_relaxed()));
      }
      return free;
    };
    CHECK(
        free_of(body.slots, [&](auto at) { return shm::low_half(slot(at).held.load_relaxed()); }) +
            order.size() ==
        shm::high_half(body.slots.load_relaxed()));
    CHECK(free_of(body.groups,
                  [&](auto at) { return shm::low_half(group(at).free.load_relaxed()); }) +
              tags.size() + priorities.size() ==
          shm::high_half(body.groups.load_relaxed()));
    for (std::uint32_t at = 0; at < view.place_count(); ++at) {
      const auto* const holdings = std::launder(
          reinterpret_cast<const shm::Word*>(view.body().data() + table_.shape().holdings()));
      CHECK(holdings[at].load_relaxed() == 0);
    }
  }

  /// The blocks follow each other; each is some message's, or free and listed as such.
  void check_arena() const {
    const auto& body = table_.body();
    const auto word = body.arena.load_relaxed();
    const auto* const blocks = view.body().data() + table_.shape().arena();
    const auto& classes = *std::launder(reinterpret_cast<const shm::ArenaClasses*>(
        view.body().data() + table_.shape().arena_classes()));
    std::size_t free = 0;
    std::size_t used = 0;
    std::uint32_t before = 0;
    std::uint32_t last = 0;
    bool before_is_free = false;
    for (std::uint32_t at = 0; at < shm::low_half(word);) {
      const auto& block = *std::launder(
          reinterpret_cast<const shm::ArenaBlock*>(blocks + std::size_t{at} * shm::arena_unit));
      const auto extent = block.extent.load_relaxed();
      CHECK(shm::high_half(extent) == before);
      const auto owner = block.owner.load_relaxed();
      CHECK_FALSE((before_is_free && owner == 0));
      before_is_free = owner == 0;
      if (owner == 0) {
        ++free;
      } else {
        ++used;
        CHECK(shm::low_half(slot(owner - 1).where.load_relaxed()) == at + 1);
      }
      before = shm::low_half(extent);
      REQUIRE(before >= 2);
      last = at;
      at += before;
      CHECK(at <= shm::low_half(word));
    }
    CHECK(shm::high_half(word) == last);
    CHECK_FALSE(before_is_free);
    std::size_t listed = 0;
    for (std::uint32_t row = 0; row < shm::arena_rows; ++row) {
      std::uint64_t columns = 0;
      for (std::uint32_t column = 0; column < shm::arena_columns; ++column) {
        for (auto at = classes.first[row * shm::arena_columns + column].load_relaxed(); at != 0;) {
          columns |= std::uint64_t{1} << column;
          REQUIRE(++listed <= free);
          const auto& block = *std::launder(
              reinterpret_cast<const shm::ArenaBlock*>(blocks + (at - 1) * shm::arena_unit));
          CHECK(block.owner.load_relaxed() == 0);
          at = shm::high_half(block.links.load_relaxed());
        }
      }
      CHECK(classes.columns[row].load_relaxed() == columns);
      CHECK((body.arena_sizes.load_relaxed() >> row & 1U) == (columns != 0 ? 1U : 0U));
    }
    CHECK(listed == free);
    std::size_t owners = 0;
    for (const auto at : walk(body.order, &shm::MessageSlot::order)) {
      if (shm::low_half(slot(at).where.load_relaxed()) != 0) ++owners;
    }
    CHECK(owners == used);
  }

  MessageTable table_;
  // Made once: to clear it would be most of the instructions of a victim that receives.
  std::vector<std::byte> into_ = std::vector<std::byte>(300'000);
};

}  // namespace parley::test
