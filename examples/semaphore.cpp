// Six workers, started by whomever, of which two work at a time: a semaphore with a name.
#include <unistd.h>

#include <parley/os/child.hpp>
#include <parley/semaphore_set.hpp>

#include <cstdio>
#include <string>
#include <vector>

using parley::Deadline;
using parley::Semaphore;
using parley::os::Child;
using namespace std::chrono_literals;

namespace {

auto work(const std::string& name) -> int {
  // With undo the unit of a killed worker comes back.
  auto seats = Semaphore::open_or_create(name, 2, {.undo = true});
  if (!seats || !seats->wait(Deadline::after(10s))) return 1;
  std::printf("worker %d works\n", getpid());
  std::fflush(stdout);
  return seats->post() ? 0 : 1;
}

}  // namespace

auto main() -> int {
  const std::string name = "example-" + std::to_string(getpid());
  std::vector<Child> workers;
  workers.reserve(6);
  for (int i = 0; i < 6; ++i) {
    workers.push_back(Child::fork([&] { return work(name); }).value());
  }
  int failures = 0;
  for (Child& worker : workers) {
    failures += worker.wait(Deadline::after(20s)).value().succeeded() ? 0 : 1;
  }
  // It stays, as its file, when all its users have ended.
  const auto left = Semaphore::open(name).value().value().value();
  Semaphore::unlink(name).value();
  return failures == 0 && left == 2 ? 0 : 1;
}
