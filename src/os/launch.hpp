// What a new process does between clone(2) and execve(2): a stated set of descriptors, a program.
#pragma once

#include <sys/types.h>
#include <csignal>

#include <string>
#include <vector>

#include <parley/os/child.hpp>

namespace parley::os {

/// Everything that the new process needs, made before it exists: in it nothing may allocate, lock
/// or touch what another thread of the parent may have held (signal-safety(7)).
class Launch {
 public:
  /// Checks the options. They must outlive it.
  static auto prepare(const ChildOptions& options) -> Result<Launch>;

  /// In the new process, with every signal blocked: becomes the program. What keeps it from that is
  /// written into `report`, an Error, before the process ends.
  [[noreturn]] void run(const sigset_t& mask, BorrowedFd report);

 private:
  explicit Launch(const ChildOptions& options) : options_(options) {}

  auto add_standard_io() -> Result<void>;
  auto become_program(const sigset_t& mask, int& report) -> Result<void>;
  auto arrange_descriptors(int& report) -> Result<void>;
  auto move_away(int fd, int& lowest) const -> Result<int>;
  auto close_all_but_kept() const -> Result<void>;
  auto close_gaps() const -> Result<void>;
  auto execute() -> Error;

  const ChildOptions& options_;
  pid_t parent_ = 0;
  std::vector<ChildFd> descriptors_;  ///< By number.
  std::vector<int> kept_;             ///< Their numbers, and room for that of the report.
  OwnedFd null_;
  std::vector<std::string> candidates_;  ///< The paths that the program may have.
  std::vector<char*> arguments_;
  std::vector<char*> environment_;
};

/// What `die_with_parent` and `process_group` ask for, in the new process.
auto settle(ProcessGroup group, bool die_with_parent, pid_t parent) -> Result<void>;

}  // namespace parley::os
