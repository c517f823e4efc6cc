// What `parley lock` and `parley sem --max 1` promise alike: one command at a time, whoever dies.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>

#include "cli/command.hpp"
#include "support/peer.hpp"
#include "support/temp_dir.hpp"

using parley::test::Command;
using parley::test::make_file;
using parley::test::run;
using parley::test::TempDir;
using parley::test::wait_until_asleep;
using Words = std::vector<std::string>;

namespace {

auto operator+(Words words, const Words& more) -> Words {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The two subcommands, on objects of their own.
auto guards(const TempDir& directory) -> std::vector<Words> {
  return {{"lock", directory / "lock"}, {"sem", "--max", "1", directory / "sem"}};
}

/// Starts with the line "PID CHILD", of the shell and of a process that it has started. Stays.
const Words shell_with_child{"--", "sh", "-c", "sleep 1000 & echo $$ $!; wait"};

auto is_gone(const std::string& pid) -> std::string {
  return "kill -0 " + pid + " 2>/dev/null && echo alive || echo gone";
}

/// Waits until the command waits for what another holds: its holder sleeps, without a child.
void wait_until_it_waits(const Command& command) {
  while (command.children().empty()) usleep(200);
  wait_until_asleep(command.children().front());
}

/// What a holder that waits runs when its turn has come: tells whether those of the line still run.
auto looking_for(const std::string& line) -> Words {
  const auto space = line.find(' ');
  return {"--", "sh", "-c",
          is_gone(line.substr(0, space)) + "; " + is_gone(line.substr(space + 1))};
}

void check_not_run(const Words& arguments, int status, const std::string& why) {
  CAPTURE(arguments);
  const auto outcome = run(arguments + Words{"--", "echo", "it was run"});
  CAPTURE(outcome.errors);
  CHECK(outcome.status == status);
  CHECK(outcome.output.empty());
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors.find(why) != std::string::npos);
}

}  // namespace

TEST_CASE("the command gets its words as they are, and its exit status is passed on") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    const auto printed = run(guard + Words{"--", "printf", "<%s>", "[a,b]", "", "--", "-x", "%s"});
    CHECK(printed.output == "<[a,b]><><--><-x><%s>");
    CHECK(printed.errors.empty());
    CHECK(printed.status == 0);
    CHECK(run(guard + Words{"--", "sh", "-c", "exit 7"}).status == 7);
    CHECK(run(guard + Words{"--", "sh", "-c", "kill -TERM $$"}).status == 128 + SIGTERM);
  }
}

TEST_CASE("the command has the descriptors and signals that parley was given") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    const auto shown = run(
        guard + Words{"--", "sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; echo 9 >&9"},
        [] {
          std::signal(SIGUSR1, SIG_IGN);
          dup2(STDOUT_FILENO, 9);
        });
    CHECK(shown.output == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000200\n9\n");
    CHECK(shown.errors.empty());
  }
}

TEST_CASE("a command that cannot be run has the statuses of env(1), and holds nothing") {
  const TempDir directory;
  make_file(directory / "data", 10);
  for (const auto& guard : guards(directory)) {
    for (const auto& [program, status] :
         {std::pair(std::string("no such program"), 127), std::pair(directory / "data", 126)}) {
      const auto outcome = run(guard + Words{"--", program});
      CHECK(outcome.status == status);
      CHECK(outcome.has_one_line_of_errors());
      CHECK(outcome.errors.find(program + ": ") != std::string::npos);
    }
    const auto next = run(guard + Words{"--no-wait", "--", "true"});
    CHECK(next.status == 0);
    CHECK(next.errors.empty());
  }
}

TEST_CASE("wrong arguments run nothing") {
  check_not_run({"lock"}, 2, "PATH is required");
  check_not_run({"lock", "one", "two"}, 2, "two");
  check_not_run({"lock", "name", "--timeout", "soon"}, 2, "soon is no number of seconds");
  check_not_run({"lock", "name", "--timeout", "-1"}, 2, "-1 is no number of seconds");
  check_not_run({"lock", "name", "--timeout", "nan"}, 2, "nan is no number of seconds");
  check_not_run({"lock", "name", "--no-wait", "--timeout", "1"}, 2, "--no-wait");
  check_not_run({"lock", "name", "-E", "256"}, 2, "256");
  check_not_run({"sem", "name", "--max", "0"}, 2, "0");
  check_not_run({"sem", "name", "--max", "32768"}, 2, "32768");
  for (const auto* which : {"lock", "sem"}) {
    for (const Words& tail : {Words{}, Words{"--"}}) {
      const auto outcome = run(Words{which, "name"} + tail);
      CHECK(outcome.status == 2);
      CHECK(outcome.has_one_line_of_errors());
      CHECK(outcome.errors.find("a command behind -- is required") != std::string::npos);
    }
  }
}

TEST_CASE("what is no object, or another one, is named, and nothing is run") {
  const TempDir directory;
  const std::string file = directory / "file";
  const std::string lock = directory / "lock";
  const std::string set = directory / "set";
  make_file(file, 100'000);
  REQUIRE(run({"lock", lock, "--", "true"}).status == 0);
  REQUIRE(run({"sem", set, "--max", "2", "--", "true"}).status == 0);
  check_not_run({"lock", file}, 125, "lock: " + file + ": is no Parley object");
  check_not_run({"lock", directory.path()}, 125, "is no Parley object");
  check_not_run({"lock", ""}, 125, "lock: '': ");
  check_not_run({"lock", directory / "no/lock"}, 125, "No such file or directory");
  check_not_run({"lock", set}, 125, "is another kind of object, not a mutex");
  check_not_run({"sem", lock}, 125, "is another kind of object, not a set of semaphores");
  check_not_run({"sem", directory / "none"}, 125, "No such file or directory");
  check_not_run({"sem", set, "--max", "3"}, 125, "is for 2 at once, not for 3");
  check_not_run({"lock", "/proc/lock"}, 125, "/proc/lock: ");
}

TEST_CASE("an object that others may not use is named, and nothing is run") {
  const TempDir directory;
  const std::string lock = directory / "lock";
  REQUIRE(run({"lock", lock, "--", "true"}).status == 0);
  REQUIRE(chmod(lock.c_str(), 0400) == 0);
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  constexpr uid_t nobody = 65534;
  if (geteuid() == 0 && faccessat(AT_FDCWD, PARLEY_COMMAND, X_OK, AT_EACCESS) != 0) {
    std::printf("skipped: the command is out of reach\n");
    return;
  }
  const auto outcome = run({"lock", lock, "--", "echo", "it was run"}, [] {
    if (geteuid() == 0 && setresuid(nobody, nobody, nobody) != 0) _exit(126);
  });
  if (outcome.status == 127) {
    std::printf("skipped: another user cannot reach the command\n");
    return;
  }
  CHECK(outcome.status == 125);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors == "parley: lock: " + lock + ": Permission denied\n");
}

TEST_CASE("while one runs another waits, as long as it was told, and has a status for that") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command first(guard + shell_with_child);
    first.line();
    check_not_run(guard + Words{"--no-wait"}, 124, guard.front() + ": ");
    check_not_run(guard + Words{"--timeout", "0.05"}, 124, guard.front() + ": ");
    check_not_run(guard + Words{"--timeout", "0", "-E", "9"}, 9, guard.front() + ": ");
  }
}

TEST_CASE("kill -9 of parley ends the command and all it started before another one begins") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    for (int round = 0; round < 5; ++round) {
      Command first(guard + shell_with_child);
      const auto pids = first.line();
      Command second(guard + looking_for(pids));
      wait_until_it_waits(second);
      kill(first.pid(), SIGKILL);
      const auto next = second.finish();
      CHECK(next.status == 0);
      CHECK(next.output == "gone\ngone\n");
      CHECK(first.finish().status == -SIGKILL);
    }
  }
}

TEST_CASE("kill -9 of the command passes its status on, and another one begins") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command first(guard + shell_with_child);
    const auto pid = std::stoi(first.line());
    Command second(guard + Words{"--", "echo", "begun"});
    wait_until_it_waits(second);
    kill(pid, SIGKILL);
    CHECK(second.finish().output == "begun\n");
    siginfo_t ended{};
    REQUIRE(waitid(P_PID, static_cast<id_t>(first.pid()), &ended, WEXITED | WNOWAIT) == 0);
    first.signal_all(SIGTERM);  // what the command has started is its own affair
    CHECK(first.finish().status == 128 + SIGKILL);
  }
}

TEST_CASE("kill -9 of the process that holds it ends the command, is told, and frees the place") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command first(guard + shell_with_child);
    const auto pids = first.line();
    REQUIRE(first.children().size() == 1);
    kill(first.children().front(), SIGKILL);
    const auto outcome = first.finish();
    CHECK(outcome.status == 128 + SIGKILL);
    CHECK(outcome.has_one_line_of_errors());
    CHECK(outcome.errors.find("the process that held it was killed") != std::string::npos);
    CHECK_FALSE(first.has_processes());
    CHECK(run(guard + looking_for(pids)).output == "gone\ngone\n");
  }
}

TEST_CASE("kill -9 of everything at once frees the place for the one that waits") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command first(guard + shell_with_child);
    first.line();
    Command second(guard + Words{"--", "echo", "begun"});
    wait_until_it_waits(second);
    first.signal_all(SIGKILL);
    CHECK(second.finish().output == "begun\n");
    CHECK(first.finish().status == -SIGKILL);
  }
}

TEST_CASE("the next holder of a lock is told when the one before died with it, and only then") {
  const TempDir directory;
  const Words lock{"lock", directory / "lock"};
  const auto told = "parley: lock: " + lock[1] + ": whoever held it before died with it\n";
  CHECK(run(lock + Words{"--", "sh", "-c", "exit 1"}).errors.empty());
  CHECK(run(lock + Words{"--", "sh", "-c", "kill -9 $$"}).errors.empty());
  CHECK(run(lock + Words{"--", "true"}).errors == told);
  CHECK(run(lock + Words{"--", "true"}).errors.empty());
  Command first(lock + shell_with_child);
  first.line();
  kill(first.pid(), SIGKILL);
  CHECK(run(lock + Words{"--", "true"}).errors == told);
}

TEST_CASE("Ctrl-C while it waits is one line and status 130, and disturbs nobody") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command first(guard + shell_with_child);
    first.line();
    Command second(guard + Words{"--", "echo", "it was run"});
    wait_until_it_waits(second);
    second.signal_all(SIGINT);
    const auto outcome = second.finish();
    CHECK(outcome.status == 130);
    CHECK(outcome.output.empty());
    CHECK(outcome.has_one_line_of_errors());
    CHECK(outcome.errors.find("interrupted by signal 2") != std::string::npos);
    CHECK_FALSE(second.has_processes());
    check_not_run(guard + Words{"--no-wait"}, 124, guard.front() + ": ");
  }
}

TEST_CASE("a signal while it waits ends parley, whichever way it comes") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command first(guard + shell_with_child);
    first.line();
    for (const int signal : {SIGTERM, SIGHUP, SIGQUIT}) {
      Command second(guard + Words{"--", "echo", "it was run"});
      wait_until_it_waits(second);
      kill(second.pid(), signal);
      CHECK(second.finish().status == 128 + signal);
      CHECK_FALSE(second.has_processes());
    }
  }
}

TEST_CASE("a signal to parley reaches the command, which alone says how it ends") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    for (const auto* name : {"INT", "TERM"}) {
      const auto script =
          std::string("trap 'exit 6' ") + name + "; echo begun; while :; do sleep 0.01; done";
      for (const bool all : {false, true}) {
        Command command(guard + Words{"--", "sh", "-c", script});
        command.line();
        const int signal = name == std::string("INT") ? SIGINT : SIGTERM;
        if (all) {
          command.signal_all(signal);
        } else {
          kill(command.pid(), signal);
        }
        CHECK(command.finish().status == 6);
      }
    }
  }
}

TEST_CASE("a signal that was ignored stays so") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    Command command(guard + Words{"--", "sh", "-c", "echo begun; sleep 0.1; exit 3"},
                    [] { std::signal(SIGHUP, SIG_IGN); });
    command.line();
    command.signal_all(SIGHUP);
    CHECK(command.finish().status == 3);
  }
}

TEST_CASE("orphans of the command do not pile up while it runs") {
  const TempDir directory;
  for (const auto& guard : guards(directory)) {
    const auto outcome =
        run(guard + Words{"--", "sh", "-c",
                          "for i in 1 2 3 4 5; do (true &); done; "
                          "until read all </proc/$PPID/task/$PPID/children; [ \"$all\" = $$ ]; do "
                          "sleep 0.01; done; echo clean"});
    CHECK(outcome.output == "clean\n");
    CHECK(outcome.errors.empty());
  }
}
