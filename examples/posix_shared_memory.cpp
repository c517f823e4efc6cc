// The parent publishes a page that is complete when it gets its name; a child opens it read-only.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/posix/shared_memory.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

using parley::os::posix::SharedMemory;

auto main() -> int {
  constexpr std::string_view text = "whole before it was named";
  const std::string name = "/parley-example-" + std::to_string(getpid());
  auto memory = SharedMemory::create_unnamed({.size_bytes = 4096}).value();
  {
    auto mapping = memory.map().value();
    std::ranges::copy(std::as_bytes(std::span(text)), mapping.bytes().begin());
  }
  memory.publish(name).value();

  const pid_t child = fork();
  if (child == 0) {
    const auto page = SharedMemory::open_read_only(name).value();
    const auto mapping = page.map_read_only().value();
    std::puts(reinterpret_cast<const char*>(mapping.bytes().data()));
    std::fflush(stdout);
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  // It would stay until the machine is restarted.
  SharedMemory::unlink(name).value();
  return status;
}
