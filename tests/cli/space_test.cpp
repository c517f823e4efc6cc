// `parley space`, `parley ipcs` and `parley ipcrm`.
#include <doctest/doctest.h>
#include <sys/ipc.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <parley/message_queue.hpp>
#include <parley/space.hpp>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using nlohmann::json;
using parley::MessageQueue;
using parley::Result;
using parley::Space;
using parley::SpaceEntry;
using parley::SpaceKind;
using parley::test::Command;
using parley::test::run;
using parley::test::TempDir;

namespace {

constexpr key_t key = 0x51;

/// A space with an object of each kind and three names.
class Filled {
 public:
  Filled() : path_(directory_ / "space"), space_(Space::open_or_create(path_).value()) {
    add(SpaceKind::messages, 16384, [](const SpaceEntry&, const std::string& path) {
      constexpr std::array text{'h', 'e', 'l', 'l', 'o'};
      auto queue = MessageQueue::create(path, {});
      REQUIRE(queue);
      REQUIRE(queue->send(std::as_bytes(std::span(text)), {}, parley::Deadline::now()));
      return Result<void>();
    });
    const auto nothing = [](const SpaceEntry&, const std::string&) { return Result<void>(); };
    add(SpaceKind::semaphores, 3, nothing);
    add(SpaceKind::memory, 4096, nothing);
    std::ofstream(space_.posix_queues() + "jobs") << "";
    std::ofstream(space_.posix_semaphores() + "gate") << "";
    std::ofstream(space_.posix_memory() + "picture") << "1234567";
  }

  [[nodiscard]] auto path() const -> const std::string& { return path_; }
  auto ipcs() const -> json {
    return json::parse(run({"ipcs", "--json", "--space", path_}).output);
  }
  auto ipcrm(const std::vector<std::string>& what) const -> parley::test::Run {
    std::vector<std::string> all{"ipcrm", "--space", path_};
    all.insert(all.end(), what.begin(), what.end());
    return run(all);
  }

 private:
  void add(SpaceKind kind, std::uint64_t size, const parley::SpaceTable::Make& make) {
    const auto id =
        space_.table(kind).get({.key = key,
                                .flags = IPC_CREAT | 0640,
                                .size = size,
                                .objects_at_most = 100,
                                .total_at_most = 1'000'000,
                                .process = getpid()},
                               {.uid = geteuid(), .gid = getegid(), .groups = {}}, {}, make);
    REQUIRE(id == 0);
  }

  TempDir directory_;
  std::string path_;
  Space space_;
};

}  // namespace

TEST_CASE("ipcs tells of every object, as text and as JSON") {
  const Filled filled;
  const auto all = filled.ipcs();
  CHECK(all["queues"][0]["key"] == key);
  CHECK(all["queues"][0]["messages"] == 1);
  CHECK(all["queues"][0]["bytes"] == 5);
  CHECK(all["queues"][0]["bytes_at_most"] == 16384);
  CHECK(all["semaphores"][0]["count"] == 3);
  CHECK(all["semaphores"][0]["mode"] == 0640);
  CHECK(all["memory"][0]["bytes"] == 4096);
  CHECK(all["memory"][0]["uid"] == geteuid());
  CHECK(all["posix"].size() == 3);
  CHECK(all["posix"][0]["name"] == "/picture");
  CHECK(all["posix"][0]["bytes"] == 7);
  const auto text = run({"ipcs", "--space", filled.path()}).output;
  CHECK(text.find("0x00000051 0 ") != std::string::npos);
  CHECK(text.find("/gate\n") != std::string::npos);
  const auto one = run({"ipcs", "-s", "--space", filled.path()}).output;
  CHECK(one.find("Semaphore Arrays") != std::string::npos);
  CHECK(one.find("Queues") == std::string::npos);
}

TEST_CASE("ipcs and ipcrm work on the space of PARLEY_SPACE") {
  const Filled filled;
  const auto enter = [&] { setenv("PARLEY_SPACE", filled.path().c_str(), 1); };
  CHECK(run({"ipcs", "-s"}, enter).output.find("0x00000051") != std::string::npos);
  CHECK(run({"ipcrm", "-s", "0"}, enter).status == 0);
  CHECK(filled.ipcs()["semaphores"].empty());
}

TEST_CASE("ipcrm removes by id, by key and by name; what there is not is told") {
  const Filled filled;
  CHECK(filled.ipcrm({"-q", "0"}).status == 0);
  CHECK(filled.ipcrm({"-S", "0x51", "-M", "81"}).status == 0);
  CHECK(filled.ipcrm({"--posix-queue", "/jobs", "--posix-memory", "picture"}).status == 0);
  const auto left = filled.ipcs();
  CHECK(left["queues"].empty());
  CHECK(left["semaphores"].empty());
  CHECK(left["memory"].empty());
  CHECK(left["posix"].size() == 1);
  for (const auto& what : std::vector<std::vector<std::string>>{{"-q", "0"},
                                                                {"-Q", "0x51"},
                                                                {"-Q", "word"},
                                                                {"-Q", "0"},
                                                                {"--posix-memory", "/picture"},
                                                                {"--posix-memory", "../limits"}}) {
    CAPTURE(what);
    const auto refused = filled.ipcrm(what);
    CHECK(refused.status == 1);
    CHECK(refused.has_one_line_of_errors());
  }
  CHECK(filled.ipcrm({"--posix-semaphore", "/gate"}).status == 0);
  CHECK(filled.ipcs()["posix"].empty());
}

TEST_CASE("space show tells of limits and objects, space rm removes all of it") {
  const Filled filled;
  const auto shown = json::parse(run({"space", "show", "--json", filled.path()}).output);
  CHECK(shown["limits"]["semmsl"] == 32000);
  CHECK(shown["objects"] == filled.ipcs());
  CHECK(run({"space", "show", filled.path()}).output.find("msgmnb") != std::string::npos);
  CHECK(run({"space", "rm", filled.path()}).status == 0);
  CHECK_FALSE(std::filesystem::exists(filled.path()));
  CHECK(run({"space", "show", filled.path()}).status == 2);
}

TEST_CASE("space rm removes nothing but a space") {
  const TempDir directory;
  std::ofstream(directory / "file") << "";
  const auto refused = run({"space", "rm", directory / ""});
  CHECK(refused.status == 1);
  CHECK(refused.has_one_line_of_errors());
  CHECK(std::filesystem::exists(directory / "file"));
}

TEST_CASE("space ls tells of the spaces of running programs, which rm spares") {
  const TempDir directory;
  const auto enter = [&] { setenv("XDG_RUNTIME_DIR", std::string(directory / "").c_str(), 1); };
  CHECK(json::parse(run({"space", "ls", "--json"}, enter).output).empty());
  Command command({"run", "--", "sh", "-c", "ipcmk -S 1 >&2; echo; exec sleep 1000"}, enter);
  command.line();
  const auto spaces = json::parse(run({"space", "ls", "--json"}, enter).output);
  REQUIRE(spaces.size() == 1);
  CHECK(spaces[0]["state"] == "in use");
  CHECK(spaces[0]["semaphores"] == 1);
  const auto path = spaces[0]["path"].get<std::string>();
  CHECK(run({"space", "ls"}, enter).output.find(path) != std::string::npos);
  CHECK(run({"space", "rm", path}, enter).status == 1);
  CHECK(std::filesystem::exists(path));
  CHECK(run({"space", "rm", "--force", path}, enter).status == 0);
  CHECK_FALSE(std::filesystem::exists(path));
}
