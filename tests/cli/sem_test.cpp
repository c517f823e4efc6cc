#include <doctest/doctest.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include <parley/semaphore_set.hpp>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using parley::Deadline;
using parley::SemaphoreSet;
using parley::test::Command;
using parley::test::run;
using parley::test::TempDir;

namespace {

const std::vector<std::string> staying{"--", "sh", "-c", "echo begun; exec sleep 1000"};

auto sem(const std::string& path, const std::vector<std::string>& more,
         const std::vector<std::string>& command) -> std::vector<std::string> {
  std::vector<std::string> words{"sem", path};
  words.insert(words.end(), more.begin(), more.end());
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

}  // namespace

TEST_CASE("as many run at once as --max says, and one more for each that ends or is killed") {
  const TempDir directory;
  const std::string path = directory / "sem";
  const auto tried = [&] {
    return run(sem(path, {"--max", "2", "--no-wait"}, {"--", "true"})).status;
  };
  Command first(sem(path, {"--max", "2"}, staying));
  CHECK(first.line() == "begun");
  CHECK(tried() == 0);
  Command second(sem(path, {"--max", "2"}, staying));
  CHECK(second.line() == "begun");
  const auto refused = run(sem(path, {"--max", "2", "--no-wait"}, {"--", "true"}));
  CHECK(refused.status == 124);
  CHECK(refused.errors == "parley: sem: " + path + ": all of its slots are taken\n");

  Command third(sem(path, {}, staying));
  kill(first.pid(), SIGKILL);
  CHECK(third.line() == "begun");
  CHECK(tried() == 124);
  Command fourth(sem(path, {"--max", "2", "--timeout", "30"}, staying));
  second.signal_all(SIGKILL);
  CHECK(fourth.line() == "begun");
  CHECK(tried() == 124);
}

TEST_CASE("a set that a program made serves without --max, if it has undo") {
  const TempDir directory;
  const std::string path = directory / "set";
  const std::array<std::uint16_t, 1> values{1};
  auto set = SemaphoreSet::create(path, values).value();
  REQUIRE(set.operate({.index = 0, .delta = -1}, Deadline::now()));
  CHECK(run(sem(path, {"--no-wait"}, {"--", "true"})).status == 124);
  REQUIRE(set.operate({.index = 0, .delta = 1}, Deadline::now()));
  CHECK(run(sem(path, {"--no-wait"}, {"--", "true"})).status == 0);
  CHECK(set.value(0).value() == 1);
  const auto with_max = run(sem(path, {"--max", "1"}, {"--", "true"}));
  CHECK(with_max.status == 125);
  CHECK(with_max.errors.find("was not made by parley sem") != std::string::npos);

  const std::string plain = directory / "plain";
  const auto made = SemaphoreSet::create(plain, values, {.undo = false});
  const auto outcome = run(sem(plain, {}, {"--", "echo", "it was run"}));
  CHECK(outcome.status == 125);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors.find("has no undo") != std::string::npos);
}

TEST_CASE("who waits for a set that is removed is told, and does not run") {
  const TempDir directory;
  const std::string path = directory / "set";
  const std::array<std::uint16_t, 1> values{0};
  auto set = SemaphoreSet::create(path, values).value();
  Command waiting(sem(path, {}, {"--", "echo", "it was run"}));
  while (set.waiting_for_increase(0).value() == 0) {
  }
  REQUIRE(set.remove());
  const auto outcome = waiting.finish();
  CHECK(outcome.status == 125);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors == "parley: sem: " + path + ": was removed\n");
}
