// A program that takes part in the SemaphoreSet that it is given at descriptor 3: it takes one unit
// of the first semaphore, to be undone, and sleeps until it is killed.
#include <unistd.h>

#include <parley/os/child.hpp>
#include <parley/semaphore_set.hpp>

auto main() -> int {
  auto descriptor = parley::os::Child::inherited(3);
  if (!descriptor) return 1;
  auto set = parley::SemaphoreSet::adopt(std::move(*descriptor));
  if (!set) return 2;
  const parley::SemaphoreOperation take{.index = 0, .delta = -1, .undo = true};
  if (!set->operate(take, parley::Deadline::now())) return 3;
  for (;;) pause();
}
