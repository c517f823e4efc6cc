// A process is killed while it writes; the reader gets every byte that was written, and is told.
#include <csignal>

#include <parley/os/child.hpp>
#include <parley/stream.hpp>

#include <algorithm>
#include <cstdio>
#include <span>
#include <string_view>

using namespace parley;
using namespace std::chrono_literals;

auto main() -> int {
  auto stream = Stream::create({.capacity_bytes = 4096}).value();
  auto child =
      os::Child::fork([&] {
        auto writer = stream.writer().value();
        writer.write(std::as_bytes(std::span(std::string_view("written "))), Deadline::after(1s))
            .value();
        constexpr std::string_view text = "in place";
        auto room = writer.reserve(text.size(), Deadline::after(1s)).value();
        std::ranges::copy(std::as_bytes(std::span(text)), room.begin());
        writer.commit(text.size()).value();
        return std::raise(SIGKILL);
      }).value();

  auto reader = stream.reader().value();
  for (;;) {
    const auto there = reader.peek(1, Deadline::after(10s));
    if (!there || there->empty()) {
      const bool died = !there && there.error() == Error::peer_died;
      std::printf("\n%s\n", died ? "the writer died" : "the end");
      return died && child.wait(Deadline::after(1s)).value().value == SIGKILL ? 0 : 1;
    }
    std::fwrite(there->data(), 1, there->size(), stdout);
    reader.consume(there->size()).value();
  }
}
