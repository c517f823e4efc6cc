// A message queue as a target of the harness.
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include <parley/message_queue.hpp>

#include "hostile/objects.hpp"
#include "shm/layout/message_queue.hpp"
#include "shm/layout/segment.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t long_bytes = 300;

auto options() -> MessageQueueOptions {
  return {.participants = 3,
          .waiters = 2,
          .messages = 6,
          .bytes = 8 * long_bytes,
          .message_bytes = 3 * long_bytes,
          .redeliveries = 0,
          .dead_letter_tag = 9};
}

auto shape() -> shm::MessageQueueShape {
  const auto chosen = options();
  return {.messages = chosen.messages,
          .message_bytes = chosen.message_bytes,
          .bytes = chosen.bytes,
          .waiters = chosen.waiters,
          .place_count = chosen.participants + 1};
}

void send(MessageQueue& queue, std::size_t size, const MessageOptions& label) {
  const std::vector<std::byte> text(size);
  static_cast<void>(queue.send(text, label, Deadline::now()));
}

template <class Word>
void put(Image& image, std::size_t offset, Word value) {
  std::memcpy(image.data() + offset, &value, sizeof value);
}

/// The place of the second participant.
constexpr std::uint32_t second = 2;

auto with_a_dead(std::uint32_t place, bool holds_latch, Image image) -> Image {
  put(image, shm::places_offset + place * sizeof(shm::Place), shm::dead_life);
  if (holds_latch) put(image, shm::body_offset(4), place + 1);
  return image;
}

/// Messages of several tags with free blocks among them; somebody who holds and has reserved some,
/// and waits; the same one dead; and dead with the latch.
auto images() -> std::vector<Image> {
  auto queue = MessageQueue::create(options()).value();
  std::vector<Image> all{image_of(queue.descriptor())};
  send(queue, long_bytes, {.tag = 1, .priority = 1});
  send(queue, long_bytes, {.tag = 2, .priority = 2});
  send(queue, 2 * long_bytes, {.tag = 1});
  send(queue, 10, {.tag = 3, .priority = 1});
  static_cast<void>(
      queue.receive({}, {.selection = Selection::tag(2), .cut = true}, Deadline::now()));
  std::thread other([&] {
    auto own = MessageQueue::adopt(os::duplicate(queue.descriptor()).value()).value();
    const auto taken = own.take(Selection::tag(1), Deadline::now()).value();
    const auto room = own.reserve(long_bytes, Deadline::now()).value();
    static_cast<void>(own.take(Selection::tag(7), Deadline::never()));
  });
  while (queue.status().value().receivers_waiting == 0) sched_yield();
  all.push_back(image_of(queue.descriptor()));
  all.push_back(with_a_dead(second, false, all.back()));
  all.push_back(with_a_dead(second, true, all.back()));
  static_cast<void>(queue.remove());
  other.join();
  return all;
}

void exercise_waiting(MessageQueue& queue, Victim& victim) {
  std::array<std::byte, 2 * long_bytes> into{};
  for (const auto strategy : {WaitStrategy::block, WaitStrategy::spin}) {
    queue.set_wait_strategy(strategy);
    const auto deadline = Deadline::after(50us);
    victim.call("receive what never comes", deadline,
                [&] { return queue.receive(into, {.selection = Selection::tag(77)}, deadline); });
    const auto later = Deadline::after(50us);
    victim.call("send what never fits", later,
                [&] { return queue.send(std::span(into).first(long_bytes), {.tag = 5}, later); });
  }
}

void exercise_looks(MessageQueue& queue, Victim& victim) {
  std::array<std::byte, 3 * long_bytes> into{};
  victim.call("status", [&] { return queue.status(); });
  victim.call("depths", [&] { return queue.depths(); });
  victim.call("peek", [&] { return queue.peek(into, {.selection = Selection::highest()}); });
  victim.call("peek_at", [&] { return queue.peek_at(2, into); });
  victim.call("limit", [&] { return queue.limit({.bytes = 4 * long_bytes, .messages = 6}); });
}

void exercise_queue(os::OwnedFd fd, Victim& victim) {
  auto adopted = victim.adopt([&] { return MessageQueue::adopt(std::move(fd)); });
  if (!adopted) return;
  auto& queue = *adopted;
  victim.is_attached();
  std::array<std::byte, 3 * long_bytes> into{};
  const auto briefly = [] { return Deadline::after(50us); };
  // A victim that is not patient is asked about calls that have a deadline only.
  const auto soon = [&] { return victim.is_patient() ? Deadline::now() : briefly(); };
  const auto sends = [&](std::size_t size, const MessageOptions& label) {
    const auto deadline = soon();
    victim.call("send", deadline,
                [&] { return queue.send(std::span(into).first(size), label, deadline); });
  };
  const auto receives = [&](Selection selection) {
    const auto deadline = soon();
    victim.call("receive", deadline,
                [&] { return queue.receive(into, {.selection = selection}, deadline); });
  };
  if (victim.is_patient()) exercise_looks(queue, victim);
  sends(long_bytes, {.tag = 4, .priority = 3});
  sends(20, {.tag = 1});
  {
    const auto deadline = soon();
    std::optional<TakenMessage> taken;
    victim.call("take", deadline, [&]() -> Result<void> {
      taken = PARLEY_TRY(queue.take(Selection::highest(), deadline));
      return {};
    });
    // All of it may be read.
    if (taken)
      std::memcpy(into.data(), taken->bytes().data(), std::min(taken->bytes().size(), into.size()));
    const auto later = soon();
    std::optional<ReservedMessage> room;
    victim.call("reserve", later, [&]() -> Result<void> {
      room = PARLEY_TRY(queue.reserve(long_bytes, later));
      return {};
    });
    if (room) std::ranges::fill(room->bytes(), std::byte{1});
    if (victim.is_patient()) {
      if (room) victim.call("publish", [&] { return room->publish({.tag = 6, .priority = 3}); });
      if (taken) victim.call("acknowledge", [&] { return taken->acknowledge(); });
    }
    victim.call("give back", [&]() -> Result<void> {
      taken.reset();
      room.reset();
      return {};
    });
  }
  receives(Selection::up_to(3));
  receives(Selection::except(1));
  exercise_waiting(queue, victim);
  receives(Selection::highest());
  receives(Selection::oldest());
  if (victim.is_patient()) {
    victim.call("remove", [&] { return queue.remove(); });
    victim.call("status after removal", [&] { return queue.status(); });
  }
  victim.call("destroy", [&]() -> Result<void> {
    const auto gone = std::move(queue);
    return {};
  });
}

/// What so small a queue uses: not most of the journal and of the arena's classes, nor the
/// payloads.
auto parts() -> std::vector<std::pair<std::size_t, std::size_t>> {
  constexpr std::size_t journal_entries = 6;
  constexpr std::size_t columns = 14;
  const auto queue = shape();
  const auto classes = queue.arena_classes();
  const auto first = classes + offsetof(shm::ArenaClasses, first);
  std::vector<std::pair<std::size_t, std::size_t>> all{
      {0, sizeof(shm::MessageQueueBody)},
      {queue.journal(), queue.journal() + journal_entries * sizeof(shm::JournalEntry)},
      {classes, classes + sizeof(shm::Word)},
      {first, first + columns * sizeof(shm::Word)},
      {queue.holdings(), queue.waiter_records() + queue.waiters * queue.waiter_bytes()}};
  for (std::size_t at = 0; at < 5; ++at) {
    const auto slot = queue.slots() + at * sizeof(shm::MessageSlot);
    all.emplace_back(slot, slot + offsetof(shm::MessageSlot, payload));
    const auto group = queue.groups() + at * sizeof(shm::MessageGroup);
    all.emplace_back(group, group + offsetof(shm::MessageGroup, unused));
  }
  // Blocks of a header and the messages above.
  for (const std::size_t unit : {0U, 6U, 12U}) {
    const auto block = queue.arena() + unit * shm::arena_unit;
    all.emplace_back(block, block + offsetof(shm::ArenaBlock, unused));
  }
  return all;
}

}  // namespace

auto message_queue() -> Target {
  return {.name = "message queue", .make = images, .exercise = exercise_queue, .parts = parts()};
}

auto message_queue_of(std::size_t image) -> Target {
  return {.name = "message queue",
          .make = [image] { return std::vector<Image>{images().at(image)}; },
          .exercise = exercise_queue,
          .parts = parts()};
}

}  // namespace parley::test
