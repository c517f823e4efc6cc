#include <parley/message_queue.hpp>

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "support/peer.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::MessageQueue;
using parley::Result;
using parley::Selection;
using parley::test::Peer;
using namespace std::chrono_literals;

auto send(MessageQueue& queue, const std::string& text, std::uint64_t tag = 0,
          Deadline deadline = Deadline::now()) -> Result<void> {
  return queue.send(std::as_bytes(std::span(text)), {.tag = tag}, deadline);
}

auto receive(MessageQueue& queue, Selection selection, Deadline deadline = Deadline::now())
    -> Result<std::string> {
  std::vector<std::byte> into(1U << 20U);
  const auto got = queue.receive(into, {.selection = selection}, deadline);
  if (!got) return parley::failure(got.error());
  return std::string(reinterpret_cast<const char*>(into.data()), got->copied_bytes);
}

auto text_of(std::span<const std::byte> bytes) -> std::string {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void await_receivers(MessageQueue& queue, std::size_t count) {
  while (queue.status()->receivers_waiting != count) usleep(100);
}

void await_senders(MessageQueue& queue, std::size_t count) {
  while (queue.status()->senders_waiting != count) usleep(100);
}

void kill_now(const Peer& peer) {
  kill(peer.pid(), SIGKILL);
}

}  // namespace

TEST_CASE("who waits for a tag is woken by a message of that tag, and by no other") {
  auto queue = MessageQueue::create().value();
  Peer receiver([&] { CHECK(receive(queue, Selection::tag(7), Deadline::never()) == "seventh"); });
  await_receivers(queue, 1);
  REQUIRE(send(queue, "other", 6));
  CHECK(queue.status()->receivers_waiting == 1);
  REQUIRE(send(queue, "seventh", 7));
  CHECK(receiver.wait() == 0);
  CHECK(receive(queue, Selection::oldest()) == "other");
}

TEST_CASE("those who wait for messages get them in the order in which they came") {
  auto queue = MessageQueue::create().value();
  Peer first([&] { CHECK(receive(queue, Selection::oldest(), Deadline::never()) == "1"); });
  await_receivers(queue, 1);
  Peer second([&] { CHECK(receive(queue, Selection::except(9), Deadline::never()) == "2"); });
  await_receivers(queue, 2);
  Peer third([&] { CHECK(receive(queue, Selection::highest(), Deadline::never()) == "3"); });
  await_receivers(queue, 3);
  for (const auto* text : {"1", "2", "3"}) REQUIRE(send(queue, text));
  for (auto* peer : {&first, &second, &third}) CHECK(peer->wait() == 0);
}

TEST_CASE("a sender waits for room, and one that fits is not held up by one that does not") {
  auto queue = MessageQueue::create({.messages = 10, .bytes = 200'000}).value();
  REQUIRE(send(queue, std::string(100'000, 'a')));
  REQUIRE(send(queue, std::string(100'000, 'b')));
  Peer large([&] { CHECK(send(queue, std::string(150'000, 'l'), 1, Deadline::never())); });
  await_senders(queue, 1);
  Peer small([&] { CHECK(send(queue, std::string(10'000, 's'), 2, Deadline::never())); });
  await_senders(queue, 2);
  CHECK(receive(queue, Selection::oldest()) == std::string(100'000, 'a'));
  CHECK(small.wait() == 0);
  CHECK(queue.status()->senders_waiting == 1);
  CHECK(receive(queue, Selection::oldest()) == std::string(100'000, 'b'));
  CHECK(large.wait() == 0);
  CHECK(receive(queue, Selection::tag(1)) == std::string(150'000, 'l'));
  CHECK(receive(queue, Selection::tag(2)) == std::string(10'000, 's'));
}

TEST_CASE("who waits is told of the deadline, of the removal, and of a message that is too long") {
  auto queue = MessageQueue::create({.messages = 1}).value();
  CHECK(receive(queue, Selection::oldest(), Deadline::after(5ms)).error() == Error::timed_out);
  Peer narrow([&] {
    std::array<std::byte, 2> into{};
    CHECK(queue.receive(into, Deadline::never()).error() == Error::too_big);
  });
  await_receivers(queue, 1);
  REQUIRE(send(queue, "abc"));
  CHECK(narrow.wait() == 0);
  CHECK(send(queue, "d", 0, Deadline::after(5ms)).error() == Error::timed_out);
  Peer sender([&] { CHECK(send(queue, "d", 0, Deadline::never()).error() == Error::removed); });
  await_senders(queue, 1);
  Peer receiver([&] {
    CHECK(receive(queue, Selection::tag(1), Deadline::never()).error() == Error::removed);
  });
  await_receivers(queue, 1);
  CHECK(queue.remove());
  CHECK(sender.wait() == 0);
  CHECK(receiver.wait() == 0);
}

TEST_CASE("a taker and a builder wait as well") {
  auto queue = MessageQueue::create({.messages = 1}).value();
  Peer taker([&] {
    auto taken = queue.take(Selection::tag(3), Deadline::never()).value();
    CHECK(text_of(taken.bytes()) == "text");
    CHECK(taken.acknowledge());
  });
  await_receivers(queue, 1);
  REQUIRE(send(queue, "text", 3));
  CHECK(taker.wait() == 0);
  REQUIRE(send(queue, "full"));
  Peer builder([&] {
    auto room = queue.reserve(3, Deadline::never()).value();
    std::ranges::fill(room.bytes(), std::byte{'x'});
    CHECK(room.publish());
  });
  await_senders(queue, 1);
  CHECK(receive(queue, Selection::oldest()) == "full");
  CHECK(builder.wait() == 0);
  CHECK(receive(queue, Selection::oldest()) == "xxx");
}

TEST_CASE("what a process had taken returns to its old place, marked, when it dies") {
  auto queue = MessageQueue::create().value();
  for (const auto* text : {"a", "b", "c"}) REQUIRE(send(queue, text, 4));
  for (std::uint32_t deaths = 1; deaths <= 3; ++deaths) {
    Peer holder([&] {
      auto a = queue.take(Selection::oldest(), Deadline::now()).value();
      auto b = queue.take(Selection::tag(4), Deadline::now()).value();
      CHECK(text_of(a.bytes()) == "a");
      CHECK(text_of(b.bytes()) == "b");
      pause();
    });
    while (queue.status()->taken != 2) usleep(100);
    CHECK(queue.peek({}, {.cut = true})->sequence == 3);
    kill_now(holder);
    CHECK(holder.wait() == -SIGKILL);
    CHECK(queue.peek({}, {.cut = true})->sequence == 1);
    CHECK(queue.peek({}, {.cut = true})->redeliveries == deaths);
  }
  for (const auto* text : {"a", "b", "c"}) CHECK(receive(queue, Selection::oldest()) == text);
}

TEST_CASE("a message that comes back too often moves to the dead letters, and says whence") {
  auto queue = MessageQueue::create({.redeliveries = 1, .dead_letter_tag = 99}).value();
  REQUIRE(queue.send(std::as_bytes(std::span("poison", 6)), {.tag = 4, .priority = 2},
                     Deadline::now()));
  REQUIRE(send(queue, "next", 4));
  for (int deaths = 0; deaths < 2; ++deaths) {
    Peer holder([&] {
      const auto taken = queue.take(Selection::tag(4), Deadline::now()).value();
      CHECK(text_of(taken.bytes()) == "poison");
      pause();
    });
    while (queue.status()->taken != 1) usleep(100);
    kill_now(holder);
    CHECK(holder.wait() == -SIGKILL);
  }
  CHECK(receive(queue, Selection::oldest()) == "next");
  auto dead = queue.take(Selection::tag(99), Deadline::now()).value();
  CHECK(text_of(dead.bytes()) == "poison");
  CHECK(dead.about().redeliveries == 2);
  CHECK(dead.about().priority == 0);
  CHECK(dead.about().dead_letter_of == 4);
  CHECK(dead.acknowledge());
  CHECK(queue.status()->messages == 0);
}

TEST_CASE("what a process had reserved is free again when it dies") {
  auto queue = MessageQueue::create({.messages = 2, .bytes = 1'000'000}).value();
  Peer builder([&] {
    const auto small = queue.reserve(3, Deadline::now()).value();
    const auto large = queue.reserve(900'000, Deadline::now()).value();
    pause();
  });
  while (queue.status()->reserved != 2) usleep(100);
  Peer waiting([&] { CHECK(send(queue, std::string(1'000'000, 'x'), 0, Deadline::never())); });
  await_senders(queue, 1);
  kill_now(builder);
  CHECK(builder.wait() == -SIGKILL);
  CHECK(waiting.wait() == 0);
  CHECK(queue.status()->reserved == 0);
  CHECK(queue.status()->bytes == 1'000'000);
}

TEST_CASE("to a child of fork its parent's messages are not its own") {
  auto queue = MessageQueue::create().value();
  REQUIRE(send(queue, "text"));
  auto taken = queue.take(Selection::oldest(), Deadline::now()).value();
  auto room = queue.reserve(3, Deadline::now()).value();
  Peer child([&] {
    CHECK(taken.acknowledge().error() == Error::not_permitted);
    CHECK(queue.status()->participants == 2);
    CHECK(taken.acknowledge().error() == Error::not_permitted);
    CHECK(taken.give_back().error() == Error::not_permitted);
    CHECK(room.publish().error() == Error::not_permitted);
    const auto gone = std::move(taken);
    const auto gone_too = std::move(room);
  });
  CHECK(child.wait() == 0);
  CHECK(taken.acknowledge());
  CHECK(room.publish());
}

TEST_CASE("a named queue keeps its messages while nobody uses it") {
  const std::string name = "/dev/shm/parley_queue_test_" + std::to_string(getpid());
  {
    auto made = MessageQueue::create(name).value();
    REQUIRE(send(made, std::string(10'000, 'x'), 5));
  }
  CHECK(MessageQueue::create(name).error() == Error::exists);
  auto queue = MessageQueue::open(name).value();
  CHECK(receive(queue, Selection::tag(5)) == std::string(10'000, 'x'));
  CHECK(MessageQueue::unlink(name));
  CHECK(MessageQueue::open(name).error() == Error::not_found);
}

TEST_CASE("many senders and receivers pass every message once") {
  auto queue = MessageQueue::create({.messages = 16, .bytes = 100'000}).value();
  constexpr int each = 2000;
  constexpr int processes = 3;
  constexpr std::size_t all = std::size_t{each} * processes;
  auto* const seen = static_cast<unsigned char*>(
      mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::vector<std::unique_ptr<Peer>> peers;
  for (int self = 0; self < processes; ++self) {
    peers.push_back(std::make_unique<Peer>([&, self] {
      for (int i = 0; i < each; ++i) {
        const std::vector<int> numbers(1 + static_cast<std::size_t>(i % 40) * 50, self * each + i);
        REQUIRE(queue.send(std::as_bytes(std::span(numbers)),
                           {.tag = static_cast<std::uint64_t>(i % processes)}, Deadline::never()));
      }
    }));
    peers.push_back(std::make_unique<Peer>([&, self] {
      std::vector<int> numbers(4000);
      const auto into = std::as_writable_bytes(std::span(numbers));
      const int share = (each - self + processes - 1) / processes * processes;
      for (int i = 0; i < share; ++i) {
        const auto tag = static_cast<std::uint64_t>(self);
        const auto got = queue.receive(into, {.selection = Selection::tag(tag)}, Deadline::never());
        REQUIRE(got.has_value());
        for (std::size_t at = 0; at < got->size_bytes / sizeof(int); ++at) {
          REQUIRE(numbers[at] == numbers[0]);
        }
        __atomic_fetch_add(&seen[numbers[0]], 1, __ATOMIC_RELAXED);
      }
    }));
  }
  for (const auto& peer : peers) CHECK(peer->wait() == 0);
  CHECK(queue.status()->messages == 0);
  CHECK(std::count(seen, seen + all, 1) == static_cast<std::ptrdiff_t>(all));
  munmap(seen, all);
}
