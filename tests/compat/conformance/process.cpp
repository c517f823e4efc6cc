#include "process.hpp"

#include <doctest/doctest.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <string>

namespace conformance {
namespace {

constexpr auto child_deadline_seconds = 40U;
volatile std::sig_atomic_t counted;

void become(const Identity& identity) {
  if (setgroups(identity.groups.size(), identity.groups.data()) != 0 ||
      setresgid(identity.gid, identity.gid, identity.gid) != 0 ||
      setresuid(identity.uid, identity.uid, identity.uid) != 0) {
    _exit(101);
  }
}

auto state_of(pid_t pid) -> char {
  const auto number = std::to_string(pid);
  std::ifstream file("/proc/" + number + "/task/" + number + "/stat");
  std::string text;
  std::getline(file, text);
  const auto end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? '?' : text[end + 2];
}

auto roles() -> std::map<std::string, Role::Body>& {
  static std::map<std::string, Role::Body> all;
  return all;
}

}  // namespace

auto becomes_true(const std::function<bool()>& condition) -> bool {
  for (int look = 0; look < 20000; ++look) {
    if (condition()) return true;
    usleep(500);
  }
  return false;
}

auto now_seconds() -> long {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec;
}

auto is_since(long earlier, long time) -> bool {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return time >= earlier && time <= now.tv_sec;
}

void wait_past(long second) {
  CHECK(becomes_true([&] { return now_seconds() > second; }));
}

auto differs_in_drop_in() -> bool {
  if (std::getenv("PARLEY_SPACE") == nullptr) return false;  // NOLINT(concurrency-mt-unsafe)
  MESSAGE("skipped: different in the drop-in, see docs/compatibility");
  return true;
}

auto bad_address() -> void* {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it leads nowhere.
  return reinterpret_cast<void*>(std::uintptr_t{8});
}

void count_signals(int flags) {
  counted = 0;
  struct sigaction action{};
  action.sa_handler = [](int) { counted = counted + 1; };
  action.sa_flags = flags;
  sigaction(SIGUSR1, &action, nullptr);
}

auto signals_counted() -> int {
  return counted;
}

auto has_capability(int number) -> bool {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("CapEff:"))
      return (std::stoull(line.substr(8), nullptr, 16) >> number & 1) != 0;
  }
  return false;
}

auto skipped_without_root() -> bool {
  if (geteuid() == 0) return false;
  std::puts("skipped: only root can be somebody else");
  return true;
}

void Link::tell(long value) const {
  (void)!send(descriptor_, &value, sizeof value, MSG_NOSIGNAL);
}

auto Link::hear() const -> long {
  long value = -1;
  ssize_t size;
  do {
    size = recv(descriptor_, &value, sizeof value, 0);
  } while (size == -1 && errno == EINTR);
  return size == sizeof value ? value : -1;
}

Child::Child(const Body& body, const Identity* identity) {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
  const auto parent = getpid();
  std::fflush(nullptr);
  pid_ = fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    alarm(child_deadline_seconds);
    close(ends[0]);
    if (identity != nullptr) become(*identity);
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // after a change of ids, which clears it
    if (getppid() != parent) _exit(102);
    const Link link(ends[1]);
    link.tell(body(link));
    _exit(0);
  }
  close(ends[1]);
  link_ = Link(ends[0]);
}

Child::Child(const std::function<long()>& body, const Identity* identity)
    : Child(Body([&body](Link) { return body(); }), identity) {}

Child::~Child() {
  kill();
  close(link_.descriptor());
}

auto Child::result() -> long {
  const auto value = hear();
  wait();
  return value;
}

void Child::wait() {
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void Child::kill() {
  signal(SIGKILL);
  wait();
}

auto Child::blocks() const -> bool {
  int asleep = 0;
  return becomes_true([&] {
    asleep = state_of(pid_) == 'S' ? asleep + 1 : 0;
    return asleep == 12;
  });
}

auto as(const Identity& identity, const std::function<long()>& body) -> long {
  return Child(body, &identity).result();
}

Role::Role(const char* name, Body body) {
  roles().emplace(name, body);
}

auto execute_role(const char* name, const std::vector<long>& numbers) -> int {
  std::vector<std::string> words{"test_conformance", "--role", name};
  for (const auto number : numbers) words.push_back(std::to_string(number));
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  return execv("/proc/self/exe", arguments.data());
}

auto run_role(int count, char** arguments) -> int {
  const auto found = roles().find(count > 2 ? arguments[2] : "");
  if (found == roles().end()) return 103;
  std::vector<long> numbers;
  numbers.reserve(static_cast<std::size_t>(count));
  for (int index = 3; index < count; ++index) numbers.push_back(std::atol(arguments[index]));
  return found->second(numbers);
}

}  // namespace conformance
