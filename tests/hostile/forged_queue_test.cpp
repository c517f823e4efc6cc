// Queues whose words were all forged to fit together, at the worst: how long they hold a call.
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <parley/message_queue.hpp>

#include "hostile/forged_memory.hpp"
#include "objects/message_table.hpp"

using namespace std::chrono_literals;
using namespace parley;
using parley::test::ForgedMemory;
using parley::test::within;

namespace {

constexpr std::uint32_t waiters_at_most = 0xffff;

auto options(std::uint32_t messages, std::uint32_t waiters) -> MessageQueueOptions {
  return {.participants = 4,
          .waiters = waiters,
          .messages = messages,
          .bytes = std::uint64_t{1} << 30U,
          .message_bytes = shm::inline_bytes};
}

/// A queue and all of its words.
class ForgedQueue : public ForgedMemory {
 public:
  explicit ForgedQueue(const MessageQueueOptions& chosen)
      : ForgedQueue(MessageQueue::create(chosen).value(),
                    {.messages = chosen.messages,
                     .message_bytes = chosen.message_bytes,
                     .bytes = chosen.bytes,
                     .waiters = chosen.waiters,
                     .place_count = chosen.participants + 1}) {}

  [[nodiscard]] auto table() const -> MessageTable {
    return MessageTable::of(body(), place_count()).value();
  }
  [[nodiscard]] auto head() const -> shm::MessageQueueBody& { return table().body(); }
  [[nodiscard]] auto slot(std::uint32_t index) const -> shm::MessageSlot& {
    return part<shm::MessageSlot>(shape_.slots(), index);
  }
  [[nodiscard]] auto group(std::uint32_t index) const -> shm::MessageGroup& {
    return part<shm::MessageGroup>(shape_.groups(), index);
  }
  [[nodiscard]] auto holding(std::uint32_t place) const -> shm::Word& {
    return part<shm::Word>(shape_.holdings(), place);
  }

  MessageQueue queue;

 private:
  ForgedQueue(MessageQueue made, const shm::MessageQueueShape& shape)
      : ForgedMemory(made.descriptor(), shape.place_count, shape.body_bytes()),
        queue(std::move(made)),
        shape_(shape) {}

  template <class T>
  [[nodiscard]] auto part(std::size_t offset, std::uint32_t index) const -> T& {
    return *reinterpret_cast<T*>(body().data() + offset + index * sizeof(T));
  }

  shm::MessageQueueShape shape_;
};

/// Tags without messages: a tree of 25 nodes, both of whose branches are the next one, and which
/// so leads to one group 2^25 times.
void plant_tree(ForgedQueue& forged) {
  constexpr std::uint32_t depth = 25;
  constexpr std::uint32_t group_reference = 2 * (depth + 1);
  for (std::uint32_t at = 0; at < depth; ++at) {
    const auto next = at + 1 == depth ? group_reference : 2 * (at + 1 + 1) + 1;
    forged.group(at).bit.store_relaxed(depth - 1 - at);
    forged.group(at).children.store_relaxed(shm::halves(next, next));
  }
  forged.head().groups.store_relaxed(shm::halves(0, depth + 1));
  forged.head().tags.store_relaxed(2 * 1 + 1);
}

/// One message that can be had, and behind it one that is held and follows itself.
void plant_ring(ForgedQueue& forged, std::uint64_t tag) {
  auto& first = forged.slot(0);
  auto& held = forged.slot(1);
  const shm::MessageState queued{.kind = shm::message_queued, .place = 0, .sequence = 1};
  const shm::MessageState taken{.kind = shm::message_taken, .place = 2, .sequence = 2};
  first.state.store_relaxed(queued.pack());
  held.state.store_relaxed(taken.pack());
  for (auto link : {&shm::MessageSlot::order, &shm::MessageSlot::by_tag}) {
    (first.*link).store_relaxed(shm::halves(0, 2));
    (held.*link).store_relaxed(shm::halves(1, 2));
  }
  first.tag.store_relaxed(tag);
  // A group that is in no tree.
  constexpr std::uint32_t group = 30;
  first.where.store_relaxed(shm::halves(0, group + 1));
  forged.group(group).list.store_relaxed(shm::halves(1, 2));
  forged.head().order.store_relaxed(shm::halves(1, 2));
  forged.head().load.store_relaxed(2);
  forged.head().slots.store_relaxed(shm::halves(0, 2));
}

/// So many calls wait; each has to look through all tags.
void fill_line(ForgedQueue& forged, std::uint32_t count) {
  forged.head().backed_waiters.store_relaxed(waiters_at_most);
  const auto table = forged.table();
  for (std::uint32_t i = 0; i < count; ++i) {
    auto& record = table.line().record(i);
    record.next.store_relaxed(i + 1 == count ? 0 : i + 2);
    record.place.store_relaxed(2);
    record.request.store_relaxed(shm::request_take | std::uint32_t{shm::select_up_to} << 8U);
    table.line().words(record)[0].store_relaxed(1);
    record.state.store_relaxed(shm::waiter_waits);
  }
  forged.head().line.last.store_relaxed(count);
  forged.head().line.first.store_relaxed(1);
}

auto send(MessageQueue& queue, std::uint64_t tag, Deadline deadline) -> Result<void> {
  const std::array<std::byte, 8> text{};
  return queue.send(text, {.tag = tag}, deadline);
}

auto receive(MessageQueue& queue, Selection selection, Deadline deadline) -> Result<Received> {
  std::array<std::byte, shm::inline_bytes> into{};
  return queue.receive(into, {.selection = selection}, deadline);
}

}  // namespace

TEST_CASE("the most tags that can be forged hold no receiver past its deadline") {
  ForgedQueue forged(options(shm::messages_at_most, 4));
  plant_tree(forged);
  plant_ring(forged, 7);
  auto& queue = forged.queue;
  CHECK(within(5ms, "up to", [&] {
          return receive(queue, Selection::up_to(1), Deadline::after(5ms));
        }).error() == Error::timed_out);
  CHECK(within(5ms, "except", [&] {
          return receive(queue, Selection::except(7), Deadline::after(5ms));
        }).error() == Error::timed_out);
  CHECK(within(1s, "up to, at once", [&] {
          return receive(queue, Selection::up_to(1), Deadline::now());
        }).error() == Error::busy);
  CHECK(within(1s, "depths", [&] { return queue.depths(); }).error() == Error::busy);
}

TEST_CASE("the longest list that can be forged holds no call past its deadline") {
  ForgedQueue forged(options(shm::messages_at_most, 4));
  plant_ring(forged, 7);
  auto& queue = forged.queue;
  CHECK(within(5ms, "oldest", [&] {
          return receive(queue, Selection::oldest(), Deadline::after(5ms));
        }).error() == Error::timed_out);
}

TEST_CASE("the longest line of a queue that can be forged holds no call past its deadline") {
  ForgedQueue forged(options(shm::messages_at_most, waiters_at_most));
  plant_tree(forged);
  fill_line(forged, waiters_at_most - 1);
  auto& queue = forged.queue;
  CHECK(within(5ms, "send", [&] { return send(queue, 1U << 30U, Deadline::after(5ms)); }));
  CHECK(within(5ms, "receive", [&] {
          return receive(queue, Selection::tag(5), Deadline::after(5ms));
        }).error() == Error::timed_out);
  CHECK(within(1s, "send without a deadline",
               [&] { return send(queue, 1U << 30U, Deadline::never()); }));
  CHECK(within(1s, "remove", [&] { return queue.remove(); }));
}

TEST_CASE("all that a dead participant held is free after some calls, none of them late") {
  constexpr std::uint32_t held = 1U << 21U;
  ForgedQueue forged(options(held, 4));
  const shm::MessageState reserved{.kind = shm::message_reserved, .place = 2, .sequence = 0};
  for (std::uint32_t i = 0; i < held; ++i) {
    forged.slot(i).state.store_relaxed(reserved.pack());
    forged.slot(i).held.store_relaxed(shm::halves(i, i + 1 == held ? 0 : i + 2));
  }
  forged.holding(2).store_relaxed(1);
  forged.head().load.store_relaxed(held);
  forged.head().slots.store_relaxed(shm::halves(0, held));
  forged.kill_all_others();
  auto& queue = forged.queue;
  CHECK(within(5ms, "send", [&] { return send(queue, 1, Deadline::after(5ms)); }).error() ==
        Error::timed_out);
  auto status = within(1s, "status", [&] { return queue.status(); });
  while (!status && status.error() == Error::busy) {
    status = within(1s, "status", [&] { return queue.status(); });
  }
  CHECK(status.value().messages == 0);
  CHECK(status.value().participants == 1);
}
