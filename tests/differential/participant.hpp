// A process that does as it is told with two sets of semaphores: the kernel's and Parley's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <parley/os/descriptor.hpp>
#include <parley/os/sysv/semaphore_set.hpp>
#include <parley/semaphore_set.hpp>

#include "support/peer.hpp"

namespace parley::test {

enum class World : std::uint8_t { kernel, parley };
inline constexpr std::array both_worlds{World::kernel, World::parley};

enum class Verb : std::uint8_t { attach, operate, set_value, set_values, remove, leave, exit };
enum class Patience : std::uint8_t { none, brief, endless };

/// One call. It goes through a pipe as it is.
struct Command {
  Verb verb = Verb::operate;
  Patience patience = Patience::endless;
  std::uint16_t count = 0;  ///< Of operations, or of values.
  std::uint16_t index = 0;
  std::int32_t value = 0;
  std::int32_t id = 0;           ///< To attach to: of the kernel's set,
  std::array<char, 128> path{};  ///< and the name of Parley's.
  std::array<std::uint16_t, 4> values{};
  std::array<SemaphoreOperation, SemaphoreSet::operations_at_most + 1> operations{};
};

auto to_text(const Command& command) -> std::string;

auto perform(const os::sysv::SemaphoreSet& set, const Command& command) -> Result<void>;
auto perform(SemaphoreSet& set, const Command& command) -> Result<void>;

/// One thread for each world, so that a call can be blocked in both. What is undone at its end is
/// that of the process, in the kernel's world, and of its only handle, in Parley's.
class Participant {
 public:
  Participant();
  Participant(const Participant&) = delete;
  auto operator=(const Participant&) -> Participant& = delete;
  ~Participant() { end(); }

  void tell(World world, const Command& command);

  /// What the call ended with, where it has: an errno value, 0 for success.
  auto answer(World world) -> std::optional<int>;

  /// kill -9; nothing where it has ended.
  void end();
  /// Told `leave` or `exit` before: waits until it is gone.
  void wait();

  [[nodiscard]] auto pid() const -> pid_t { return peer_->pid(); }

 private:
  struct Pipe {
    Pipe();
    os::OwnedFd reader;
    os::OwnedFd writer;
  };

  void serve(World world);
  auto pipes_of(World world) -> std::array<Pipe, 2>& {
    return pipes_[static_cast<std::size_t>(world)];
  }

  std::array<std::array<Pipe, 2>, 2> pipes_;  ///< By world: commands, answers.
  std::optional<Peer> peer_;
  bool ended_ = false;
};

}  // namespace parley::test
