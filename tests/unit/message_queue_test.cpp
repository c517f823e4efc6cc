#include <parley/message_queue.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <parley/inspect.hpp>

#include "support/peer.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::MessageQueue;
using parley::MessageQueueOptions;
using parley::Result;
using parley::Selection;
using namespace std::chrono_literals;

auto bytes_of(const std::string& text) -> std::span<const std::byte> {
  return std::as_bytes(std::span(text));
}

/// Sends at once.
auto send(MessageQueue& queue, const std::string& text, std::uint64_t tag = 0,
          std::uint16_t priority = 0) -> Result<void> {
  return queue.send(bytes_of(text), {.tag = tag, .priority = priority}, Deadline::now());
}

/// Receives at once: the text, or what went wrong.
auto receive(MessageQueue& queue, Selection selection = Selection::oldest(),
             std::size_t room = 100'000) -> Result<std::string> {
  std::vector<std::byte> into(room);
  const auto got = queue.receive(into, {.selection = selection}, Deadline::now());
  if (!got) return parley::failure(got.error());
  return std::string(reinterpret_cast<const char*>(into.data()), got->copied_bytes);
}

auto text_of(std::span<const std::byte> bytes) -> std::string {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("messages come in the order in which they were sent, whatever their length") {
  auto queue = MessageQueue::create().value();
  const std::vector<std::string> texts{"",
                                       "one",
                                       std::string(64, 'a'),
                                       std::string(65, 'b'),
                                       std::string(5000, 'c'),
                                       std::string(70'000, 'd')};
  for (const auto& text : texts) CHECK(send(queue, text));
  CHECK(queue.status()->messages == texts.size());
  for (const auto& text : texts) CHECK(receive(queue) == text);
  CHECK(receive(queue).error() == Error::would_block);
  CHECK(queue.status()->messages == 0);
  CHECK(queue.status()->bytes == 0);
}

TEST_CASE("what a message says of itself arrives with it") {
  auto queue = MessageQueue::create().value();
  REQUIRE(send(queue, "text", 7, 3));
  REQUIRE(send(queue, "text", 8));
  std::array<std::byte, 10> into{};
  const auto got = queue.receive(into, Deadline::now()).value();
  CHECK(got.size_bytes == 4);
  CHECK(got.copied_bytes == 4);
  CHECK(got.tag == 7);
  CHECK(got.priority == 3);
  CHECK(got.redeliveries == 0);
  CHECK_FALSE(got.dead_letter_of.has_value());
  CHECK(queue.receive(into, Deadline::now())->sequence == got.sequence + 1);
}

TEST_CASE("a receiver selects by tag, lowest tag, any but a tag, or priority") {
  auto queue = MessageQueue::create().value();
  for (const auto& [text, tag, priority] :
       {std::tuple{"a5", 5, 0}, {"b3", 3, 1}, {"c5", 5, 9}, {"d4", 4, 9}, {"e3", 3, 0}}) {
    REQUIRE(
        send(queue, text, static_cast<std::uint64_t>(tag), static_cast<std::uint16_t>(priority)));
  }
  CHECK(receive(queue, Selection::tag(9)).error() == Error::would_block);
  CHECK(receive(queue, Selection::up_to(2)).error() == Error::would_block);
  CHECK(receive(queue, Selection::highest()) == "c5");
  CHECK(receive(queue, Selection::up_to(4)) == "b3");
  CHECK(receive(queue, Selection::except(5)) == "d4");
  CHECK(receive(queue, Selection::highest()) == "a5");
  CHECK(receive(queue, Selection::except(3)).error() == Error::would_block);
  CHECK(receive(queue, Selection::tag(3)) == "e3");
}

TEST_CASE("a message that is too long for the receiver stays, unless it may be cut") {
  auto queue = MessageQueue::create().value();
  REQUIRE(send(queue, "long"));
  CHECK(receive(queue, Selection::oldest(), 3).error() == Error::too_big);
  CHECK(queue.status()->messages == 1);
  std::array<std::byte, 3> into{};
  const auto got = queue.receive(into, {.cut = true}, Deadline::now()).value();
  CHECK(got.size_bytes == 4);
  CHECK(got.copied_bytes == 3);
  CHECK(text_of(into) == "lon");
  CHECK(queue.status()->messages == 0);
}

TEST_CASE("a queue is bounded in messages, in bytes and in the length of a message") {
  auto queue = MessageQueue::create({.messages = 3, .bytes = 100, .message_bytes = 80}).value();
  CHECK(send(queue, std::string(81, 'x')).error() == Error::message_too_long);
  CHECK(send(queue, std::string(80, 'x')));
  CHECK(send(queue, std::string(21, 'x')).error() == Error::would_block);
  CHECK(send(queue, std::string(20, 'x')));
  CHECK(send(queue, ""));
  CHECK(send(queue, "").error() == Error::would_block);
  CHECK(receive(queue) == std::string(80, 'x'));
  CHECK(queue.limit({.bytes = 30, .messages = 3}));
  CHECK(send(queue, std::string(11, 'x')).error() == Error::would_block);
  CHECK(send(queue, std::string(10, 'x')));
  CHECK(queue.limit({.bytes = 101, .messages = 3}).error() == Error::invalid);
  CHECK(queue.limit({.bytes = 100, .messages = 4}).error() == Error::invalid);
  CHECK(queue.limit({.bytes = 100, .messages = 2}));
  CHECK(queue.status()->messages == 3);
  CHECK(receive(queue) == std::string(20, 'x'));
  CHECK(send(queue, "").error() == Error::would_block);
  CHECK(receive(queue).has_value());
  CHECK(send(queue, ""));
  CHECK(queue.status()->messages_at_most == 2);
}

TEST_CASE("a queue is made with options within their bounds only") {
  const auto made = [](const MessageQueueOptions& options) {
    const auto queue = MessageQueue::create(options);
    return queue ? Error{} : queue.error();
  };
  CHECK(made({.messages = 0}) == Error::invalid);
  CHECK(made({.messages = (1U << 24U) + 1}) == Error::invalid);
  CHECK(made({.bytes = 0}) == Error::invalid);
  CHECK(made({.bytes = 10, .message_bytes = 11}) == Error::invalid);
  CHECK(made({.bytes = 3ULL << 30U, .message_bytes = (1U << 30U) + 1}) == Error::invalid);
  CHECK(made({.bytes = (1ULL << 37U) + 1}) == Error::invalid);
  CHECK(made({.waiters = 0}) == Error::invalid);
  CHECK(made({.redeliveries = 0xffff}) == Error::invalid);
  CHECK(made({.messages = 1U << 24U, .bytes = 1ULL << 37U, .message_bytes = 1U << 30U}) == Error{});
  CHECK(made({.messages = 1, .bytes = 1, .message_bytes = 1}) == Error{});
}

TEST_CASE("looking takes nothing") {
  auto queue = MessageQueue::create().value();
  for (const auto* text : {"a", "b", "c"}) REQUIRE(send(queue, text, text[0] == 'b' ? 1 : 0));
  std::array<std::byte, 1> into{};
  const auto seen = [&](auto&& peeked) -> std::string {
    return peeked ? text_of(into) : parley::message(peeked.error());
  };
  CHECK(seen(queue.peek(into)) == "a");
  CHECK(seen(queue.peek(into, {.selection = Selection::tag(1)})) == "b");
  CHECK(seen(queue.peek_at(2, into)) == "c");
  CHECK(queue.peek_at(3, into).error() == Error::would_block);
  CHECK(queue.peek({}).error() == Error::too_big);
  CHECK(queue.peek({}, {.cut = true})->size_bytes == 1);
  CHECK(queue.status()->messages == 3);
}

TEST_CASE("what is taken is there for nobody else, until it is given back to its old place") {
  auto queue = MessageQueue::create().value();
  for (const auto* text : {"a", "b", "c", "d"}) REQUIRE(send(queue, text, 0, 1));
  {
    auto first = queue.take(Selection::oldest(), Deadline::now()).value();
    auto second = queue.take(Selection::highest(), Deadline::now()).value();
    CHECK(text_of(first.bytes()) == "a");
    CHECK(text_of(second.bytes()) == "b");
    CHECK(queue.status()->taken == 2);
    CHECK(queue.peek({}, {.cut = true})->sequence == second.about().sequence + 1);
    CHECK(second.give_back());
    CHECK(second.give_back().error() == Error::invalid);
    auto again = queue.take(Selection::tag(0), Deadline::now()).value();
    CHECK(text_of(again.bytes()) == "b");
    CHECK(again.about().redeliveries == 0);
    CHECK(first.acknowledge());
    CHECK(first.acknowledge().error() == Error::invalid);
    CHECK(first.bytes().empty());
  }
  CHECK(queue.status()->taken == 0);
  for (const auto* text : {"b", "c", "d"}) CHECK(receive(queue) == text);
  CHECK(receive(queue).error() == Error::would_block);
}

TEST_CASE("a message that is written in place is sent when it is published, or never") {
  auto queue = MessageQueue::create({.messages = 2, .bytes = 100'000}).value();
  auto room = queue.reserve(70'000, Deadline::now()).value();
  CHECK(reinterpret_cast<std::uintptr_t>(room.bytes().data()) % 64 == 0);
  CHECK(receive(queue).error() == Error::would_block);
  CHECK(queue.status()->reserved == 1);
  CHECK(send(queue, std::string(30'001, 'x')).error() == Error::would_block);
  std::ranges::fill(room.bytes(), std::byte{'y'});
  {
    const auto dropped = queue.reserve(30'000, Deadline::now()).value();
    CHECK(send(queue, "").error() == Error::would_block);
  }
  CHECK(send(queue, "before", 5));
  CHECK(room.publish({.tag = 6}));
  CHECK(room.publish({.tag = 6}).error() == Error::invalid);
  CHECK(receive(queue, Selection::tag(6)) == std::string(70'000, 'y'));
  CHECK(receive(queue) == "before");
  CHECK(queue.status()->reserved == 0);
}

TEST_CASE("a message outlives the handle through which it was taken") {
  auto queue = MessageQueue::create().value();
  auto other = MessageQueue::adopt(parley::os::duplicate(queue.descriptor()).value()).value();
  REQUIRE(send(queue, "text"));
  {
    auto taken = other.take(Selection::oldest(), Deadline::now()).value();
    auto gone = std::move(other);
    {
      const auto dead = std::move(gone);
    }
    CHECK(text_of(taken.bytes()) == "text");
    CHECK(queue.status()->participants == 2);
  }
  CHECK(queue.status()->participants == 1);
  CHECK(receive(queue) == "text");
}

TEST_CASE("the status tells what is there and who did what") {
  auto queue = MessageQueue::create({.messages = 10, .bytes = 1000}).value();
  auto status = queue.status().value();
  CHECK(status.participants == 1);
  CHECK(status.messages_at_most == 10);
  CHECK(status.bytes_at_most == 1000);
  CHECK(status.last_sender == 0);
  CHECK_FALSE(status.last_send.has_value());
  REQUIRE(send(queue, "abc", 4));
  REQUIRE(send(queue, "de", 2));
  REQUIRE(send(queue, "f", 4));
  const auto depths = queue.depths().value();
  REQUIRE(depths.size() == 2);
  CHECK(depths[0].tag == 2);
  CHECK(depths[0].messages == 1);
  CHECK(depths[1].tag == 4);
  CHECK(depths[1].messages == 2);
  CHECK(receive(queue) == "abc");
  status = queue.status().value();
  CHECK(status.messages == 2);
  CHECK(status.bytes == 3);
  CHECK(status.last_sender == getpid());
  CHECK(status.last_receiver == getpid());
  CHECK(status.last_send.has_value());
  CHECK(status.last_receive.has_value());
}

TEST_CASE("a removed queue is removed for all calls") {
  auto queue = MessageQueue::create().value();
  REQUIRE(send(queue, "a"));
  auto taken = queue.take(Selection::oldest(), Deadline::now()).value();
  auto room = queue.reserve(3, Deadline::now()).value();
  CHECK(queue.remove());
  CHECK(queue.remove().error() == Error::removed);
  CHECK(send(queue, "b").error() == Error::removed);
  CHECK(receive(queue).error() == Error::removed);
  CHECK(taken.acknowledge().error() == Error::removed);
  CHECK(room.publish().error() == Error::removed);
  CHECK(queue.status().error() == Error::removed);
}

TEST_CASE("memory is taken as it is used and given back when the queue has drained") {
  auto queue = MessageQueue::create({.messages = 1U << 20U, .bytes = 1ULL << 30U}).value();
  const auto at_first = queue.status()->memory_bytes;
  CHECK(at_first < 200'000);
  const std::string text(10'000, 'x');
  for (int i = 0; i < 2000; ++i) REQUIRE(send(queue, text, static_cast<std::uint64_t>(i)));
  CHECK(queue.status()->memory_bytes > 20'000'000);
  for (int i = 0; i < 2000; ++i) REQUIRE(receive(queue) == text);
  CHECK(queue.status()->memory_bytes < 15'000'000);
  for (int i = 0; i < 2000; ++i) REQUIRE(send(queue, text, static_cast<std::uint64_t>(i)));
  for (int i = 0; i < 2000; ++i)
    REQUIRE(receive(queue, Selection::tag(1999U - unsigned(i))) == text);
  CHECK(queue.status()->messages == 0);
}

TEST_CASE("a queue does what a plain list of messages does, whatever is done with it") {
  struct Model {
    std::string text;
    std::uint64_t tag;
    std::uint16_t priority;
    std::uint64_t sequence;
  };
  std::mt19937 random(20251);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  auto queue =
      MessageQueue::create({.messages = 60, .bytes = 200'000, .message_bytes = 20'000}).value();
  std::vector<Model> model;
  std::vector<std::pair<parley::TakenMessage, Model>> taken;
  std::size_t bytes = 0;
  std::uint64_t sequence = 0;
  const auto pick = [&](Selection selection) {
    auto best = model.end();
    for (auto it = model.begin(); it != model.end(); ++it) {
      switch (selection.kind()) {
        case Selection::Kind::oldest:
          if (best == model.end()) best = it;
          break;
        case Selection::Kind::tag:
          if (best == model.end() && it->tag == selection.number()) best = it;
          break;
        case Selection::Kind::up_to:
          if (it->tag <= selection.number() && (best == model.end() || it->tag < best->tag))
            best = it;
          break;
        case Selection::Kind::except:
          if (best == model.end() && it->tag != selection.number()) best = it;
          break;
        case Selection::Kind::highest:
          if (best == model.end() || it->priority > best->priority) best = it;
          break;
      }
    }
    return best;
  };
  const auto any_selection = [&]() -> Selection {
    const std::uint64_t tag = below(4) == 0 ? random() : below(8);
    switch (below(5)) {
      case 0:
        return Selection::oldest();
      case 1:
        return Selection::tag(tag);
      case 2:
        return Selection::up_to(tag);
      case 3:
        return Selection::except(tag);
      default:
        return Selection::highest();
    }
  };
  for (int step = 0; step < 40'000; ++step) {
    CAPTURE(step);
    const auto action = below(10);
    if (action < 4) {
      const std::string text(below(3) == 0 ? below(20'000) : below(200),
                             static_cast<char>('a' + step % 26));
      const std::uint64_t tag = below(4) == 0 ? random() : below(8);
      const auto priority = static_cast<std::uint16_t>(below(3) == 0 ? below(5) : 0);
      const bool fits = model.size() + taken.size() < 60 && bytes + text.size() <= 200'000;
      const auto sent = send(queue, text, tag, priority);
      REQUIRE(sent.has_value() == fits);
      if (!fits) continue;
      model.push_back({text, tag, priority, ++sequence});
      bytes += text.size();
    } else if (action < 7) {
      const auto selection = any_selection();
      const auto expected = pick(selection);
      const auto got = receive(queue, selection);
      REQUIRE(got.has_value() == (expected != model.end()));
      if (!got) continue;
      REQUIRE(*got == expected->text);
      bytes -= got->size();
      model.erase(expected);
    } else if (action < 8) {
      const auto selection = any_selection();
      const auto expected = pick(selection);
      auto got = queue.take(selection, Deadline::now());
      REQUIRE(got.has_value() == (expected != model.end()));
      if (!got) continue;
      REQUIRE(text_of(got->bytes()) == expected->text);
      taken.emplace_back(std::move(*got), *expected);
      model.erase(expected);
    } else if (!taken.empty()) {
      const auto which = taken.begin() + below(static_cast<std::uint32_t>(taken.size()));
      if (below(2) == 0) {
        REQUIRE(which->first.acknowledge());
        bytes -= which->second.text.size();
      } else {
        REQUIRE(which->first.give_back());
        const auto at = std::ranges::find_if(
            model, [&](const auto& each) { return each.sequence > which->second.sequence; });
        model.insert(at, which->second);
      }
      taken.erase(which);
    }
    if (step % 64 != 0) continue;
    const auto status = queue.status().value();
    REQUIRE(status.messages == model.size() + taken.size());
    REQUIRE(status.bytes == bytes);
    REQUIRE(status.taken == taken.size());
    std::map<std::uint64_t, std::size_t> depths;
    for (const auto& each : model) ++depths[each.tag];
    const auto told = queue.depths().value();
    REQUIRE(told.size() == depths.size());
    for (const auto& each : told) REQUIRE(depths[each.tag] == each.messages);
  }
}

TEST_CASE("a new queue takes little memory, whatever it has room for") {
  auto queue =
      MessageQueue::create({.participants = 511, .waiters = 1000, .messages = 16384}).value();
  CHECK(parley::inspect(queue.descriptor())->memory_bytes <= 64U << 10U);
}

TEST_CASE("calls that wait get more records than had memory at first, and no more than there are") {
  constexpr int waiters = 110;
  auto queue = MessageQueue::create({.waiters = waiters}).value();
  const auto at_first = queue.status()->memory_bytes;
  std::vector<std::thread> threads;
  threads.reserve(waiters);
  for (int i = 0; i < waiters; ++i) {
    threads.emplace_back([&] {
      std::array<std::byte, 1> into{};
      CHECK(queue.receive(into, {}, Deadline::after(60s)));
    });
  }
  while (queue.status()->receivers_waiting != waiters) std::this_thread::yield();
  CHECK(queue.status()->memory_bytes > at_first);
  CHECK(parley::inspect(queue.descriptor())->participants[0].waiting == waiters);
  std::array<std::byte, 1> into{};
  CHECK(queue.receive(into, {}, Deadline::after(1ms)).error() == Error::no_space);
  for (int i = 0; i < waiters; ++i) CHECK(send(queue, "x"));
  for (auto& thread : threads) thread.join();
  CHECK(queue.status()->messages == 0);
}
