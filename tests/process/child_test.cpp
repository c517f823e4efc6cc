#include <parley/os/child.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <parley/os/pipe.hpp>

#include "os/sys.hpp"
#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/signalled.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::Peer;
using parley::test::run_among_signals;
using parley::test::TempDir;
using parley::test::text_of;

namespace {

constexpr const char* shown_program = PARLEY_SHOWN_PROGRAM;

/// What the program of tests/programs/shown.cpp told: the lines by their first word.
using Shown = std::multimap<std::string, std::string>;

auto lines_of(const Shown& shown, const std::string& word) -> std::vector<std::string> {
  std::vector<std::string> lines;
  const auto [begin, end] = shown.equal_range(word);
  for (auto entry = begin; entry != end; ++entry) lines.push_back(entry->second);
  return lines;
}

auto read_to_end(PipeReader& reader) -> std::string {
  std::string all;
  std::array<std::byte, 4096> buffer{};
  while (const auto count = reader.read(buffer, Deadline::never()).value()) {
    all += text_of(std::span(buffer).first(count));
  }
  return all;
}

auto parse(const std::string& text) -> Shown {
  Shown shown;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto space = line.find(' ');
    shown.emplace(line.substr(0, space), line.substr(space + 1));
  }
  return shown;
}

/// Starts the program with a pipe at `report_number`, and waits for its end.
auto show(ChildOptions options, int report_number = 100) -> Shown {
  auto pipe = Pipe::create().value();
  options.arguments.insert(options.arguments.begin(), std::to_string(report_number));
  options.descriptors.push_back({pipe.writer.fd(), report_number});
  auto child = Child::start(options).value();
  static_cast<void>(std::move(pipe.writer).into_fd());
  auto shown = parse(read_to_end(pipe.reader));
  CHECK(child.wait(Deadline::never()).value().succeeded());
  return shown;
}

/// A new file of its own, so that a descriptor can be told by its inode.
auto new_file() -> OwnedFd {
  return OwnedFd::from_number(memfd_create("parley-test", 0));  // on purpose not close-on-exec
}

auto inode(BorrowedFd fd) -> std::string {
  struct stat status{};
  REQUIRE(fstat(fd.number(), &status) == 0);
  return std::to_string(status.st_ino);
}

/// The descriptors that the program had, apart from its report: number to inode.
auto descriptors_in(const Shown& shown, int report_number = 100) -> std::map<int, std::string> {
  std::map<int, std::string> found;
  for (const auto& line : lines_of(shown, "fd")) {
    std::istringstream words(line);
    int number = -1;
    std::string node;
    words >> number >> node;
    if (number != report_number) found.emplace(number, node);
  }
  return found;
}

using Numbers = std::map<int, std::string>;

}  // namespace

TEST_CASE("a child has exactly the stated descriptors, not even 0, 1 and 2") {
  const auto kept = new_file();
  const auto not_stated = new_file();
  CHECK(descriptors_in(show({.program = shown_program})).empty());
  CHECK(descriptors_in(show({.program = shown_program, .descriptors = {{kept, 0}, {kept, 57}}})) ==
        Numbers{{0, inode(kept)}, {57, inode(kept)}});
}

TEST_CASE("descriptors that trade their numbers all arrive") {
  const auto a = new_file();
  const auto b = new_file();
  const auto c = new_file();
  const int na = a.number();
  const int nb = b.number();
  const int nc = c.number();
  SUBCASE("two of them") {
    CHECK(descriptors_in(show({.program = shown_program, .descriptors = {{a, nb}, {b, na}}})) ==
          Numbers{{na, inode(b)}, {nb, inode(a)}});
  }
  SUBCASE("three in a ring") {
    CHECK(descriptors_in(
              show({.program = shown_program, .descriptors = {{a, nb}, {b, nc}, {c, na}}})) ==
          Numbers{{nb, inode(a)}, {nc, inode(b)}, {na, inode(c)}});
  }
  SUBCASE("one that stays, one that moves on to it from below, one with two numbers") {
    CHECK(descriptors_in(
              show({.program = shown_program, .descriptors = {{a, na}, {b, nc}, {b, nb + 40}}})) ==
          Numbers{{na, inode(a)}, {nc, inode(b)}, {nb + 40, inode(b)}});
  }
  SUBCASE("at the numbers that the start itself would use") {
    std::vector<ChildFd> all;
    Numbers expected;
    for (int number = 0; number < 60; ++number) {
      all.push_back({number % 2 == 0 ? a : b, number});
      expected.emplace(number, number % 2 == 0 ? inode(a) : inode(b));
    }
    CHECK(descriptors_in(show({.program = shown_program, .descriptors = all})) == expected);
  }
}

TEST_CASE("a start that runs out of descriptors says so") {
  Peer peer([] {
    constexpr rlimit few{.rlim_cur = 20, .rlim_max = 20};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    std::vector<ChildFd> all;
    all.reserve(18);
    for (int number = 0; number < 18; ++number) {
      all.push_back({BorrowedFd::from_number(STDERR_FILENO), number});
    }
    const auto child = Child::start({.program = shown_program, .descriptors = all});
    REQUIRE(child.error() == static_cast<Error>(EMFILE));
  });
}

TEST_CASE("a kernel without close_range gives a child the same descriptors") {
  const auto kept = new_file();
  const auto not_stated = new_file();
  auto pipe = Pipe::create().value();
  const ChildOptions options{.program = shown_program,
                             .arguments = {"100"},
                             .descriptors = {{kept, 5}, {pipe.writer.fd(), 100}}};
  const auto start_without = [&](int call, Error error) {
    sys::injection = {.calls_until_failure = call, .error = error};
    auto child = Child::start(options);
    sys::injection = {};
    return child;
  };
  // Every call that fails with ENOSYS fails the start; the first that does not is the close_range.
  int call = 1;
  auto child = start_without(call, Error::no_such_call);
  while (!child) child = start_without(++call, Error::no_such_call);
  CHECK(start_without(call, Error::io).error() == Error::io);
  static_cast<void>(std::move(pipe.writer).into_fd());
  CHECK(descriptors_in(parse(read_to_end(pipe.reader))) == Numbers{{5, inode(kept)}});
  CHECK(child->wait(Deadline::never()).value().succeeded());
}

TEST_CASE("standard input and output are passed on, or are the null device, where asked for") {
  const auto file = new_file();
  struct stat null{};
  REQUIRE(stat("/dev/null", &null) == 0);
  const std::string null_inode = std::to_string(null.st_ino);
  CHECK(descriptors_in(show({.program = shown_program,
                             .descriptors = {{file, 1}},
                             .standard_io = StandardIo::null})) ==
        Numbers{{0, null_inode}, {1, inode(file)}, {2, null_inode}});
  const auto standard = [](int number) { return inode(BorrowedFd::from_number(number)); };
  CHECK(descriptors_in(show({.program = shown_program,
                             .descriptors = {{file, 0}},
                             .standard_io = StandardIo::inherited})) ==
        Numbers{{0, inode(file)}, {1, standard(1)}, {2, standard(2)}});
}

TEST_CASE("standard input that this process has closed is closed in the child too") {
  Peer peer([] {
    REQUIRE(close(STDIN_FILENO) == 0);
    // The pipe that reports takes the free number 0 here, which is then passed on as such; so
    // something else has to be there while it is made.
    const auto shown = [] {
      const auto plug = new_file();
      REQUIRE(plug.number() == STDIN_FILENO);
      auto pipe = Pipe::create().value();
      REQUIRE(close(STDIN_FILENO) == 0);
      auto child = Child::start({.program = shown_program,
                                 .arguments = {"100"},
                                 .descriptors = {{pipe.writer.fd(), 100}},
                                 .standard_io = StandardIo::inherited})
                       .value();
      const auto again = new_file();
      static_cast<void>(std::move(pipe.writer).into_fd());
      const auto told = descriptors_in(parse(read_to_end(pipe.reader)));
      REQUIRE(child.wait(Deadline::never()).value().succeeded());
      return told;
    }();
    REQUIRE(shown.contains(1));
    REQUIRE_FALSE(shown.contains(0));
  });
}

TEST_CASE("arguments arrive after the program's own name, byte for byte") {
  const auto shown = show({.program = shown_program, .arguments = {"0", "two words", "", "*$'\""}});
  CHECK(lines_of(shown, "argument") ==
        std::vector<std::string>{shown_program, "100", "0", "two words", "", "*$'\""});
}

TEST_CASE("the environment is inherited, or exactly the stated one") {
  REQUIRE(setenv("PARLEY_TEST_MARK", "inherited", 1) == 0);
  const auto inherited = lines_of(show({.program = shown_program}), "environment");
  CHECK(std::ranges::count(inherited, "PARLEY_TEST_MARK=inherited") == 1);
  CHECK(lines_of(show({.program = shown_program, .environment = {{"B=2", "A=1"}}}),
                 "environment") == std::vector<std::string>{"B=2", "A=1"});
  CHECK(lines_of(show({.program = shown_program, .environment = std::vector<std::string>{}}),
                 "environment")
            .empty());
}

TEST_CASE("a program without a slash is looked up in PATH, past what cannot be executed") {
  const std::filesystem::path program = shown_program;
  const TempDir decoy;
  const auto file =
      OwnedFd::from_number(open((decoy / program.filename()).c_str(), O_CREAT | O_WRONLY, 0600));
  REQUIRE(file.is_open());
  const std::string before = getenv("PATH");
  const std::string decoys = "/nowhere:" + decoy.path().string();
  REQUIRE(setenv("PATH", (decoys + ":" + program.parent_path().string()).c_str(), 1) == 0);
  const auto shown = show({.program = program.filename()});
  CHECK(lines_of(shown, "argument").front() == program.filename());
  REQUIRE(setenv("PATH", (decoys + ":/nowhere").c_str(), 1) == 0);
  CHECK(Child::start({.program = program.filename()}).error() == Error::access_denied);
  REQUIRE(setenv("PATH", before.c_str(), 1) == 0);
}

TEST_CASE("a child runs in the stated directory, and a relative program is looked up from there") {
  const std::filesystem::path program = shown_program;
  const auto shown = show(
      {.program = "./" + program.filename().string(), .working_directory = program.parent_path()});
  CHECK(lines_of(shown, "folder") ==
        std::vector<std::string>{std::filesystem::canonical(program.parent_path())});
  CHECK(lines_of(show({.program = shown_program}), "folder").front() ==
        std::filesystem::current_path());
}

TEST_CASE("a child inherits the signal mask and what is ignored, and blocks nothing else") {
  Peer peer([] {
    std::signal(SIGHUP, SIG_IGN);
    std::signal(SIGUSR2, [](int) {});
    sigset_t mask{};
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    REQUIRE(sigprocmask(SIG_SETMASK, &mask, nullptr) == 0);
    const auto shown = show({.program = shown_program});
    REQUIRE(lines_of(shown, "blocked") == std::vector<std::string>{std::to_string(SIGUSR1)});
    REQUIRE(lines_of(shown, "ignored") == std::vector<std::string>{std::to_string(SIGHUP)});
    sigset_t after{};
    REQUIRE(sigprocmask(SIG_BLOCK, nullptr, &after) == 0);
    REQUIRE(sigismember(&after, SIGUSR1) == 1);
    REQUIRE(sigismember(&after, SIGUSR2) == 0);
  });
}

TEST_CASE("a child has the stated signal mask instead, and this thread keeps its own") {
  sigset_t mask{};
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  const auto shown = show({.program = shown_program, .signal_mask = mask});
  CHECK(lines_of(shown, "blocked") == std::vector<std::string>{std::to_string(SIGUSR2)});
  sigset_t after{};
  REQUIRE(sigprocmask(SIG_BLOCK, nullptr, &after) == 0);
  CHECK(sigismember(&after, SIGUSR2) == 0);
}

TEST_CASE("a child can lead a group or a session of its own") {
  const auto own_group = show({.program = shown_program, .process_group = ProcessGroup::own});
  CHECK(lines_of(own_group, "group").front() != std::to_string(getpgid(0)));
  CHECK(lines_of(own_group, "session").front() == std::to_string(getsid(0)));
  const auto own_session =
      show({.program = shown_program, .process_group = ProcessGroup::own_session});
  CHECK(lines_of(own_session, "session") == lines_of(own_session, "group"));
  CHECK(lines_of(own_session, "session").front() != std::to_string(getsid(0)));
  CHECK(lines_of(show({.program = shown_program}), "group").front() == std::to_string(getpgid(0)));
}

TEST_CASE("a child that is to die with its parent does, however the parent ends") {
  auto watch = Pipe::create().value();
  auto ready = Pipe::create().value();
  const auto start_and_stay = [&](bool forked) {
    auto child =
        forked ? Child::fork(
                     [&] {
                       REQUIRE(ready.writer.write(bytes_of("x"), Deadline::never()));
                       for (;;) pause();
                       return 0;
                     },
                     {.die_with_parent = true})
               : Child::start({.program = shown_program,
                               .arguments = {"100", "stay"},
                               .descriptors = {{ready.writer.fd(), 100}, {watch.writer.fd(), 101}},
                               .die_with_parent = true});
    REQUIRE(child);
    for (;;) pause();
  };
  for (const bool forked : {false, true}) {
    Peer parent([&] { start_and_stay(forked); });
    std::array<std::byte, 1> first{};
    REQUIRE(ready.reader.read(first, Deadline::never()).value() == 1);
    parent.kill();
    // Drop what else the program told.
    std::array<std::byte, 65536> rest{};
    while (ready.reader.read(rest, Deadline::now())) {
    }
  }
  static_cast<void>(std::move(watch.writer).into_fd());
  // The end comes when nobody holds the other end any more: the children are gone.
  CHECK(read_to_end(watch.reader).empty());
}

TEST_CASE("no handler of this process ever runs in a child") {
  // Shared memory, because a handler could do no other harm: the descriptors are closed by then.
  static volatile pid_t* ran_in = nullptr;
  static pid_t group = 0;
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  ran_in = static_cast<pid_t*>(shared);
  Peer parent([&] {
    REQUIRE(setpgid(0, 0) == 0);
    group = getpid();
    struct sigaction action{};
    action.sa_handler = [](int) {
      if (getpid() != group) *ran_in = getpid();
    };
    REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
    auto storm = Child::fork(
                     [&] {
                       std::signal(SIGUSR1, SIG_IGN);
                       for (;;) ::kill(-group, SIGUSR1);
                       return 0;
                     },
                     {.die_with_parent = true})
                     .value();
    for (int i = 0; i < 100; ++i) {
      auto child = Child::start({.program = "/bin/true"}).value();
      REQUIRE(child.wait(Deadline::never()));
    }
    REQUIRE(storm.kill(SIGKILL));
    REQUIRE(storm.wait(Deadline::never()));
  });
  CHECK(parent.wait() == 0);
  CHECK(*ran_in == 0);
  munmap(shared, 4096);
}

TEST_CASE("signals do not lengthen the wait for a child: one deadline holds for all of it") {
  run_among_signals([] {
    auto child = Child::fork(
                     [] {
                       for (;;) pause();
                       return 0;
                     },
                     {.die_with_parent = true})
                     .value();
    const auto start = Deadline::Clock::now();
    REQUIRE(child.wait(Deadline::after(200ms)).error() == Error::timed_out);
    REQUIRE(Deadline::Clock::now() - start >= 200ms);
    REQUIRE(child.kill(SIGKILL));
    REQUIRE(child.wait(Deadline::never()));
  });
}
