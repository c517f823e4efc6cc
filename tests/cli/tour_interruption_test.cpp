#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using nlohmann::json;
using parley::test::Command;
using parley::test::make_file;
using parley::test::PrivatePlaces;
using parley::test::Run;
using parley::test::TempDir;
using parley::test::tour_names;

namespace {

constexpr std::size_t file_bytes = 8'000'000;

void check_interrupted(const Run& outcome, int signal) {
  CAPTURE(outcome.errors);
  CHECK(outcome.status == 128 + signal);
  CHECK(outcome.output.empty());
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors.find("interrupted by signal " + std::to_string(signal)) !=
        std::string::npos);
}

}  // namespace

TEST_CASE("Ctrl-C in the middle of any mechanism leaves nothing behind") {
  const TempDir directory;
  const PrivatePlaces places(directory.path());
  if (!places.exist()) return;
  make_file(directory / "file", file_bytes);
  for (const auto& name : tour_names()) {
    CAPTURE(name);
    Command tour({"tour", "--only", name, directory / "file"}, places.enter());
    REQUIRE(tour.wait_for_two_children());
    tour.signal_all(SIGINT);
    check_interrupted(tour.finish(), SIGINT);
    CHECK_FALSE(tour.has_processes());
    CHECK(places.contents() == "");
  }
}

TEST_CASE("Ctrl-C at any moment of a whole tour leaves nothing behind") {
  const TempDir directory;
  const PrivatePlaces places(directory.path());
  if (!places.exist()) return;
  make_file(directory / "file", file_bytes);
  for (int moment_ms = 1;; moment_ms = moment_ms * 5 / 3 + 1) {
    CAPTURE(moment_ms);
    Command tour({"tour", "--html", places.temporary() + "/page.html", directory / "file"},
                 places.enter());
    usleep(static_cast<useconds_t>(moment_ms) * 1000);  // a moment is what this is about
    tour.signal_all(SIGINT);
    const auto outcome = tour.finish();
    if (outcome.status == 0 || !outcome.output.empty()) break;  // it was over before
    // Before main blocks it the signal simply ends the command; there is nothing yet to clean up.
    if (outcome.status != -SIGINT) check_interrupted(outcome, SIGINT);
    CHECK_FALSE(tour.has_processes());
    CHECK(places.contents() == "");
  }
}

TEST_CASE("the other signals that end a program end the tour in the same way") {
  const TempDir directory;
  const PrivatePlaces places(directory.path());
  if (!places.exist()) return;
  make_file(directory / "file", file_bytes);
  for (const int signal : {SIGTERM, SIGHUP, SIGQUIT}) {
    Command tour({"tour", "--only", "posix-shm-sysv-sem", directory / "file"}, places.enter());
    REQUIRE(tour.wait_for_two_children());
    kill(tour.pid(), signal);
    check_interrupted(tour.finish(), signal);
    CHECK_FALSE(tour.has_processes());
    CHECK(places.contents() == "");
  }
}

TEST_CASE("a signal that was ignored when the tour began does not end it") {
  const TempDir directory;
  make_file(directory / "file", 1000);
  Command tour({"tour", "--only", "pipe", directory / "file"}, [] { signal(SIGHUP, SIG_IGN); });
  REQUIRE(tour.wait_for_two_children());
  tour.signal_all(SIGHUP);
  CHECK(tour.finish().status == 0);
}

TEST_CASE("a process that is killed in the middle of any mechanism is told, and nothing stays") {
  const TempDir directory;
  const PrivatePlaces places(directory.path());
  if (!places.exist()) return;
  make_file(directory / "file", file_bytes);
  std::size_t victim = 0;
  for (const auto& name : tour_names()) {
    CAPTURE(name);
    Command tour({"tour", "--json", "--only", name, directory / "file"}, places.enter());
    REQUIRE(tour.wait_for_two_children());
    victim = 1 - victim;
    kill(tour.children().at(victim), SIGKILL);
    const auto outcome = tour.finish();
    CAPTURE(outcome.errors);
    CHECK(outcome.status == 1);
    CHECK(outcome.has_one_line_of_errors());
    const std::string who = victim == 0 ? "sender" : "receiver";
    const std::string reason = "the " + who + " was killed by signal 9 (Killed)";
    CHECK(outcome.errors.find("failed: " + reason) != std::string::npos);
    CHECK(json::parse(outcome.output).at("mechanisms").at(0).at("reason") == reason);
    CHECK_FALSE(tour.has_processes());
    CHECK(places.contents() == "");
  }
}

TEST_CASE("after a killed process the tour goes on with the next mechanism") {
  const TempDir directory;
  make_file(directory / "file", file_bytes);
  Command tour({"tour", "--json", "--only", "pipe,fifo", directory / "file"});
  REQUIRE(tour.wait_for_two_children());
  kill(tour.children().at(0), SIGKILL);
  const auto results = json::parse(tour.finish().output);
  CHECK(results.at("mechanisms").at(0).at("verdict") == "failed");
  CHECK(results.at("mechanisms").at(1).at("verdict") == "verified");
}

TEST_CASE("the two processes die with the command when that is killed") {
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  const TempDir directory;
  make_file(directory / "file", file_bytes);
  Command tour({"tour", "--only", "memfd-posix-sem", directory / "file"});
  REQUIRE(tour.wait_for_two_children());
  const auto workers = tour.children();
  kill(tour.pid(), SIGKILL);
  CHECK(tour.finish().status == -SIGKILL);
  for (const pid_t worker : workers) {
    int status = 0;
    REQUIRE(waitpid(worker, &status, 0) == worker);
    // By the signal, or of itself where it saw the command's end of a pipe close before that came.
    CHECK(status != 0);
  }
}
