#include <parley/os/child.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <csignal>

#include <thread>
#include <vector>

using namespace parley::os;
using parley::Deadline;

TEST_CASE(
    "a start does not wait for copies that other threads fork meanwhile, and all are awaited") {
  // Such a copy may hold the pipe that tells of a failed exec, and live on with it.
  constexpr int count = 40;
  std::jthread forker([] {
    std::vector<Child> copies;
    copies.reserve(count);
    for (int i = 0; i < count; ++i) {
      copies.push_back(Child::fork([] {
                         for (;;) pause();
                         return 0;
                       }).value());
    }
    for (Child& copy : copies) {
      CHECK(copy.kill(SIGKILL));
      CHECK(copy.wait(Deadline::never()).value().kind == ExitStatus::Kind::killed);
    }
  });
  for (int i = 0; i < count; ++i) {
    auto child = Child::start({.program = "/bin/true"}).value();
    CHECK(child.wait(Deadline::never()).value().succeeded());
  }
}
