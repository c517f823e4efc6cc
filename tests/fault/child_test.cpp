#include <parley/os/child.hpp>

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <utility>

#include <parley/os/pipe.hpp>

#include "os/sys.hpp"
#include "support/faults.hpp"

using namespace parley::os;
using parley::Deadline;
using parley::test::fail_each_call;
using parley::test::interrupt_each_call;
using parley::test::Outcome;

namespace {

auto has_children() -> bool {
  siginfo_t info{};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

}  // namespace

TEST_CASE("every failing call of starting a child gives its error and leaves no process") {
  auto pipe = Pipe::create().value();
  const ChildOptions options{.program = "/bin/true",
                             .descriptors = {{pipe.reader.fd(), 3}, {pipe.writer.fd(), 4}},
                             .standard_io = StandardIo::null,
                             .working_directory = "/",
                             .process_group = ProcessGroup::own,
                             .die_with_parent = true};
  // The same count runs on in the child: its calls fail in turn too, and come back as the error.
  const int calls = fail_each_call([&]() -> Outcome {
    auto child = Child::start(options);
    if (!child) {
      CHECK_FALSE(has_children());
      return parley::failure(child.error());
    }
    const auto status = child->wait(Deadline::never());
    CHECK(child->wait(Deadline::never()));
    CHECK_FALSE(has_children());
    if (!status) return parley::failure(status.error());
    CHECK(status->succeeded());
    return {};
  });
  CHECK(calls >= 20);
}

TEST_CASE("every failing call of a forked copy's start gives its error and leaves no process") {
  const int calls = fail_each_call([&]() -> Outcome {
    auto child = Child::fork([] {
      sys::injection = {};
      return 5;
    });
    if (!child) {
      CHECK_FALSE(has_children());
      return parley::failure(child.error());
    }
    const auto status = child->wait(Deadline::never());
    CHECK(child->wait(Deadline::never()));
    if (!status) return parley::failure(status.error());
    CHECK(status->value == 5);
    return {};
  });
  CHECK(calls >= 5);
}

TEST_CASE("every failing call of signalling a child and of inheriting gives its error") {
  auto child = Child::fork([] { return pause(); }).value();
  auto pipe = Pipe::create().value();
  const int number = std::move(pipe.reader).into_fd().release();
  OwnedFd held;
  CHECK(fail_each_call([&]() -> Outcome {
          PARLEY_TRY(child.kill(0));
          held = PARLEY_TRY(Child::inherited(number));
          return {};
        }) == 2);
  CHECK(held.number() == number);
  CHECK(child.kill(SIGKILL));
  CHECK(child.wait(Deadline::never()));
}

TEST_CASE("an interrupted wait for a child is made again") {
  interrupt_each_call([]() -> Outcome {
    const auto held = sys::injection;
    sys::injection = {};
    auto child = Child::start({.program = "/bin/true"}).value();
    sys::injection = held;
    PARLEY_TRY(child.wait(Deadline::never()));
    return {};
  });
}
