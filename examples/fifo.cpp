// Two processes that share only a path: a client finds a server's FIFO and sends it a line.
#include <sys/wait.h>
#include <unistd.h>
#include <parley/os/fifo.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <string_view>

using parley::Deadline;
using parley::os::Fifo;
using namespace std::chrono_literals;

namespace {

auto send_line(const std::string& path) -> parley::Result<void> {
  const Fifo fifo = PARLEY_TRY(Fifo::open(path));
  auto writer = PARLEY_TRY(fifo.writer(Deadline::after(10s)));
  constexpr std::string_view line = "hello through a FIFO\n";
  return writer.write(std::as_bytes(std::span(line)), Deadline::after(10s));
}

}  // namespace

auto main() -> int {
  const std::string path = "/tmp/parley-example-fifo." + std::to_string(getpid());
  const auto fifo = Fifo::create(path, {.mode = 0600}).value();
  const pid_t client = fork();
  if (client == 0) _exit(send_line(path) ? 0 : 1);

  // Waits for the client to open its end.
  auto reader = fifo.reader(Deadline::after(10s)).value();
  std::array<std::byte, 64> buffer{};
  while (const auto count = reader.read(buffer, Deadline::after(10s)).value()) {
    std::fwrite(buffer.data(), 1, count, stdout);
  }
  const bool removed = Fifo::unlink(path).has_value();
  return removed && waitpid(client, nullptr, 0) == client ? 0 : 1;
}
