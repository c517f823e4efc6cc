#include "differential/participant.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <span>
#include <thread>

namespace parley::test {
namespace {

using namespace std::chrono_literals;

auto deadline_of(Patience patience) -> Deadline {
  switch (patience) {
    case Patience::none:
      return Deadline::now();
    case Patience::brief:
      return Deadline::after(3ms);
    case Patience::endless:
      break;
  }
  return Deadline::never();
}

template <class Operation, class Set>
auto perform_on(Set& set, const Command& command) -> Result<void> {
  switch (command.verb) {
    case Verb::operate: {
      std::vector<Operation> operations;
      for (const auto& each : std::span(command.operations).first(command.count)) {
        operations.push_back({each.index, each.delta, each.no_wait, each.undo});
      }
      return set.operate(operations, deadline_of(command.patience));
    }
    case Verb::set_value:
      return set.set_value(command.index, command.value);
    case Verb::set_values:
      return set.set_values(std::span(command.values).first(command.count));
    case Verb::remove:
      return set.remove();
    default:
      return failure(Error::no_such_call);
  }
}

auto read_all(int fd, std::span<std::byte> into) -> bool {
  while (!into.empty()) {
    const auto got = ::read(fd, into.data(), into.size());
    if (got <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

void write_all(int fd, std::span<const std::byte> from) {
  REQUIRE(::write(fd, from.data(), from.size()) == static_cast<ssize_t>(from.size()));
}

}  // namespace

auto perform(const os::sysv::SemaphoreSet& set, const Command& command) -> Result<void> {
  return perform_on<os::sysv::Operation>(set, command);
}

auto perform(SemaphoreSet& set, const Command& command) -> Result<void> {
  return perform_on<SemaphoreOperation>(set, command);
}

auto to_text(const Command& command) -> std::string {
  constexpr std::array verbs{"attach", "operate", "set_value", "set_values",
                             "remove", "leave",   "exit"};
  std::string text = verbs.at(static_cast<std::size_t>(command.verb));
  if (command.verb == Verb::operate) {
    constexpr std::array patience{" now", " briefly", ""};
    text += patience.at(static_cast<std::size_t>(command.patience));
    for (const auto& each :
         std::span(command.operations).first(std::min<std::size_t>(command.count, 8))) {
      text += " [" + std::to_string(each.index) + "]" + (each.delta >= 0 ? "+" : "") +
              std::to_string(each.delta) + (each.no_wait ? "n" : "") + (each.undo ? "u" : "");
    }
    if (command.count > 8) text += " … " + std::to_string(command.count) + " operations";
  }
  if (command.verb == Verb::set_value) {
    text += " [" + std::to_string(command.index) + "]=" + std::to_string(command.value);
  }
  if (command.verb == Verb::set_values) {
    for (const auto value : std::span(command.values).first(command.count)) {
      text += " " + std::to_string(value);
    }
  }
  return text;
}

Participant::Pipe::Pipe() {
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  reader = os::OwnedFd::from_number(ends[0]);
  writer = os::OwnedFd::from_number(ends[1]);
}

Participant::Participant() {
  peer_.emplace([this] {
    std::thread kernel([this] { serve(World::kernel); });
    serve(World::parley);
    kernel.join();
  });
}

void Participant::serve(World world) {
  auto& [commands, answers] = pipes_of(world);
  std::optional<os::sysv::SemaphoreSet> kernel_set;
  std::optional<SemaphoreSet> our_set;
  Command command;
  while (read_all(commands.reader.number(), std::as_writable_bytes(std::span(&command, 1)))) {
    Result<void> result;
    if (command.verb == Verb::attach && world == World::kernel) {
      kernel_set = os::sysv::SemaphoreSet::adopt(command.id).value();
    } else if (command.verb == Verb::attach) {
      our_set = SemaphoreSet::open(command.path.data()).value();
    } else if (command.verb == Verb::leave || command.verb == Verb::exit) {
      if (command.verb == Verb::leave) our_set.reset();
      _exit(0);
    } else {
      result = world == World::kernel ? perform(*kernel_set, command) : perform(*our_set, command);
    }
    const int error = result ? 0 : static_cast<int>(result.error());
    write_all(answers.writer.number(), std::as_bytes(std::span(&error, 1)));
  }
}

void Participant::tell(World world, const Command& command) {
  write_all(pipes_of(world)[0].writer.number(), std::as_bytes(std::span(&command, 1)));
}

auto Participant::answer(World world) -> std::optional<int> {
  const int fd = pipes_of(world)[1].reader.number();
  pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
  if (::poll(&ready, 1, 0) <= 0) return std::nullopt;
  int error = 0;
  REQUIRE(read_all(fd, std::as_writable_bytes(std::span(&error, 1))));
  return error;
}

void Participant::end() {
  if (ended_) return;
  ended_ = true;
  peer_->kill();
}

void Participant::wait() {
  ended_ = true;
  CHECK(peer_->wait() == 0);
}

}  // namespace parley::test
