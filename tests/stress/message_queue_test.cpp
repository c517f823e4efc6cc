// Senders, receivers, and a killer that ends one of them every 20 ms and starts another. In the end
// every message is accounted for.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include <parley/message_queue.hpp>

#include "support/long_run.hpp"
#include "support/peer.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

/// What the processes note of each message, beside the queue. Each byte is written by one process
/// at a time: the message's sender, then who holds the message.
struct Ledger {
  static constexpr std::size_t capacity = std::size_t{1} << 27U;

  std::uint64_t next;   ///< Number of a message.
  std::uint64_t torn;   ///< Messages that were not what was sent.
  std::uint64_t again;  ///< Messages that came again as if they were new, or after they were done.
  bool stop;
  std::array<std::uint8_t, capacity> sent;  ///< 1: `send` has returned.
  std::array<std::uint8_t, capacity> seen;  ///< 1: somebody held it.
  std::array<std::uint8_t, capacity> done;  ///< 1: about to be acknowledged; 2: it was.
};

auto new_ledger() -> std::unique_ptr<Ledger, void (*)(Ledger*)> {
  void* const memory = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return {static_cast<Ledger*>(memory), [](Ledger* ledger) { ::munmap(ledger, sizeof(Ledger)); }};
}

auto is_over(const Ledger& ledger) -> bool {
  return __atomic_load_n(&ledger.stop, __ATOMIC_ACQUIRE);
}

/// Of 8 to some 20,000 bytes, each of which follows from the number.
auto words_of(std::uint64_t number) -> std::size_t {
  return number % 16 == 0 ? 1 + number % 2500 : 1 + number % 40;
}

void write_message(std::span<std::uint64_t> words, std::uint64_t number) {
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = number * 31 + i;
  words[0] = number;
}

void send_messages(MessageQueue& queue, Ledger& ledger) {
  std::vector<std::uint64_t> words(2500);
  while (!is_over(ledger)) {
    const auto number = __atomic_fetch_add(&ledger.next, 1, __ATOMIC_ACQ_REL);
    if (number >= Ledger::capacity) return;
    const auto message = std::span(words).first(words_of(number));
    write_message(message, number);
    const MessageOptions label{.tag = number % 7,
                               .priority = static_cast<std::uint16_t>(number % 3)};
    const auto bytes = std::as_bytes(message);
    if (number % 2 == 0) {
      REQUIRE(queue.send(bytes, label, Deadline::after(20s)));
    } else {
      auto room = queue.reserve(bytes.size(), Deadline::after(20s));
      REQUIRE(room.has_value());
      std::ranges::copy(bytes, room->bytes().begin());
      REQUIRE(room->publish(label));
    }
    __atomic_store_n(&ledger.sent[number], 1, __ATOMIC_RELEASE);
  }
}

/// What a message that is held must be, and must not have been before.
void account(Ledger& ledger, std::span<const std::byte> bytes, const Received& about) {
  const auto words = std::span(reinterpret_cast<const std::uint64_t*>(bytes.data()),
                               bytes.size() / sizeof(std::uint64_t));
  const auto number = words.empty() ? Ledger::capacity : words[0];
  bool whole =
      number < Ledger::capacity && words.size() == words_of(number) && about.tag == number % 7;
  for (std::size_t i = 1; whole && i < words.size(); ++i) whole = words[i] == number * 31 + i;
  if (!whole) {
    __atomic_fetch_add(&ledger.torn, 1, __ATOMIC_RELAXED);
    return;
  }
  // Only who dies with it lets it come again: marked, and never once it was acknowledged.
  const bool was_seen = __atomic_load_n(&ledger.seen[number], __ATOMIC_ACQUIRE) != 0;
  const bool was_done = __atomic_load_n(&ledger.done[number], __ATOMIC_ACQUIRE) == 2;
  if ((was_seen && about.redeliveries == 0) || was_done) {
    __atomic_fetch_add(&ledger.again, 1, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&ledger.seen[number], 1, __ATOMIC_RELEASE);
  __atomic_store_n(&ledger.done[number], 1, __ATOMIC_RELEASE);
}

auto selection_for(std::uint64_t round) -> Selection {
  switch (round % 5) {
    case 0:
      return Selection::tag(round % 7);
    case 1:
      return Selection::up_to(3);
    case 2:
      return Selection::except(round % 7);
    case 3:
      return Selection::highest();
    default:
      return Selection::oldest();
  }
}

void receive_messages(MessageQueue& queue, Ledger& ledger) {
  for (std::uint64_t round = 0; !is_over(ledger); ++round) {
    auto taken = queue.take(selection_for(round), Deadline::after(20ms));
    if (!taken) {
      // `busy`: others held the queue, or the right to come to it, for too long.
      REQUIRE((taken.error() == Error::timed_out || taken.error() == Error::busy));
      continue;
    }
    account(ledger, taken->bytes(), taken->about());
    const auto number = *reinterpret_cast<const std::uint64_t*>(taken->bytes().data());
    REQUIRE(taken->acknowledge());
    if (number < Ledger::capacity) __atomic_store_n(&ledger.done[number], 2, __ATOMIC_RELEASE);
  }
}

}  // namespace

TEST_CASE("every message is accounted for while a process is killed every 20 ms") {
  auto queue = MessageQueue::create({.messages = 64, .bytes = 400'000}).value();
  const auto ledger = new_ledger();
  constexpr std::size_t senders = 3;
  std::array<std::unique_ptr<Peer>, 6> peers;
  const auto start = [&](std::size_t which) {
    peers.at(which) = std::make_unique<Peer>([&, which] {
      which < senders ? send_messages(queue, *ledger) : receive_messages(queue, *ledger);
    });
  };
  for (std::size_t i = 0; i < peers.size(); ++i) start(i);
  std::mt19937_64 random(seed());
  std::size_t kills = 0;
  for (const auto end = Deadline::after(time_budget(8s, 10min)); !end.has_passed(); ++kills) {
    usleep(20'000);
    const auto which = random() % peers.size();
    ::kill(peers.at(which)->pid(), SIGKILL);
    CHECK(peers.at(which)->wait() == -SIGKILL);
    start(which);
  }
  __atomic_store_n(&ledger->stop, true, __ATOMIC_RELEASE);
  for (std::size_t i = senders; i < peers.size(); ++i) CHECK(peers.at(i)->wait() == 0);
  // Senders that wait for room get it from here.
  std::size_t left = 0;
  const auto drain = [&](Deadline deadline) {
    while (auto taken = queue.take(Selection::oldest(), deadline)) {
      account(*ledger, taken->bytes(), taken->about());
      REQUIRE(taken->acknowledge());
      ++left;
    }
  };
  drain(Deadline::after(500ms));
  for (std::size_t i = 0; i < senders; ++i) CHECK(peers.at(i)->wait() == 0);
  drain(Deadline::now());
  const auto status = queue.status().value();
  CHECK(status.messages == 0);
  CHECK(status.bytes == 0);
  CHECK(status.participants == 1);
  const auto numbers = std::min<std::uint64_t>(ledger->next, Ledger::capacity);
  std::size_t lost = 0;
  std::size_t sent = 0;
  for (std::uint64_t i = 0; i < numbers; ++i) {
    if (ledger->sent[i] == 0) continue;
    ++sent;
    if (ledger->seen[i] == 0) ++lost;
  }
  CHECK(ledger->torn == 0);
  CHECK(ledger->again == 0);
  CHECK(lost == 0);
  CHECK(sent > 100);
  std::printf("%zu messages sent, %zu kills: none lost, none torn, %zu were still queued\n", sent,
              kills, left);
}

}  // namespace parley::test
