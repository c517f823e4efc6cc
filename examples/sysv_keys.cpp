// Two processes that know the same file find the same object by its key, and look whose it is.
#include <sys/wait.h>
#include <unistd.h>

#include <parley/os/sysv/message_queue.hpp>

#include <cstdint>
#include <cstdio>

using parley::os::sysv::Key;
using parley::os::sysv::MessageQueue;

namespace {

constexpr std::uint8_t project = 2;

/// What a program does that was started by itself and knows only the path.
auto find(const char* path) -> int {
  const auto key = Key::from_file(path, project).value();
  const auto status = MessageQueue::open(key).value().status().value();
  std::printf("key %#x leads to queue %d\n", static_cast<unsigned>(key.number()), status.id);
  std::fflush(stdout);
  // Another file can have the same key, and anybody can take it: this is ours.
  return status.permissions.creator_uid == geteuid() ? 0 : 1;
}

}  // namespace

auto main(int /*count*/, char** arguments) -> int {
  const char* const path = arguments[0];
  const auto queue = MessageQueue::open_or_create(Key::from_file(path, project).value()).value();
  const pid_t child = fork();
  if (child == 0) _exit(find(path));
  int status = 1;
  waitpid(child, &status, 0);
  // It would stay until the machine is restarted.
  return queue.remove() && status == 0 ? 0 : 1;
}
