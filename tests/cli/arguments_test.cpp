#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using parley::test::make_file;
using parley::test::run;
using parley::test::TempDir;

namespace {

/// Nothing was done, and one line says why not.
void check_unusable(const std::vector<std::string>& arguments, const std::string& why) {
  CAPTURE(arguments);
  const auto outcome = run(arguments);
  CAPTURE(outcome.errors);
  CHECK(outcome.status == 2);
  CHECK(outcome.output.empty());
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors.starts_with("parley: "));
  CHECK(outcome.errors.find(why) != std::string::npos);
}

}  // namespace

TEST_CASE("wrong arguments are one line on standard error and status 2") {
  check_unusable({}, "A subcommand is required");
  check_unusable({"wander"}, "wander");
  check_unusable({"tour", "--fast"}, "--fast");
  check_unusable({"tour", "one", "two"}, "two");
  check_unusable({"tour", "--only", "pigeon"}, "pigeon");
  check_unusable({"tour", "--only"}, "--only");
  check_unusable({"tour", "--html"}, "--html");
}

TEST_CASE("help and version go to standard output with status 0") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"tour", "--help"}, {"--version"}}) {
    const auto outcome = run(arguments);
    CHECK(outcome.status == 0);
    CHECK(outcome.errors.empty());
    CHECK(outcome.output.find("parley") != std::string::npos);
  }
}

TEST_CASE("a file that cannot be toured is one line that says which and why, and status 2") {
  const TempDir directory;
  const std::string empty = directory / "empty";
  make_file(empty, 0);
  const std::string fifo = directory / "fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  check_unusable({"tour", directory / "nosuchfile"},
                 "tour: " + (directory / "nosuchfile") + ": No such file or directory");
  check_unusable({"tour", directory.path()}, directory.path().string() + ": is a directory");
  check_unusable({"tour", empty}, empty + ": is empty");
  check_unusable({"tour", fifo}, fifo + ": is a FIFO");
  check_unusable({"tour", "/dev/zero"}, "/dev/zero: is a device");
  check_unusable({"tour", ""}, "'': No such file or directory");
}

TEST_CASE("a file without read permission is one line that says so") {
  const TempDir directory;
  const std::string secret = directory / "secret";
  make_file(secret, 100);
  REQUIRE(chmod(secret.c_str(), 0) == 0);
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  const bool is_root = geteuid() == 0;
  constexpr uid_t nobody = 65534;
  // What is run must be readable for nobody too, wherever this tree lies.
  if (is_root && faccessat(AT_FDCWD, PARLEY_COMMAND, X_OK, AT_EACCESS) != 0) {
    std::printf("skipped: the command is out of reach\n");
    return;
  }
  const auto outcome = run({"tour", secret}, [&] {
    if (is_root && setresuid(nobody, nobody, nobody) != 0) _exit(126);
  });
  if (outcome.status == 127) {
    std::printf("skipped: another user cannot reach the command\n");
    return;
  }
  CHECK(outcome.status == 2);
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors == "parley: tour: " + secret + ": Permission denied\n");
}

TEST_CASE("a name with control characters cannot command the terminal that an error is shown on") {
  const auto outcome = run({"tour", "\x1b[31mred\xff"});
  CHECK(outcome.status == 2);
  CHECK(outcome.errors == "parley: tour: \\x1b[31mred\\xff: No such file or directory\n");
}

TEST_CASE("standard output that cannot be written is one line and status 1") {
  const TempDir directory;
  make_file(directory / "file", 5000);
  const std::vector<std::string> tour{"tour", "--only", "pipe", directory / "file"};
  const auto check = [&](const std::string& why, void (*prepare)()) {
    for (const auto& arguments : {tour, {"tour", "--list"}, {"--help"}}) {
      const auto outcome = run(arguments, prepare);
      CAPTURE(outcome.errors);
      CHECK(outcome.status == 1);
      CHECK(outcome.has_one_line_of_errors());
      CHECK(outcome.errors.find("standard output: " + why) != std::string::npos);
    }
  };
  check("No space left on device", [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); });
  check("Bad file descriptor", [] { close(STDOUT_FILENO); });
  check("Broken pipe", [] {
    int ends[2];
    if (pipe(ends) != 0) _exit(126);
    close(ends[0]);
    dup2(ends[1], STDOUT_FILENO);
  });
}
