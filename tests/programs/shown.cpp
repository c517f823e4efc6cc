// A program that tells what it was started with: descriptors, arguments, environment, directory,
// signals. Writes to the descriptor whose number is its first argument; with a second argument
// "stay" it then closes that one and sleeps until it is killed; another number is its exit status.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <parley/os/child.hpp>

namespace {

auto number_in(std::string_view text) -> int {
  int number = -1;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// "fd NUMBER INODE" for each descriptor that is open.
auto descriptors() -> std::string {
  std::string lines;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return "no /proc\n";
  while (const dirent* entry = readdir(folder)) {  // NOLINT(concurrency-mt-unsafe)
    const int number = number_in(entry->d_name);
    struct stat status{};
    if (number < 0 || number == dirfd(folder) || fstat(number, &status) != 0) continue;
    lines += "fd " + std::to_string(number) + " " + std::to_string(status.st_ino) + "\n";
  }
  closedir(folder);
  return lines;
}

auto signals() -> std::string {
  std::string lines;
  sigset_t mask{};
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    struct sigaction action{};
    if (sigaction(signal, nullptr, &action) != 0) continue;
    const std::string number = std::to_string(signal) + "\n";
    if (sigismember(&mask, signal) == 1) lines += "blocked " + number;
    if (action.sa_handler == SIG_IGN) lines += "ignored " + number;
  }
  return lines;
}

}  // namespace

auto main(int count, char** values) -> int {
  const std::span arguments(values, static_cast<std::size_t>(count));
  if (arguments.size() < 2) return 2;
  std::string lines = descriptors() + signals();
  for (const char* argument : arguments) lines += std::string("argument ") + argument + "\n";
  for (char** entry = environ; *entry != nullptr; ++entry) {
    lines += std::string("environment ") + *entry + "\n";
  }
  char folder[4096];
  if (getcwd(folder, sizeof folder) != nullptr) lines += std::string("folder ") + folder + "\n";
  lines += "session " + std::to_string(getsid(0)) + "\ngroup " + std::to_string(getpgid(0)) + "\n";
  {
    auto to = parley::os::Child::inherited(number_in(arguments[1]));
    if (!to || !parley::os::closes_on_exec(*to).value_or(false)) return 3;
    if (write(to->number(), lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) {
      return 4;
    }
  }
  if (arguments.size() < 3) return 0;
  while (arguments[2] == std::string_view("stay")) pause();
  return number_in(arguments[2]);
}
