#include "support/peer.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>

namespace parley::test {
namespace {

auto run_body(const std::function<void()>& body) -> int {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peer: %s\n", error.what());
  } catch (...) {
    std::fprintf(stderr, "peer: a REQUIRE failed\n");
  }
  return 1;
}

auto state_of(pid_t pid) -> char {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const auto end_of_name = line.rfind(')');
  return end_of_name == std::string::npos ? 'X' : line.at(end_of_name + 2);
}

}  // namespace

Peer::Peer(const std::function<void()>& body) : pid_(-1) {
  const pid_t parent = getpid();
  std::fflush(nullptr);
  pid_ = fork();
  REQUIRE(pid_ >= 0);
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int status = getppid() == parent ? run_body(body) : 1;
  std::fflush(nullptr);
  _exit(status);
}

Peer::~Peer() {
  if (!ended_) CHECK(wait() == 0);
}

auto Peer::wait() -> int {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  ended_ = true;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void Peer::kill() {
  ::kill(pid_, SIGKILL);
  CHECK(wait() == -SIGKILL);
}

auto is_asleep(pid_t pid) -> bool {
  return state_of(pid) == 'S';
}

void wait_until_asleep(pid_t pid) {
  for (int seen = 0; seen < 3;) {
    const char state = state_of(pid);
    REQUIRE(state != 'X');
    REQUIRE(state != 'Z');
    seen = state == 'S' ? seen + 1 : 0;
    usleep(1000);
  }
}

}  // namespace parley::test
