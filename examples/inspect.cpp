// A receiver is killed with a message in its hands; a look from outside tells, and changes nothing.
#include <csignal>

#include <parley/inspect.hpp>
#include <parley/message_queue.hpp>
#include <parley/os/child.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <variant>

using parley::Deadline;
using parley::MessageQueue;
using parley::MessageQueueInspection;
using parley::Selection;
using parley::os::Child;
using namespace std::chrono_literals;

auto main() -> int {
  auto queue = MessageQueue::create().value();
  constexpr std::array<std::byte, 5> text{};
  for (const std::uint64_t tag : {7U, 7U, 9U}) {
    queue.send(text, {.tag = tag}, Deadline::now()).value();
  }
  auto worker = Child::fork([&] {
                  const auto taken = queue.take(Selection::tag(9), Deadline::now()).value();
                  std::raise(SIGKILL);
                  return 0;
                }).value();
  if (worker.wait(Deadline::after(10s)).value().value != SIGKILL) return 1;

  // Until somebody uses the queue, it is as the dead one left it.
  const auto object = parley::inspect(queue.descriptor()).value();
  const auto& seen = std::get<MessageQueueInspection>(object.what);
  for (const auto& [tag, messages] : seen.depths) {
    std::printf("tag %llu: %zu\n", static_cast<unsigned long long>(tag), messages);
  }
  std::size_t left = 0;
  for (const auto& who : object.participants) {
    if (!who.is_alive) left += who.holding;
  }
  std::printf("held by the dead: %zu\n", left);
  return seen.depths.size() == 1 && seen.messages == 3 && left == 1 ? 0 : 1;
}
