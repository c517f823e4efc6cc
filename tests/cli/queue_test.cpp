// parley send and recv: a queue in the shell, and a crash-safe queue of work.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
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

/// A queue, and the command on it.
class Queue {
 public:
  explicit Queue(const Words& options = {}) {
    Words words{"new", "queue", path};
    words.insert(words.end(), options.begin(), options.end());
    REQUIRE(run(words).status == 0);
  }

  [[nodiscard]] auto words(const std::string& subcommand, const Words& more) const -> Words {
    Words words{subcommand, path};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] auto send(const Words& more) const { return run(words("send", more)); }
  [[nodiscard]] auto recv(const Words& more) const { return run(words("recv", more)); }
  [[nodiscard]] auto received(const Words& more) const -> std::string {
    const auto outcome = recv(more);
    CAPTURE(outcome.errors);
    CHECK(outcome.status == 0);
    return outcome.output;
  }
  [[nodiscard]] auto shown() const -> json {
    return json::parse(run({"show", path, "--json"}).output).at("queue");
  }
  [[nodiscard]] auto messages() const -> int { return shown().at("messages").get<int>(); }

  TempDir directory;
  std::string path = directory / "queue";
};

/// Standard input of a command that is about to run.
auto reading(const std::string& path) {
  return [path] { dup2(open(path.c_str(), O_RDONLY), STDIN_FILENO); };
}

}  // namespace

TEST_CASE("words, files and lines arrive as they are, in their order") {
  const Queue queue;
  CHECK(queue.send({"one", "[1,2]", "", "--", "-x", "--"}).status == 0);
  CHECK(queue.received({"--count", "5"}) == "one\n[1,2]\n\n-x\n--\n");
  std::ofstream(queue.directory / "lines") << "first\n\nlast";
  CHECK(run(queue.words("send", {}), reading(queue.directory / "lines")).status == 0);
  CHECK(queue.received({"--count", "3", "--null"}) == std::string("first\0\0last\0", 12));
  CHECK(run(queue.words("send", {"--null"}), reading(queue.directory / "lines")).status == 0);
  CHECK(queue.received({"--raw"}) == "first\n\nlast");
  make_file(queue.directory / "data", 100'000);
  CHECK(queue.send({"--file", queue.directory / "data", "--file", queue.directory / "lines"})
            .status == 0);
  std::ifstream data(queue.directory / "data", std::ios::binary);
  CHECK(queue.received({"--raw"}) == std::string(std::istreambuf_iterator<char>(data), {}));
  CHECK(queue.received({"--raw"}) == "first\n\nlast");
}

TEST_CASE("recv selects by tag and priority, and its JSON tells them") {
  const Queue queue;
  CHECK(queue.send({"--tag", "5", "five"}).status == 0);
  CHECK(queue.send({"--tag", "3", "--priority", "1", "three"}).status == 0);
  CHECK(queue.send({"--tag", "9", "--priority", "2", "nine"}).status == 0);
  CHECK(queue.received({"--except", "5"}) == "three\n");
  CHECK(queue.received({"--highest"}) == "nine\n");
  CHECK(queue.recv({"--tag", "4", "--no-wait"}).status == 124);
  CHECK(queue.recv({"--up-to", "4", "--timeout", "0.01", "-E", "7"}).status == 7);
  const auto told = json::parse(queue.received({"--up-to", "6", "--json"}));
  CHECK(told.at("body") == "five");
  CHECK(told.at("tag") == 5);
  CHECK(told.at("redeliveries") == 0);
  CHECK(queue.send({"\xff\x01"}).status == 0);
  const auto binary = json::parse(queue.received({"--json"}));
  CHECK(binary.at("body").is_null());
  CHECK(binary.at("body_hex") == "ff01");
}

TEST_CASE("send and recv say in one line what is wrong") {
  const Queue queue({"--messages", "1", "--bytes", "10"});
  const auto check = [](const auto& outcome, int status, const std::string& why) {
    CAPTURE(outcome.errors);
    CHECK(outcome.status == status);
    CHECK(outcome.output.empty());
    CHECK(outcome.has_one_line_of_errors());
    CHECK(outcome.errors.find(why) != std::string::npos);
  };
  check(run({"send", queue.directory / "none", "x"}), 2, "No such file or directory");
  check(run({"recv", queue.directory / "none"}), 2, "No such file or directory");
  REQUIRE(run({"new", "mutex", queue.directory / "mutex"}).status == 0);
  check(run({"send", queue.directory / "mutex", "x"}), 2, "is another kind of object, not a queue");
  check(run({"recv", queue.directory / "mutex"}), 2, "is another kind of object, not a queue");
  check(queue.send({"--file", queue.directory / "none"}), 2, "none: No such file or directory");
  check(queue.send({"eleven bytes"}), 1, "12 bytes are more than a message of this queue has");
  check(queue.send({"--no-wait", "one", "two"}), 124, "is full");
  check(queue.recv({"--tag", "1", "--up-to", "2"}), 2, "recv: ");
  check(queue.recv({"--raw", "--json"}), 2, "recv: ");
  check(queue.recv({"--follow", "--count", "2"}), 2, "--follow");
  check(queue.send({"--tag", "x", "y"}), 2, "x");
  CHECK(queue.received({}) == "one\n");
  CHECK(run({"send", "--create", queue.directory / "new", "x"}).status == 0);
  CHECK(run({"recv", queue.directory / "new"}).output == "x\n");
}

TEST_CASE("a message that cannot be written stays in the queue") {
  const Queue queue;
  CHECK(queue.send({"precious"}).status == 0);
  const auto outcome =
      run(queue.words("recv", {}), [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); });
  CHECK(outcome.status == 1);
  CHECK(outcome.errors.find("No space left on device") != std::string::npos);
  CHECK(queue.received({}) == "precious\n");
}

TEST_CASE("with --exec the command has the message, and its success acknowledges it") {
  const Queue queue;
  CHECK(queue.send({"--tag", "4", "--priority", "2", "job"}).status == 0);
  CHECK(queue.received({"--exec", "cat; echo; env | grep ^PARLEY_MESSAGE | sort"}) ==
        "job\nPARLEY_MESSAGE_PRIORITY=2\nPARLEY_MESSAGE_REDELIVERIES=0\n"
        "PARLEY_MESSAGE_SEQUENCE=1\nPARLEY_MESSAGE_TAG=4\n");
  CHECK(queue.messages() == 0);
}

TEST_CASE("a command that fails ends recv with its status, and the message comes back") {
  const Queue queue({"--dead-letters", "99", "--redeliveries", "2"});
  CHECK(queue.send({"bad", "good"}).status == 0);
  const auto failed = queue.recv({"--follow", "--exec", "exit 3"});
  CHECK(failed.status == 3);
  CHECK(failed.has_one_line_of_errors());
  CHECK(failed.errors.find("message 1 goes back") != std::string::npos);
  CHECK(queue.recv({"--exec", "kill -9 $$"}).status == 128 + SIGKILL);
  const auto told = queue.recv({"--exec", "echo $PARLEY_MESSAGE_REDELIVERIES; exit 1"});
  CHECK(told.output == "2\n");
  // That was too often: it is out of the way of the others.
  CHECK(queue.received({"--except", "99"}) == "good\n");
  const auto letter = json::parse(queue.received({"--tag", "99", "--json"}));
  CHECK(letter.at("body") == "bad");
  CHECK(letter.at("dead_letter_of") == 0);
}

TEST_CASE("kill -9 of a worker ends its command, and another worker gets the job") {
  const Queue queue;
  CHECK(queue.send({"job"}).status == 0);
  enum class Victim { parley, holder, command, all };
  for (const auto victim : {Victim::parley, Victim::holder, Victim::command, Victim::all}) {
    Command worker(queue.words("recv", {"--exec", "echo $$; sleep 1000 & wait"}));
    const auto pid = worker.line();
    Command other(queue.words(
        "recv", {"--exec", "cat; kill -0 " + pid + " 2>/dev/null || echo , gone; exit 1"}));
    switch (victim) {
      case Victim::parley:
        kill(worker.pid(), SIGKILL);
        break;
      case Victim::holder:
        kill(worker.children().front(), SIGKILL);
        break;
      case Victim::command:
        kill(std::stoi(pid), SIGKILL);
        break;
      case Victim::all:
        worker.signal_all(SIGKILL);
        break;
    }
    const auto outcome = other.finish();
    CHECK(outcome.output.starts_with("job"));
    if (victim == Victim::parley) CHECK(outcome.output == "job, gone\n");
    worker.signal_all(SIGKILL);
    static_cast<void>(worker.finish());
  }
  CHECK(queue.messages() == 1);
  const auto told = json::parse(queue.received({"--json"}));
  CHECK(told.at("redeliveries") == 8);
}

TEST_CASE("send that waits for room ends by Ctrl-C with one line, and has sent nothing") {
  const Queue queue({"--messages", "1"});
  CHECK(queue.send({"one"}).status == 0);
  Command sender(queue.words("send", {"two"}));
  while (queue.shown().at("senders_waiting") == 0) {
  }
  sender.signal_all(SIGINT);
  const auto outcome = sender.finish();
  CHECK(outcome.status == 130);
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors.find("interrupted by signal 2") != std::string::npos);
  CHECK(queue.received({}) == "one\n");
  CHECK(queue.messages() == 0);
}

TEST_CASE("recv --follow goes on until Ctrl-C and loses nothing") {
  const Queue queue;
  for (const Words& how : {Words{}, Words{"--exec", "cat; echo"}}) {
    Words more{"--follow"};
    more.insert(more.end(), how.begin(), how.end());
    Command follower(queue.words("recv", more));
    CHECK(queue.send({"one"}).status == 0);
    CHECK(follower.line(1) == "one");
    CHECK(queue.send({"two"}).status == 0);
    CHECK(follower.line(2) == "two");
    follower.signal_all(SIGINT);
    const auto outcome = follower.finish();
    CHECK(outcome.status == 130);
    CHECK(outcome.has_one_line_of_errors());
    CHECK(outcome.errors.find("interrupted by signal 2") != std::string::npos);
    CHECK_FALSE(follower.has_processes());
    CHECK(queue.send({"three"}).status == 0);
    CHECK(queue.recv({"--tag", "0"}).output.ends_with("three\n"));
  }
}
