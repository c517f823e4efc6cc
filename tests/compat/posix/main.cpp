// The program: on the kernel's objects, or, with --drop-in=LIBRARY, on that library's.
#define DOCTEST_CONFIG_IMPLEMENT
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "process.hpp"

namespace {

constexpr std::string_view option = "--drop-in=";

/// Runs this program again with the library before the C library, in a space of its own.
auto run_on(const char* library, char** arguments) -> int {
  char directory[] = "/tmp/parley-posix-XXXXXX";
  if (mkdtemp(directory) == nullptr || chmod(directory, 0711) != 0) return 1;
  const pid_t child = fork();
  if (child == 0) {
    setenv("PARLEY_SPACE", (std::string(directory) + "/space").c_str(), 1);
    setenv("LD_PRELOAD", library, 1);
    execv("/proc/self/exe", arguments);
    _exit(1);
  }
  const bool done = posix_test::succeeded(child);
  std::filesystem::remove_all(directory);
  return done ? 0 : 1;
}

}  // namespace

auto posix_test::sleeps(pid_t child) -> bool {
  const auto state = [&] {
    std::ifstream file("/proc/" + std::to_string(child) + "/stat");
    std::string word;
    file >> word >> word >> word;
    return word;
  };
  if (state() != "S") return false;
  usleep(20'000);  // not for a moment only
  return state() == "S";
}

auto main(int count, char** arguments) -> int {
  for (int i = 1; i < count && getenv("LD_PRELOAD") == nullptr; ++i) {
    const std::string_view argument(arguments[i]);
    if (argument.starts_with(option)) return run_on(arguments[i] + option.size(), arguments);
  }
  alarm(120);
  return doctest::Context(count, arguments).run();
}
