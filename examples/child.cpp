// Lets sort(1) sort: it gets the end of a pipe as its input, our output as its own, nothing else.
#include <unistd.h>
#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>

#include <chrono>
#include <cstdio>
#include <span>
#include <string_view>
#include <utility>

using parley::Deadline;
using namespace parley::os;
using namespace std::chrono_literals;

auto main() -> int {
  auto words = Pipe::create().value();
  // sort reads as programs do: it waits.
  set_nonblocking(words.reader.fd(), false).value();

  auto child =
      Child::start({.program = "sort",
                    .arguments = {"--unique"},
                    .descriptors = {{words.reader.fd(), STDIN_FILENO},
                                    {BorrowedFd::from_number(STDOUT_FILENO), STDOUT_FILENO}},
                    .die_with_parent = true});
  if (!child) {
    std::fprintf(stderr, "sort: %s\n", message(child.error()).c_str());
    return 1;
  }
  constexpr std::string_view lines = "pear\napple\npear\nfig\n";
  words.writer.write(std::as_bytes(std::span(lines)), Deadline::after(10s)).value();
  static_cast<void>(std::move(words.writer).into_fd());  // the end of its input

  return child->wait(Deadline::after(10s)).value().succeeded() ? 0 : 1;
}
