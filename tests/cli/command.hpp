// Runs the built command as a person would, and looks at what it said and left behind.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace parley::test {

/// How a run of the command ended, and all that it wrote.
struct Run {
  int status = -1;  ///< The exit status, or minus the number of the signal that ended it.
  std::string output;
  std::string errors;

  /// One line, not more and not less, on standard error.
  [[nodiscard]] auto has_one_line_of_errors() const -> bool;
};

/// The command, started in a process group of its own and not yet waited for.
class Command {
 public:
  /// `prepare` runs in the new process before the command does.
  explicit Command(
      const std::vector<std::string>& arguments, const std::function<void()>& prepare = [] {});
  Command(const Command&) = delete;
  auto operator=(const Command&) -> Command& = delete;
  ~Command();

  [[nodiscard]] auto pid() const -> pid_t { return pid_; }

  /// The processes that it has started and that still run, in the order in which it started them.
  [[nodiscard]] auto children() const -> std::vector<pid_t>;

  /// Waits until there are two of them; false if the command ended before.
  [[nodiscard]] auto wait_for_two_children() -> bool;

  /// Reads on until it has written so many lines; the last of them. Fails the test if it ends
  /// before.
  auto line(std::size_t number = 1) -> std::string;

  /// To the whole process group, as a terminal does.
  void signal_all(int signal) const;

  /// Whether a process of the group, ended or not, is there.
  [[nodiscard]] auto has_processes() const -> bool;

  /// Reads all that it writes until it ends.
  auto finish() -> Run;

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
  std::string read_;  ///< Of its standard output.
  int output_ = -1;
  int errors_ = -1;
};

inline auto run(
    const std::vector<std::string>& arguments, const std::function<void()>& prepare = [] {})
    -> Run {
  return Command(arguments, prepare).finish();
}

/// A file of so many bytes, no two blocks of which are alike.
void make_file(const std::string& path, std::size_t size_bytes);

/// The names of all mechanisms of the tour, as `--list` has them.
auto tour_names() -> std::vector<std::string>;

/// Places of this process's own for all that IPC leaves behind: an IPC namespace, an empty
/// /dev/shm, a directory for temporary files. So whatever is in them later is the command's.
class PrivatePlaces {
 public:
  explicit PrivatePlaces(const std::string& directory);
  PrivatePlaces(const PrivatePlaces&) = delete;
  auto operator=(const PrivatePlaces&) -> PrivatePlaces& = delete;
  ~PrivatePlaces();

  /// False where the machine does not allow namespaces, which has then been printed.
  [[nodiscard]] auto exist() const -> bool { return exist_; }

  /// For a command that is to use them.
  [[nodiscard]] auto enter() const -> std::function<void()>;

  /// Every System V object, POSIX name and temporary file that is there now, a line for each.
  [[nodiscard]] auto contents() const -> std::string;

  [[nodiscard]] auto temporary() const -> std::string { return directory_ + "/tmp"; }

 private:
  [[nodiscard]] auto queues_directory() const -> std::string { return directory_ + "/mqueue"; }

  std::string directory_;
  bool exist_ = false;
};

}  // namespace parley::test
