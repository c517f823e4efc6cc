// Messages are received by type: the most urgent first, and answers by whom they are for.
#include <sys/wait.h>
#include <unistd.h>

#include <parley/os/sysv/message_queue.hpp>

#include <array>
#include <cstdio>
#include <string_view>

using parley::Deadline;
using parley::os::sysv::Key;
using parley::os::sysv::MessageQueue;
using parley::os::sysv::Selector;
using namespace std::chrono_literals;

namespace {

constexpr long lowest_urgency = 3;
constexpr long answer = 4;

auto send(const MessageQueue& queue, long type, std::string_view text) -> bool {
  return queue.send(type, std::as_bytes(std::span(text)), Deadline::after(10s)).has_value();
}

auto work(const MessageQueue& queue) -> int {
  std::array<std::byte, 64> text{};
  while (const auto job =
             queue.receive(Selector::lowest_up_to(lowest_urgency), text, Deadline::now())) {
    std::printf("urgency %ld: %.*s\n", job->type, static_cast<int>(job->size_bytes),
                reinterpret_cast<const char*>(text.data()));
  }
  std::fflush(stdout);
  return send(queue, answer, "done") ? 0 : 1;
}

}  // namespace

auto main() -> int {
  // A child needs no key: it inherits the handle.
  const auto queue = MessageQueue::create(Key::private_key()).value();
  bool good = send(queue, 3, "sweep the floor") && send(queue, 1, "put out the fire") &&
              send(queue, 2, "answer the door");
  const pid_t child = fork();
  if (child == 0) _exit(work(queue));
  std::array<std::byte, 64> text{};
  good = queue.receive(Selector::of_type(answer), text, Deadline::after(10s)) && good;
  good = waitpid(child, nullptr, 0) == child && good;
  return queue.remove() && good ? 0 : 1;
}
