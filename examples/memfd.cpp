// The parent writes a message, seals it against every change and lets a child read it.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/memfd.hpp>

#include <algorithm>
#include <cstdio>
#include <string_view>

using parley::Error;
using parley::os::Memfd;

auto main() -> int {
  constexpr std::string_view text = "sealed: neither size nor bytes can change";
  auto memory = Memfd::create("letter", {.size_bytes = text.size()}).value();
  {
    auto mapping = memory.map().value();
    std::ranges::copy(std::as_bytes(std::span(text)), mapping.bytes().begin());
  }  // The seal against writing wants every writable mapping gone.
  memory.add_seals({.shrink = true, .grow = true, .write = true, .seal = true}).value();

  const pid_t child = fork();
  if (child == 0) {
    // A reader that trusts nobody looks at the seals before it relies on the memory.
    if (!memory.seals().value().shrink) _exit(1);
    if (memory.map().error() != Error::not_permitted) _exit(1);
    const auto mapping = memory.reopen_read_only().value().map_read_only().value();
    std::printf("%.*s\n", static_cast<int>(mapping.size_bytes()),
                reinterpret_cast<const char*>(mapping.bytes().data()));
    std::fflush(stdout);
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  return status;
}
