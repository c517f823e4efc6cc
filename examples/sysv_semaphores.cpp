// A process that is killed while it holds a semaphore gives it back: undo.
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <parley/os/sysv/semaphore_set.hpp>

#include <array>
#include <cstdint>
#include <cstdio>

using parley::Deadline;
using parley::os::sysv::Key;
using parley::os::sysv::SemaphoreSet;
using namespace std::chrono_literals;

auto main(int /*count*/, char** arguments) -> int {
  // Both sides know the same file, here the program itself, and so the same key.
  const auto key = Key::from_file(arguments[0], 1).value();
  constexpr std::array<std::uint16_t, 1> one_seat = {1};
  const auto seats = SemaphoreSet::open_or_create(key, one_seat).value();

  const pid_t child = fork();
  if (child == 0) {
    const auto set = SemaphoreSet::open(key, Deadline::after(10s)).value();
    if (!set.operate({.index = 0, .delta = -1, .undo = true}, Deadline::after(10s))) _exit(1);
    return std::raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const auto taken = seats.operate({.index = 0, .delta = -1, .undo = true}, Deadline::after(10s));
  const auto removed = seats.remove();
  if (!taken || !removed || !WIFSIGNALED(status)) return 1;
  std::puts("the seat of the killed process is free again");
  return 0;
}
