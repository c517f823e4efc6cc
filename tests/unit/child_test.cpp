#include <parley/os/child.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <parley/os/pipe.hpp>

#include "os/sys.hpp"
#include "support/descriptors.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::open_descriptors;
using parley::test::TempDir;

namespace {

constexpr auto no_child = static_cast<Error>(ECHILD);
constexpr auto no_process = static_cast<Error>(ESRCH);
constexpr ExitStatus success{ExitStatus::Kind::exited, 0};

auto shell(const std::string& script) -> ChildOptions {
  return {.program = "/bin/sh", .arguments = {"-c", script}};
}

/// Whether this process has any child, dead ones included.
auto has_children() -> bool {
  siginfo_t info{};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

volatile std::sig_atomic_t sigchld_count = 0;

/// Counts SIGCHLD while it lives.
class SigchldCounter {
 public:
  SigchldCounter() {
    sigchld_count = 0;
    struct sigaction counting{};
    counting.sa_handler = [](int) { sigchld_count = sigchld_count + 1; };
    REQUIRE(sigaction(SIGCHLD, &counting, &before_) == 0);
  }
  SigchldCounter(const SigchldCounter&) = delete;
  auto operator=(const SigchldCounter&) -> SigchldCounter& = delete;
  ~SigchldCounter() { sigaction(SIGCHLD, &before_, nullptr); }

 private:
  struct sigaction before_{};
};

/// What is left of the child after its end; polls only its pidfd.
void wait_for_end(const Child& child) {
  pollfd entry{.fd = child.pidfd().number(), .events = POLLIN, .revents = 0};
  while (poll(&entry, 1, -1) != 1) {
  }
}

}  // namespace

TEST_CASE("a child's exit status is told, again and again") {
  auto child = Child::start(shell("exit 7")).value();
  CHECK(child.wait(Deadline::never()).value() == ExitStatus{ExitStatus::Kind::exited, 7});
  CHECK(child.wait(Deadline::now()).value() == ExitStatus{ExitStatus::Kind::exited, 7});
  CHECK_FALSE(child.wait(Deadline::now()).value().succeeded());
  CHECK_FALSE(has_children());
}

TEST_CASE("a child that is killed by a signal says which, and takes no more signals") {
  auto child = Child::start(shell("kill -STOP $$; exit 1")).value();
  REQUIRE(child.kill(SIGKILL));
  const auto status = child.wait(Deadline::never()).value();
  CHECK(status == ExitStatus{ExitStatus::Kind::killed, SIGKILL});
  CHECK_FALSE(status.succeeded());
  CHECK(child.kill(SIGKILL).error() == no_process);
}

TEST_CASE("a child that has ended and was not waited for takes a signal and keeps its status") {
  auto child = Child::start(shell("exit 3")).value();
  wait_for_end(child);
  CHECK(child.kill(SIGKILL));
  CHECK(child.wait(Deadline::now()).value().value == 3);
}

TEST_CASE("a signal that there is not is invalid") {
  auto child = Child::start(shell("exit 0")).value();
  CHECK(child.kill(1000).error() == Error::invalid);
  CHECK(child.wait(Deadline::never()).value() == success);
}

TEST_CASE("waiting for a child that runs ends at the deadline, and at once under now") {
  auto pipe = Pipe::create().value();
  REQUIRE(set_nonblocking(pipe.reader.fd(), false));
  auto options = shell("read line");
  options.descriptors = {{pipe.reader.fd(), 0}};
  auto child = Child::start(options).value();
  CHECK(child.wait(Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(child.wait(Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  static_cast<void>(std::move(pipe.writer).into_fd());
  CHECK(child.wait(Deadline::never()).value() == ExitStatus{ExitStatus::Kind::exited, 1});
}

TEST_CASE("the pidfd is readable once the child has ended, and closed on exec") {
  const auto child = Child::start(shell("exit 0")).value();
  CHECK(closes_on_exec(child.pidfd()).value());
  wait_for_end(child);
}

TEST_CASE("what keeps a program from running comes back from start, and no process is left") {
  const TempDir folder;
  const auto before = open_descriptors();
  const SigchldCounter counter;
  ChildOptions options{.program = folder / "nothing"};
  Error expected = Error::not_found;
  SUBCASE("no such file") {}
  SUBCASE("no such program in PATH") {
    // A folder that may not be searched would be access_denied.
    REQUIRE(setenv("PATH", "/bin:/usr/bin", 1) == 0);
    options.program = "parley-no-such-program";
  }
  SUBCASE("no name at all") {
    options.program = "";
  }
  SUBCASE("a directory") {
    options.program = folder.path();
    expected = Error::access_denied;
  }
  SUBCASE("a file without execute permission") {
    options.program = "/etc/passwd";
    expected = Error::access_denied;
  }
  SUBCASE("a file where a directory is needed") {
    options.program = "/etc/passwd/program";
    expected = static_cast<Error>(ENOTDIR);
  }
  SUBCASE("a working directory that is not there") {
    options.program = "/bin/true";
    options.working_directory = folder / "nowhere";
  }
  SUBCASE("arguments that are too long") {
    options.program = "/bin/true";
    options.arguments = {std::string(std::size_t{1} << 20, 'x')};
    expected = Error::too_big;
  }
  SUBCASE("a descriptor that is not open") {
    options.program = "/bin/true";
    options.descriptors = {{BorrowedFd::from_number(900), 5}};
    expected = Error::bad_descriptor;
  }
  SUBCASE("a number above the limit of descriptors") {
    options.program = "/bin/true";
    options.descriptors = {{BorrowedFd::from_number(0), 2'000'000'000}};
    expected = Error::bad_descriptor;
  }
  SUBCASE("a number stated twice") {
    options.descriptors = {{BorrowedFd::from_number(0), 4}, {BorrowedFd::from_number(1), 4}};
    expected = Error::invalid;
  }
  SUBCASE("a number below zero") {
    options.descriptors = {{BorrowedFd::from_number(0), -1}};
    expected = Error::invalid;
  }
  SUBCASE("a NUL in an argument") {
    options.arguments = {std::string("a\0b", 3)};
    expected = Error::invalid;
  }
  SUBCASE("a NUL in the environment") {
    options.environment = {std::string("A=\0b", 4)};
    expected = Error::invalid;
  }
  CHECK(Child::start(options).error() == expected);
  CHECK_FALSE(has_children());
  CHECK(open_descriptors() == before);
  CHECK(sigchld_count == 0);
}

TEST_CASE("the end of a program is a SIGCHLD, whatever it was started with") {
  // execve(2): "the termination signal is reset to SIGCHLD". A kernel that stops doing so should
  // make us stop saying so.
  const SigchldCounter counter;
  auto child = Child::start(shell("exit 0")).value();
  REQUIRE(child.wait(Deadline::never()));
  CHECK(sigchld_count == 1);
}

TEST_CASE("a status that a waitpid of the program's own has taken is told where the kernel can") {
  auto child = Child::start(shell("exit 5")).value();
  wait_for_end(child);
  int taken = 0;
  REQUIRE(waitpid(-1, &taken, 0) == child.pid());
  const auto status = child.wait(Deadline::never());
  if (status) {
    CHECK(*status == ExitStatus{ExitStatus::Kind::exited, 5});
  } else {
    CHECK(status.error() == no_child);
  }
}

TEST_CASE("on a kernel that cannot tell a status that was taken, waiting is an error") {
  auto child = Child::start(shell("kill -TERM $$")).value();
  wait_for_end(child);
  REQUIRE(waitpid(-1, nullptr, 0) == child.pid());
  sys::injection = {.calls_until_failure = 2, .error = static_cast<Error>(ENOTTY)};
  CHECK(child.wait(Deadline::now()).error() == no_child);
  CHECK(sys::injection.fired);
  sys::injection = {};
}

TEST_CASE("a child that is dropped after its end leaves no zombie") {
  {
    const auto child = Child::start(shell("exit 0")).value();
    wait_for_end(child);
  }
  CHECK_FALSE(has_children());
}

TEST_CASE("a child that is dropped while it runs is reaped when the next one is started") {
  auto pipe = Pipe::create().value();
  auto watch = Pipe::create().value();
  REQUIRE(set_nonblocking(pipe.reader.fd(), false));
  auto options = shell("read line");
  options.descriptors = {{pipe.reader.fd(), 0}, {watch.writer.fd(), 1}};
  {
    const auto child = Child::start(options).value();
  }
  CHECK(has_children());
  static_cast<void>(std::move(pipe.writer).into_fd());
  static_cast<void>(std::move(watch.writer).into_fd());
  siginfo_t info{};
  REQUIRE(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | __WALL) == 0);  // it has ended
  {
    auto next = Child::start(shell("exit 0")).value();
    CHECK(next.wait(Deadline::never()));
  }
  CHECK_FALSE(has_children());
}

TEST_CASE("a moved child goes on to be the same one, and one that is assigned over is dropped") {
  auto child = Child::start(shell("exit 4")).value();
  auto other = Child::start(shell("exit 0")).value();
  wait_for_end(other);
  const pid_t pid = child.pid();
  other = std::move(child);
  CHECK(other.pid() == pid);
  CHECK(other.wait(Deadline::never()).value().value == 4);
  CHECK_FALSE(has_children());
}

TEST_CASE("many children at once each have their own status") {
  std::vector<Child> children;
  children.reserve(100);
  for (int i = 0; i < 100; ++i) {
    children.push_back(Child::start(shell("exit " + std::to_string(i))).value());
  }
  for (int i = 0; i < 100; ++i) {
    CHECK(children[static_cast<std::size_t>(i)].wait(Deadline::never()).value().value == i);
  }
  CHECK_FALSE(has_children());
}

TEST_CASE("a forked copy runs a function on what its parent has, and ends with its result") {
  auto pipe = Pipe::create().value();
  int mine = 1;
  auto child = Child::fork([&] {
                 mine = 2;
                 return pipe.writer.write(parley::test::bytes_of("copy"), Deadline::now()) ? 42 : 1;
               }).value();
  CHECK(child.wait(Deadline::never()).value() == ExitStatus{ExitStatus::Kind::exited, 42});
  CHECK(mine == 1);
  CHECK(pipe.reader.bytes_waiting().value() == 4);
}

TEST_CASE("a forked copy takes a function that can only be moved") {
  auto held = std::make_unique<int>(9);
  auto child = Child::fork([held = std::move(held)] { return *held; }).value();
  CHECK(child.wait(Deadline::never()).value().value == 9);
}

TEST_CASE("an exception that leaves a forked copy's function ends the copy by SIGABRT") {
  auto child = Child::fork([]() -> int {
                 std::signal(SIGABRT, SIG_DFL);  // the test runner has a handler
                 close(STDERR_FILENO);
                 throw 1;
               }).value();
  const auto status = child.wait(Deadline::never()).value();
  CHECK(status.kind != ExitStatus::Kind::exited);
  CHECK(status.value == SIGABRT);
}

TEST_CASE("a forked copy can be put into a group or a session of its own") {
  const auto leads = [](ProcessGroup group) {
    return Child::fork(
               [] { return (getpgid(0) == getpid() ? 1 : 0) + (getsid(0) == getpid() ? 2 : 0); },
               {.process_group = group})
        .value()
        .wait(Deadline::never())
        .value()
        .value;
  };
  CHECK(leads(ProcessGroup::inherited) == 0);
  CHECK(leads(ProcessGroup::own) == 1);
  CHECK(leads(ProcessGroup::own_session) == 3);
}

TEST_CASE("a descriptor that is not there cannot be inherited") {
  CHECK(Child::inherited(900).error() == Error::bad_descriptor);
  CHECK(Child::inherited(-1).error() == Error::bad_descriptor);
}
