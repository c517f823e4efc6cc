// `parley run`: programs that know nothing of Parley, on a space's objects.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <parley/space.hpp>

#include "cli/command.hpp"
#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

using parley::test::Command;
using parley::test::run;
using parley::test::TempDir;
using parley::test::wait_until_asleep;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

namespace {

/// A place for private spaces, with nothing else in it.
class Home {
 public:
  [[nodiscard]] auto enter() const -> std::function<void()> {
    return [this] { setenv("XDG_RUNTIME_DIR", std::string(directory_ / "").c_str(), 1); };
  }

  [[nodiscard]] auto spaces() const -> std::size_t {
    std::error_code none;
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(directory_ / "parley", none)) {
      count += entry.path().filename().string().starts_with("run.") ? 1U : 0U;
    }
    return count;
  }

  [[nodiscard]] auto path(const std::string& name) const -> std::string {
    return directory_ / name;
  }

  auto shell(const std::string& script, const Words& options = {}) const -> parley::test::Run {
    Words words{"run"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"--", "bash", "-c", script});
    return run(words, enter());
  }

 private:
  TempDir directory_;
};

auto is_alive(pid_t pid) -> bool {
  return kill(pid, 0) == 0;
}

/// What the dead leave is cleaned up by a process that nobody here waits for.
void await(const std::function<bool()>& is_so) {
  for (int looks = 0; looks < 10'000 && !is_so(); ++looks) usleep(1000);
  CHECK(is_so());
}

/// Everything of the kernel's System V objects, as /proc tells it.
auto kernel_objects() -> std::string {
  std::string all;
  for (const auto* kind : {"sem", "msg", "shm"}) {
    std::ifstream file(std::string("/proc/sysvipc/") + kind);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  return all;
}

}  // namespace

TEST_CASE("a program has the space's objects, not the kernel's, and its status is passed on") {
  const Home home;
  const auto before = kernel_objects();
  const auto made = home.shell("ipcmk -S 3 && ipcs -s -i 0 | grep nsems; exit 7");
  CHECK(made.errors.empty());
  CHECK(made.output == "Semaphore id: 0\nnsems = 3\n");
  CHECK(made.status == 7);
  CHECK(kernel_objects() == before);
  CHECK(home.spaces() == 0);
  CHECK(home.shell("kill -TERM $$").status == 128 + SIGTERM);
}

TEST_CASE("the system's own tools see what the program sees, and its limits") {
  const Home home;
  const auto told = home.shell(
      "ipcmk -S 3 -p 0640; tail -n1 /proc/sysvipc/sem; cat /proc/sys/kernel/sem; "
      "ipcs -s | grep -c 640; ipcrm -s 0; wc -l < /proc/sysvipc/sem",
      {"--limit", "semmni=77", "--limit", "semmsl=11"});
  CAPTURE(told.output);
  CHECK(told.errors.empty());
  CHECK(told.output.starts_with("Semaphore id: 0\n"));
  CHECK(told.output.find("\n11\t1024000000\t500\t77\n1\n1\n") != std::string::npos);
  CHECK(told.output.find("          0   640          3") != std::string::npos);
}

TEST_CASE("a limit is kept, and may not be written to from inside") {
  const Home home;
  CHECK(home.shell("ipcmk -S 4", {"--limit", "semmsl=3"}).status == 1);
  CHECK(home.shell("ipcmk -S 3", {"--limit", "semmsl=3"}).status == 0);
  CHECK(home.shell("echo 1 > /proc/sys/kernel/sem").errors.find("Permission denied") !=
        std::string::npos);
}

TEST_CASE("every other file is opened as ever, with the mode that was asked for") {
  const Home home;
  const auto told = home.shell("umask 022; echo text > " + home.path("file") + "; cat " +
                               home.path("file") + "; stat -c %a " + home.path("file"));
  CHECK(told.output == "text\n644\n");
  CHECK(home.shell("cat " + home.path("none")).status == 1);
}

TEST_CASE("what was preloaded stays so") {
  const Home home;
  const auto told = run({"run", "--", "sh", "-c", "echo $LD_PRELOAD"}, [&] {
    home.enter()();
    setenv("LD_PRELOAD", "libm.so.6", 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
  });
  CHECK(told.output.ends_with("/libparley-compat.so:libm.so.6\n"));
}

TEST_CASE("a space that is named stays, and is shared") {
  const Home home;
  const auto space = home.path("space");
  CHECK(home.shell("ipcmk -S 2", {"--space", space}).output == "Semaphore id: 0\n");
  CHECK(home.shell("ipcmk -S 2", {"--space", space}).output == "Semaphore id: 1\n");
  CHECK(home.shell("ipcs -s | grep -c '^0x'", {"--space", space}).output == "2\n");
  const auto other = home.shell("true", {"--space", space, "--limit", "semmni=5"});
  CHECK(other.status == 2);
  CHECK(other.has_one_line_of_errors());
}

TEST_CASE("--ipcs tells on standard error what is left") {
  const Home home;
  const auto told = home.shell("ipcmk -S 9 >/dev/null", {"--ipcs"});
  CHECK(told.output.empty());
  CHECK(told.errors.find("Semaphore Arrays") != std::string::npos);
  CHECK(told.errors.find("644        9\n") != std::string::npos);
}

TEST_CASE("a limit that there is not is refused with those that there are") {
  const Home home;
  const auto unknown = home.shell("true", {"--limit", "semmax=3"});
  CHECK(unknown.status == 2);
  CHECK(unknown.has_one_line_of_errors());
  CHECK(unknown.errors.find("semmsl, semmns, semopm") != std::string::npos);
  CHECK(home.shell("true", {"--limit", "semmsl=32001"}).errors.find("32000 at most") !=
        std::string::npos);
  CHECK(home.shell("true", {"--limit", "semmsl"}).status == 2);
}

TEST_CASE("a program that the drop-in does not reach is not run") {
  const Home home;
  const auto refused = [&](const std::string& program, const std::string& why) {
    const auto outcome = run({"run", "--", program}, home.enter());
    CAPTURE(outcome.errors);
    CHECK(outcome.status == 126);
    CHECK(outcome.has_one_line_of_errors());
    CHECK(outcome.errors.find(why) != std::string::npos);
    CHECK(outcome.output.empty());
  };
  const auto source = home.path("main.c");
  std::ofstream(source) << "int main(void) { return 0; }\n";
  const auto program = home.path("static");
  REQUIRE(std::system(("gcc -static -o " + program + " " + source).c_str()) == 0);
  refused(program, "it is linked statically");
  const auto script = home.path("script");
  std::ofstream(script) << "#! " << program << " -x\n";
  fs::permissions(script, fs::perms::owner_all);
  refused(script, program + ": it is linked statically");
  // Bytes 4, 18 and 19 of an ELF file: its class and its machine.
  const auto foreign = home.path("foreign");
  fs::copy_file("/bin/true", foreign);
  std::fstream(foreign, std::ios::in | std::ios::out | std::ios::binary).seekp(18).put(3);
  refused(foreign, "another architecture");
  CHECK(home.spaces() == 0);
}

TEST_CASE("a program that gets another's rights is not run") {
  if (geteuid() != 0) return parley::test::skip("needs root, to give a file to another user");
  const Home home;
  const auto program = home.path("true");
  fs::copy_file("/bin/true", program);
  REQUIRE(chown(program.c_str(), 65534, 65534) == 0);
  REQUIRE(chmod(program.c_str(), 04755) == 0);
  const auto refused = run({"run", "--", program}, home.enter());
  CHECK(refused.status == 126);
  CHECK(refused.errors.find("rights of another user") != std::string::npos);
  REQUIRE(chmod(program.c_str(), 0755) == 0);
  CHECK(run({"run", "--", program}, home.enter()).status == 0);
}

TEST_CASE("a command that is not there ends with 127, one that is no program with 126") {
  const Home home;
  CHECK(run({"run", "--", "no-such-program"}, home.enter()).status == 127);
  CHECK(run({"run", "--", "/etc/passwd"}, home.enter()).status == 126);
  CHECK(run({"run", "--"}, home.enter()).status == 2);
  CHECK(home.spaces() == 0);
}

TEST_CASE("Ctrl-C goes to the program, and SIGTERM is passed on") {
  const Home home;
  const Words words{"run", "--", "sh", "-c",
                    "trap 'exit 3' INT TERM; echo; while :; do sleep 0.05; done"};
  {
    Command command(words, home.enter());
    command.line();
    command.signal_all(SIGINT);
    CHECK(command.finish().status == 3);
  }
  Command command(words, home.enter());
  command.line();
  REQUIRE(kill(command.pid(), SIGTERM) == 0);
  CHECK(command.finish().status == 3);
  CHECK(home.spaces() == 0);
}

TEST_CASE("a program that is killed leaves no space") {
  const Home home;
  Command command({"run", "--", "sh", "-c", "ipcmk -S 1 >/dev/null; echo $$; exec sleep 1000"},
                  home.enter());
  const auto shell = std::stoi(command.line());
  CHECK(home.spaces() == 1);
  kill(shell, SIGKILL);
  CHECK(command.finish().status == 128 + SIGKILL);
  CHECK(home.spaces() == 0);
}

TEST_CASE("a daemon keeps the space, and parley waits for it") {
  const Home home;
  // Its double fork, new session and closed descriptors change nothing.
  Command command({"run", "--", "bash", "-c",
                   "setsid sh -c 'echo $$; exec >&- 2>&-; exec sleep 1000' & disown; exit 5"},
                  home.enter());
  const auto daemon = std::stoi(command.line());
  wait_until_asleep(command.pid());
  CHECK(home.spaces() == 1);
  CHECK(is_alive(daemon));
  REQUIRE(kill(command.pid(), SIGTERM) == 0);  // once the program is gone: to the daemon
  CHECK(command.finish().status == 5);
  CHECK_FALSE(is_alive(daemon));
  CHECK(home.spaces() == 0);
}

TEST_CASE("parley is killed: the program goes with it, and the space") {
  const Home home;
  Command command({"run", "--", "sh", "-c", "setsid sleep 1000 & echo $! $$; wait"}, home.enter());
  const auto line = command.line();
  kill(command.pid(), SIGKILL);
  CHECK(command.finish().status == -SIGKILL);
  await([&] { return home.spaces() == 0; });
  await([&] { return !is_alive(std::stoi(line)); });
}

TEST_CASE("the holder is killed: parley ends the program and removes the space") {
  const Home home;
  Command command({"run", "--", "sh", "-c", "setsid sleep 1000 & echo $!; wait"}, home.enter());
  const auto child = std::stoi(command.line());
  kill(command.children().front(), SIGKILL);
  CHECK(command.finish().status == 128 + SIGKILL);
  CHECK_FALSE(is_alive(child));
  CHECK(home.spaces() == 0);
}

TEST_CASE("a space whose keepers were all killed is removed by the next run, one in use is not") {
  const Home home;
  Command used({"run", "--", "sh", "-c", "echo; exec sleep 1000"}, home.enter());
  used.line();
  Command command({"run", "--", "sh", "-c", "echo $$; exec sleep 1000"}, home.enter());
  const auto program = std::stoi(command.line());
  const auto holder = command.children().front();
  // Stopped, so that neither sees the other's end.
  for (const pid_t each : {holder, command.pid()}) kill(each, SIGSTOP);
  for (const pid_t each : {holder, command.pid(), pid_t{program}}) kill(each, SIGKILL);
  command.finish();
  await([&] { return !is_alive(holder); });
  CHECK(home.spaces() == 2);
  CHECK(home.shell("true").status == 0);
  CHECK(home.spaces() == 1);
}

TEST_CASE("a process that finds no drop-in beside it says so") {
  const Home home;
  const auto copy = home.path("parley");
  fs::copy_file(PARLEY_COMMAND, copy);
  const auto errors = home.path("errors");
  const int status = std::system((copy + " run -- true 2>" + errors).c_str());
  CHECK(WEXITSTATUS(status) == 125);
  std::ifstream file(errors);
  std::string line;
  std::getline(file, line);
  CHECK(line == "parley: run: libparley-compat.so is not where it was installed");
}
