// parley new, ls, show and rm.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using nlohmann::json;
using parley::test::Command;
using parley::test::make_file;
using parley::test::run;
using parley::test::TempDir;
using Words = std::vector<std::string>;

namespace {

void check_refused(const Words& arguments, int status, const std::string& why) {
  CAPTURE(arguments);
  const auto outcome = run(arguments);
  CAPTURE(outcome.errors);
  CHECK(outcome.status == status);
  CHECK(outcome.output.empty());
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors.find(why) != std::string::npos);
}

void check_made(const Words& arguments) {
  CAPTURE(arguments);
  const auto outcome = run(arguments);
  CAPTURE(outcome.errors);
  CHECK(outcome.status == 0);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors.empty());
}

/// One object of each kind.
void make_all(const TempDir& directory) {
  check_made({"new", "mutex", directory / "a mutex"});
  check_made({"new", "semaphores", directory / "semaphores", "3", "0", "--mode", "640"});
  check_made({"new", "memory", directory / "memory", "3k", "--growable"});
  check_made({"new", "stream", directory / "stream", "--capacity", "8k"});
  check_made({"new", "queue", directory / "queue", "--messages", "9", "--bytes", "1M"});
}

auto shown(const std::string& path) -> json {
  const auto outcome = run({"show", path, "--json"});
  CAPTURE(outcome.errors);
  REQUIRE(outcome.status == 0);
  return json::parse(outcome.output);
}

}  // namespace

TEST_CASE("new makes each kind as it was told, and show tells it") {
  const TempDir directory;
  make_all(directory);
  CHECK(shown(directory / "a mutex").at("mutex").at("holder").is_null());
  const auto set = shown(directory / "semaphores");
  CHECK(set.at("mode") == "0640");
  CHECK(set.at("semaphores").at("values").at(0).at("value") == 3);
  CHECK(set.at("semaphores").at("values").size() == 2);
  CHECK(set.at("semaphores").at("undo") == true);
  CHECK(shown(directory / "memory").at("memory").at("size_bytes") == 3072);
  CHECK(shown(directory / "memory").at("memory").at("growable") == true);
  const auto stream = shown(directory / "stream").at("stream");
  CHECK(stream.at("capacity_bytes") == 8192);
  CHECK(stream.at("rings").size() == 1);
  CHECK(stream.at("rings").at(0).at("writer").at("holder").is_null());
  CHECK(shown(directory / "queue").at("queue").at("messages_at_most") == 9);
  CHECK(shown(directory / "queue").at("queue").at("bytes_at_most") == 1 << 20);
  for (const auto* name : {"a mutex", "semaphores", "memory", "stream", "queue"}) {
    const auto text = run({"show", directory / name});
    CHECK(text.status == 0);
    CHECK(text.output.find("kind") != std::string::npos);
    CHECK(text.output.find(directory / name) != std::string::npos);
  }
  const auto made = run({"new", "mutex", directory / "other", "--json"});
  CHECK(json::parse(made.output).at("kind") == "mutex");
}

TEST_CASE("new refuses what it cannot make, and leaves nothing behind") {
  const TempDir directory;
  check_made({"new", "mutex", directory / "taken"});
  check_refused({"new", "mutex", directory / "taken"}, 2, "is there already");
  const std::string kinds = "; there are mutex, semaphores, memory, stream, queue;";
  check_refused({"new"}, 2, "new: names no kind" + kinds);
  check_refused({"new", "pigeon", directory / "x"}, 2, "new: pigeon: no such kind" + kinds);
  check_refused({"new", "mutex", directory / "x", "--mode", "999"}, 2, "999 is no mode");
  check_refused({"new", "semaphores", directory / "x"}, 2, "VALUE is required");
  check_refused({"new", "semaphores", directory / "x", "40000"}, 2, "new: ");
  check_refused({"new", "memory", directory / "x", "0"}, 2, "out of its bounds");
  check_refused({"new", "queue", directory / "x", "--bytes", "0"}, 2, "out of its bounds");
  check_refused({"new", "queue", directory / "x", "--redeliveries", "3"}, 2, "--dead-letters");
  check_refused({"new", "mutex", directory / "no/x"}, 2, "No such file or directory");
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
}

TEST_CASE("ls lists the objects of a directory and nothing else") {
  const TempDir directory;
  make_all(directory);
  make_file(directory / "file", 10'000);
  make_file(directory / "short", 3);
  REQUIRE(mkfifo((directory / "fifo").c_str(), 0600) == 0);
  std::filesystem::create_directory(directory / "more");
  const auto outcome = run({"ls", directory.path(), "--json"});
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  const auto all = json::parse(outcome.output);
  REQUIRE(all.size() == 5);
  CHECK(all.at(0).at("name") == "a mutex");
  CHECK(all.at(0).at("kind") == "mutex");
  CHECK(all.at(0).at("participants_alive") == 0);
  CHECK(all.at(3).at("kind") == "semaphores");
  const auto text = run({"ls", directory.path()}).output;
  CHECK(std::ranges::count(text, '\n') == 6);
  CHECK(text.find("fifo") == std::string::npos);
  check_refused({"ls", directory / "none"}, 2, "No such file or directory");
}

TEST_CASE("ls without a directory lists the default one, which need not be there") {
  const TempDir directory;
  const auto there = [&] { setenv("XDG_RUNTIME_DIR", directory.path().c_str(), 1); };
  const auto none = run({"ls"}, there);
  CHECK(none.status == 0);
  CHECK(none.output.empty());
  CHECK_FALSE(std::filesystem::exists(directory / "parley"));
  CHECK(run({"new", "mutex", "bare"}, there).status == 0);
  CHECK(json::parse(run({"ls", "--json"}, there).output).at(0).at("name") == "bare");
  CHECK(run({"rm", "bare"}, there).status == 0);
  CHECK(run({"ls"}, there).output.empty());
}

TEST_CASE("show tells who takes part in a live object, and what a killed one has left") {
  const TempDir directory;
  const std::string path = directory / "sem";
  Command holding({"sem", path, "--max", "2", "--", "sh", "-c", "echo begun; exec sleep 1000"});
  holding.line();
  const auto alive = shown(path);
  CHECK(alive.at("steady") == true);
  REQUIRE(alive.at("participants").size() == 1);
  CHECK(alive.at("participants").at(0).at("alive") == true);
  CHECK(alive.at("participants").at(0).at("process") == holding.children().at(0));
  CHECK(alive.at("participants").at(0).at("adjustments") == 1);
  CHECK(alive.at("semaphores").at("values").at(0).at("value") == 1);
  CHECK(alive.at("left_by_the_dead").at("participants") == 0);
  holding.signal_all(SIGKILL);
  static_cast<void>(holding.finish());
  const auto dead = shown(path);
  CHECK(dead.at("participants").at(0).at("alive") == false);
  CHECK(dead.at("left_by_the_dead").at("adjustments") == 1);
  CHECK(run({"show", path}).output.find("left by dead") != std::string::npos);
}

TEST_CASE("show says what cannot be shown") {
  const TempDir directory;
  make_file(directory / "file", 10'000);
  check_refused({"show", directory / "file"}, 2, "file: is no Parley object");
  check_refused({"show", directory / "none"}, 2, "No such file or directory");
  check_refused({"show", directory.path()}, 2, "is no Parley object");
  check_refused({"show"}, 2, "PATH is required");
  check_refused({"show", "x", "--interval", "soon"}, 2, "no number of seconds");
}

TEST_CASE("show --watch goes on until Ctrl-C, which is status 130") {
  const TempDir directory;
  check_made({"new", "queue", directory / "queue"});
  Command watching({"show", directory / "queue", "--watch", "--json", "--interval", "0.01"});
  for (std::size_t line = 1; line <= 3; ++line) {
    CHECK(json::parse(watching.line(line)).at("rates").at("sent_per_second") == 0.0);
  }
  watching.signal_all(SIGINT);
  CHECK(watching.finish().status == 130);
}

TEST_CASE("show and ls tell how much a stream and a queue carry") {
  const TempDir directory;
  make_all(directory);
  const Command carrying({"pipe", "--write", directory / "stream"},
                         [] { dup2(open("/dev/zero", O_RDONLY), STDIN_FILENO); });
  const Command draining({"pipe", "--read", directory / "stream"},
                         [] { dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO); });
  while (shown(directory / "stream").at("stream").at("rings").at(0).at("read_bytes") == 0) {
  }
  const auto shown_once =
      json::parse(run({"show", directory / "stream", "--json", "--interval", "0.3"}).output);
  const auto& ring = shown_once.at("rates").at("rings").at(0);
  CHECK(ring.at("written_bytes_per_second") > 0.0);
  CHECK(ring.at("read_bytes_per_second") > 0.0);
  const auto listed =
      json::parse(run({"ls", directory.path(), "--json", "--interval", "0.3"}).output);
  CHECK_FALSE(listed.at(0).contains("rates"));
  CHECK(listed.at(2).at("rates").at("sent_per_second") == 0.0);
  CHECK(listed.at(4).at("rates").at("rings").at(0).at("read_bytes_per_second") > 0.0);
  for (const auto& words : {Words{"show", directory / "stream", "--interval", "0.1"},
                            Words{"ls", directory.path(), "--interval", "0.1"}}) {
    const auto text = run(words).output;
    CHECK(text.find(words.front() == "show" ? "per second" : "IN/S") != std::string::npos);
  }
  carrying.signal_all(SIGKILL);
  draining.signal_all(SIGKILL);
}

TEST_CASE("rm removes objects that nobody uses, and nothing else") {
  const TempDir directory;
  make_all(directory);
  make_file(directory / "file", 10'000);
  check_refused({"rm", directory / "file"}, 1, "is no Parley object");
  check_refused({"rm", directory / "file", "--force"}, 1, "is no Parley object");
  check_refused({"rm", directory / "none"}, 1, "No such file or directory");
  Command holding({"lock", directory / "a mutex", "--", "sh", "-c", "echo begun; exec sleep 1000"});
  holding.line();
  check_refused({"rm", directory / "a mutex"}, 1, "--force");
  CHECK(std::filesystem::exists(directory / "a mutex"));
  check_made({"rm", directory / "a mutex", "--force"});
  for (const auto* name : {"semaphores", "memory", "stream"}) check_made({"rm", directory / name});
  const auto told = json::parse(run({"rm", directory / "queue", "--json"}).output);
  CHECK(told.at("path") == directory / "queue");
  CHECK(told.at("kind") == "queue");
  CHECK(told.at("participants_alive") == 0);
  const auto refused = run({"rm", directory / "queue", "--json"});
  CHECK(refused.status == 1);
  CHECK(refused.output.empty());
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
}
