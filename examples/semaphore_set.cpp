// A process takes two resources at once and is killed; the next has both in the same moment.
#include <csignal>

#include <parley/os/child.hpp>
#include <parley/semaphore_set.hpp>

#include <array>
#include <cstdio>

using parley::Deadline;
using parley::SemaphoreOperation;
using parley::SemaphoreSet;
using parley::os::Child;
using namespace std::chrono_literals;

auto main() -> int {
  constexpr std::array<std::uint16_t, 2> one_of_each = {1, 1};  // a printer, a scanner
  auto devices = SemaphoreSet::create(one_of_each).value();
  constexpr std::array both = {SemaphoreOperation{.index = 0, .delta = -1, .undo = true},
                               SemaphoreOperation{.index = 1, .delta = -1, .undo = true}};

  // A child that fork made uses what it inherited; to the set it is a participant of its own.
  auto child = Child::fork([&] {
                 if (!devices.operate(both, Deadline::after(10s))) return 1;
                 return std::raise(SIGKILL);
               }).value();
  if (child.wait(Deadline::after(10s)).value().value != SIGKILL) return 1;

  if (!devices.operate(both, Deadline::after(10s))) return 1;
  std::printf("printer and scanner, held by process %d\n", devices.last_process(0).value());
  return 0;
}
