// A child sends three jobs; the parent receives the urgent one first.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/posix/message_queue.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

using parley::Deadline;
using namespace parley::os::posix;
using namespace std::chrono_literals;

auto main() -> int {
  const std::string name = "/parley-example-" + std::to_string(getpid());
  auto jobs = MessageReceiver::create(name, {.max_messages = 4, .message_size_bytes = 64}).value();
  const pid_t child = fork();
  if (child == 0) {
    auto out = MessageSender::open(name).value();
    const auto send = [&](std::string_view job, unsigned priority) {
      return out.send(std::as_bytes(std::span(job)), Deadline::after(10s), {.priority = priority});
    };
    _exit(send("sweep", 1) && send("put out the fire", 9) && send("water the plants", 1) ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::vector<std::byte> buffer(jobs.attributes().value().message_size_bytes);
  for (int job = 0; job < 3; ++job) {
    const auto [size, priority] = jobs.receive(buffer, Deadline::after(10s)).value();
    std::printf("%u: %.*s\n", priority, static_cast<int>(size),
                reinterpret_cast<const char*>(buffer.data()));
  }
  // It would stay until the machine is restarted.
  MessageReceiver::unlink(name).value();
  return status;
}
