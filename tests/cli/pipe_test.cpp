#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/stream.hpp>

#include "cli/command.hpp"
#include "support/peer.hpp"
#include "support/temp_dir.hpp"

using parley::Deadline;
using parley::Stream;
using parley::test::Command;
using parley::test::make_file;
using parley::test::run;
using parley::test::TempDir;
using namespace std::chrono_literals;

namespace {

/// With that file, opened so, as standard input.
auto input_from(const std::string& path, int flags = O_RDONLY) -> std::function<void()> {
  return [path, flags] {
    const int fd = open(path.c_str(), flags);
    REQUIRE(fd >= 0);
    REQUIRE(dup2(fd, STDIN_FILENO) == STDIN_FILENO);
  };
}
const auto no_input = input_from("/dev/null");

auto content_of(const std::string& path) -> std::string {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

auto soon() -> Deadline {
  return Deadline::after(20s);
}

/// Waits until the command has come, and writes so much of its own.
auto writer_of(const std::string& path) -> parley::StreamWriter {
  auto stream = Stream::open_or_create(path).value();
  auto writer = stream.writer().value();
  REQUIRE(writer.wait_for_reader(soon()));
  return writer;
}

}  // namespace

TEST_CASE("pipe carries standard input to another's standard output, bit by bit") {
  const TempDir directory;
  const auto path = directory / "stream";
  const auto file = directory / "file";
  make_file(file, 5'000'003);
  Command writer({"pipe", "--write", path}, input_from(file));
  const auto read = run({"pipe", path}, no_input);
  const auto written = writer.finish();
  CHECK(written.status == 0);
  CHECK(written.errors.empty());
  CHECK(read.status == 0);
  CHECK(read.errors.empty());
  CHECK(read.output == content_of(file));
  CHECK(std::filesystem::status(path).permissions() == std::filesystem::perms(0600));
}

TEST_CASE("pipe serves one pair after the other under one name") {
  const TempDir directory;
  const auto path = directory / "stream";
  const auto file = directory / "file";
  for (const std::size_t size : {1U, 0U, 70'000U}) {
    std::ofstream(file, std::ios::trunc) << std::string(size, 'x');
    Command writer({"pipe", "-w", path}, input_from(file));
    const auto read = run({"pipe", "-r", path}, no_input);
    CHECK(writer.finish().status == 0);
    CHECK(read.status == 0);
    CHECK(read.output.size() == size);
  }
}

TEST_CASE("pipe --tee writes to standard output as well") {
  const TempDir directory;
  const auto path = directory / "stream";
  const auto file = directory / "file";
  make_file(file, 50'000);  // what fits into the pipe to this test
  Command reader({"pipe", "-r", path, "--capacity", "64K"}, no_input);
  const auto teed = run({"pipe", "--tee", path}, input_from(file));
  CHECK(teed.status == 0);
  CHECK(teed.output == content_of(file));
  CHECK(reader.finish().output == content_of(file));
}

TEST_CASE("pipe tells a dead writer from the end of its bytes, by status 4") {
  const TempDir directory;
  const auto path = directory / "stream";
  Command reader({"pipe", path}, no_input);
  {
    const parley::test::Peer writer([&] {
      static auto kept = writer_of(path);
      REQUIRE(kept.write(std::as_bytes(std::span(std::string_view("half a lin"))), soon()));
    });
  }
  const auto read = reader.finish();
  CHECK(read.status == 4);
  CHECK(read.output == "half a lin");
  CHECK(read.has_one_line_of_errors());
  CHECK(read.errors.find("the writer died") != std::string::npos);
}

TEST_CASE("pipe that is killed while it writes is a dead writer, too") {
  const TempDir directory;
  const auto path = directory / "stream";
  Command reader({"pipe", path}, no_input);
  Command writer({"pipe", "-w", path}, input_from("/dev/zero"));
  while (Stream::open_or_create(path).value().status().value().bytes_waiting == 0) {
  }
  ::kill(writer.pid(), SIGTERM);
  CHECK(writer.finish().status == -SIGTERM);
  CHECK(reader.finish().status == 4);
}

TEST_CASE("pipe whose reader goes ends with status 4") {
  const TempDir directory;
  const auto path = directory / "stream";
  Command writer({"pipe", "-w", path}, input_from("/dev/zero"));
  {
    auto stream = Stream::open_or_create(path).value();
    auto reader = stream.reader().value();
    REQUIRE(reader.wait_for_writer(soon()));
    REQUIRE(reader.peek(1, soon()));
  }
  const auto written = writer.finish();
  CHECK(written.status == 4);
  CHECK(written.has_one_line_of_errors());
  CHECK(written.errors.find("nobody reads any more") != std::string::npos);
}

TEST_CASE("what pipe cannot read from standard input is no end for its reader") {
  const TempDir directory;
  const auto path = directory / "stream";
  const auto file = directory / "file";
  make_file(file, 10);
  Command reader({"pipe", path}, no_input);
  const auto written = run({"pipe", "-w", path}, input_from(file, O_WRONLY));
  CHECK(written.status == 1);
  CHECK(written.has_one_line_of_errors());
  CHECK(written.errors.find("standard input: ") != std::string::npos);
  CHECK(reader.finish().status == 4);
}

TEST_CASE("pipe waits for the other side as long as it may, and then ends with status 124") {
  const TempDir directory;
  const auto path = directory / "stream";
  for (const std::string way : {"--read", "--write"}) {
    const auto alone = run({"pipe", way, "--timeout", "0.05", path}, no_input);
    CHECK(alone.status == 124);
    CHECK(alone.has_one_line_of_errors());
    CHECK(alone.errors.find(" came in time") != std::string::npos);
  }
  // Nobody was there: the next find it new.
  Command reader({"pipe", "-r", path}, no_input);
  CHECK(run({"pipe", "-w", path}, no_input).status == 0);
  CHECK(reader.finish().status == 0);
}

TEST_CASE("pipe says so where an end is taken, or the object is none of its kind") {
  const TempDir directory;
  const auto path = directory / "stream";
  auto stream = Stream::create(path).value();
  const auto writer = stream.writer().value();
  const auto taken = run({"pipe", "-w", path}, no_input);
  CHECK(taken.status == 1);
  CHECK(taken.errors.find("it has a writer already") != std::string::npos);
  const auto mutex = directory / "mutex";
  REQUIRE(parley::Mutex::create(mutex));
  const auto other = run({"pipe", "-w", mutex}, no_input);
  CHECK(other.status == 1);
  CHECK(other.errors.find("another kind of object") != std::string::npos);
  CHECK(other.has_one_line_of_errors());
}

TEST_CASE("pipe that cannot tell which way does nothing, and says how to tell it") {
  const TempDir directory;
  const auto path = directory / "stream";
  const auto file = directory / "file";
  make_file(file, 10);
  const auto both = run({"pipe", path}, input_from(file));
  CHECK(both.status == 2);
  CHECK(both.has_one_line_of_errors());
  CHECK(both.errors.find("--write") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(path));
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"pipe"},
                                                {"pipe", "-r", "-w", path},
                                                {"pipe", "-r", "--tee", path},
                                                {"pipe", "-r", "--capacity", "1K", path},
                                                {"pipe", "-r", "--timeout", "-1", path}}) {
    CHECK(run(wrong, no_input).status == 2);
  }
}

TEST_CASE("pipe whose standard output is full of trouble says so") {
  const TempDir directory;
  const auto path = directory / "stream";
  Command reader({"pipe", "-r", path}, [] {
    no_input();
    REQUIRE(dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO) == STDOUT_FILENO);
  });
  auto writer = writer_of(path);
  CHECK(writer.write(std::as_bytes(std::span(std::string_view("x"))), soon()));
  const auto read = reader.finish();
  CHECK(read.status == 1);
  CHECK(read.errors.find("standard output: ") != std::string::npos);
  CHECK(writer.write(std::as_bytes(std::span(std::string_view("x"))), soon()).error() ==
        parley::Error::broken_pipe);
}
