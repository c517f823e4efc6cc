#include "cli/command.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include <parley/os/sysv/message_queue.hpp>
#include <parley/os/sysv/semaphore_set.hpp>
#include <parley/os/sysv/shared_memory.hpp>

namespace parley::test {
namespace {

auto make_pipe() -> std::array<int, 2> {
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  return ends;
}

[[noreturn]] void become(const std::vector<std::string>& arguments,
                         const std::function<void()>& prepare) {
  std::vector<std::string> all{PARLEY_COMMAND};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(all.size() + 1);
  for (auto& argument : all) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  prepare();
  execv(PARLEY_COMMAND, pointers.data());
  std::perror(PARLEY_COMMAND);
  _exit(127);
}

/// Reads what is there; false at the end.
auto take(int fd, std::string& into) -> bool {
  std::array<char, 65536> buffer{};
  const ssize_t count = read(fd, buffer.data(), buffer.size());
  if (count > 0) into.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0;
}

}  // namespace

auto Run::has_one_line_of_errors() const -> bool {
  return std::ranges::count(errors, '\n') == 1 && errors.ends_with('\n');
}

Command::Command(const std::vector<std::string>& arguments, const std::function<void()>& prepare) {
  const auto output = make_pipe();
  const auto errors = make_pipe();
  std::fflush(nullptr);
  // The handlers of the test program are not to see a signal that is meant for the command.
  sigset_t all{};
  sigset_t before{};
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  pid_ = fork();
  if (pid_ == 0) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    setpgid(0, 0);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(nothing, STDIN_FILENO);
    dup2(output[1], STDOUT_FILENO);
    dup2(errors[1], STDERR_FILENO);
    become(arguments, prepare);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  REQUIRE(pid_ >= 0);
  setpgid(pid_, pid_);  // whoever of the two is first
  close(output[1]);
  close(errors[1]);
  output_ = output[0];
  errors_ = errors[0];
}

Command::~Command() {
  if (!status_) {
    ::kill(-pid_, SIGKILL);
    finish();
  }
  close(output_);
  close(errors_);
}

auto Command::children() const -> std::vector<pid_t> {
  const auto pid = std::to_string(pid_);
  std::ifstream list("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> result;
  for (pid_t child = 0; list >> child;) result.push_back(child);
  return result;
}

auto Command::wait_for_two_children() -> bool {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0) {
    if (children().size() == 2) return true;
    usleep(200);
  }
  return false;
}

void Command::signal_all(int signal) const {
  REQUIRE(::kill(-pid_, signal) == 0);
}

auto Command::has_processes() const -> bool {
  return ::kill(-pid_, 0) == 0;
}

auto Command::line(std::size_t number) -> std::string {
  while (std::ranges::count(read_, '\n') < static_cast<std::ptrdiff_t>(number)) {
    REQUIRE(take(output_, read_));
  }
  std::istringstream lines(read_);
  std::string line;
  for (std::size_t i = 0; i < number; ++i) std::getline(lines, line);
  return line;
}

auto Command::finish() -> Run {
  Run run;
  run.output = std::exchange(read_, {});
  std::array<pollfd, 2> entries{pollfd{.fd = output_, .events = POLLIN, .revents = 0},
                                pollfd{.fd = errors_, .events = POLLIN, .revents = 0}};
  while (entries[0].fd >= 0 || entries[1].fd >= 0) {
    poll(entries.data(), entries.size(), -1);
    if (entries[0].revents != 0 && !take(output_, run.output)) entries[0].fd = -1;
    if (entries[1].revents != 0 && !take(errors_, run.errors)) entries[1].fd = -1;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  run.status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  status_ = run.status;
  return run;
}

void make_file(const std::string& path, std::size_t size_bytes) {
  std::string bytes(size_bytes, '\0');
  std::uint64_t state = 88172645463325252;
  for (auto& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<char>(state);
  }
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  REQUIRE(file.flush());
}

auto tour_names() -> std::vector<std::string> {
  const auto listed = run({"tour", "--list"});
  REQUIRE(listed.status == 0);
  std::istringstream lines(listed.output);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);)
    names.push_back(line.substr(0, line.find(' ')));
  return names;
}

PrivatePlaces::PrivatePlaces(const std::string& directory) : directory_(directory) {
  constexpr int spaces = CLONE_NEWIPC | CLONE_NEWNS;
  std::filesystem::create_directories(temporary());
  std::filesystem::create_directories(queues_directory());
  exist_ = (unshare(spaces) == 0 || unshare(spaces | CLONE_NEWUSER) == 0) &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0 &&
           mount("mqueue", queues_directory().c_str(), "mqueue", 0, nullptr) == 0;
  if (!exist_) std::printf("skipped: no namespaces here: %s\n", std::strerror(errno));
}

PrivatePlaces::~PrivatePlaces() {
  if (!exist_) return;
  umount(queues_directory().c_str());
  umount("/dev/shm");
}

auto PrivatePlaces::enter() const -> std::function<void()> {
  return [directory = temporary()] {
    if (setenv("TMPDIR", directory.c_str(), 1) != 0) _exit(126);
  };
}

auto PrivatePlaces::contents() const -> std::string {
  std::ostringstream lines;
  const auto queues = os::sysv::MessageQueue::list().value();
  const auto sets = os::sysv::SemaphoreSet::list().value();
  const auto memories = os::sysv::SharedMemory::list().value();
  for (const auto& queue : queues) lines << "queue " << queue.id << '\n';
  for (const auto& set : sets) lines << "set " << set.id << '\n';
  for (const auto& memory : memories) lines << "memory " << memory.id << '\n';
  for (const auto& place : {std::string("/dev/shm"), queues_directory(), temporary()}) {
    for (const auto& entry : std::filesystem::directory_iterator(place)) {
      lines << entry.path().string() << '\n';
    }
  }
  return lines.str();
}

}  // namespace parley::test
