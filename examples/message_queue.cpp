// Work for whoever has time: a worker is killed in the middle of its task, and another does it.
#include <csignal>

#include <parley/message_queue.hpp>
#include <parley/os/child.hpp>

#include <cstdio>
#include <string_view>

using parley::Deadline;
using parley::MessageQueue;
using parley::Selection;
using parley::os::Child;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t urgent = 1;
constexpr std::uint64_t ordinary = 2;

void add(MessageQueue& tasks, std::string_view task, std::uint64_t tag) {
  tasks.send(std::as_bytes(std::span(task)), {.tag = tag}, Deadline::after(10s)).value();
}

}  // namespace

auto main() -> int {
  auto tasks = MessageQueue::create().value();
  add(tasks, "sweep the floor", ordinary);
  add(tasks, "put out the fire", urgent);

  // The lowest tag comes first. What is taken is this worker's until it says that it is done.
  auto worker = Child::fork([&] {
                  const auto task = tasks.take(Selection::up_to(ordinary), Deadline::after(10s));
                  return task ? std::raise(SIGKILL) : 1;
                }).value();
  if (worker.wait(Deadline::after(10s)).value().value != SIGKILL) return 1;

  for (int i = 0; i < 2; ++i) {
    auto task = tasks.take(Selection::up_to(ordinary), Deadline::after(10s)).value();
    const auto text = task.bytes();
    std::printf("%.*s%s\n", static_cast<int>(text.size()),
                reinterpret_cast<const char*>(text.data()),
                task.about().redeliveries > 0 ? " (somebody died doing that)" : "");
    task.acknowledge().value();
  }
  return 0;
}
