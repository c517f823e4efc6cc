// Three children share a table with two seats: a named semaphore lets only two of them sit.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/posix/semaphore.hpp>

#include <cstdio>
#include <string>

using parley::Deadline;
using parley::os::posix::Semaphore;
using namespace std::chrono_literals;

auto main() -> int {
  const std::string name = "/parley-example-" + std::to_string(getpid());
  auto seats = Semaphore::create(name, {.initial_value = 2}).value();
  for (int child = 1; child <= 3; ++child) {
    if (fork() != 0) continue;
    auto mine = Semaphore::open(name).value();
    if (!mine.wait(Deadline::after(10s))) _exit(1);
    std::printf("child %d sits\n", child);
    std::fflush(stdout);
    _exit(mine.post() ? 0 : 1);
  }
  int failures = 0;
  for (int status = 0; wait(&status) > 0;) failures += status == 0 ? 0 : 1;
  // It would stay until the machine is restarted.
  Semaphore::unlink(name).value();
  return failures == 0 && seats.value().value() == 2 ? 0 : 1;
}
