// A child writes where its parent reads; the memory is gone with the last of them.
#include <sys/wait.h>
#include <unistd.h>

#include <parley/os/sysv/shared_memory.hpp>

#include <cstdio>

using parley::os::sysv::Key;
using parley::os::sysv::SharedMemory;

auto main() -> int {
  const auto memory = SharedMemory::create(Key::private_key(), 4096).value();
  const auto attached = memory.attach();
  // Marked at once: whatever happens from here on, it goes with its last attachment.
  if (!memory.remove() || !attached) return 1;

  const auto squares = attached->as<int>();
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 10; ++i) squares[static_cast<std::size_t>(i)] = i * i;
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  std::printf("nine times nine is %d\n", squares[9]);
  return squares[9] == 81 ? 0 : 1;
}
