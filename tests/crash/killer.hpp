// How a victim is brought to its n-th step and ends there. Two programs have one each:
// kill_at_step.cpp counts the steps of the tests' seam, kill_at_instruction.cpp uses ptrace(2).
#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <new>
#include <vector>

#include <parley/os/descriptor.hpp>

#include "support/peer.hpp"

namespace parley::test {

/// No step is this one: the victim lives.
inline constexpr std::uint64_t never = 0;

/// A value that this process and its children share.
template <class T>
class Shared {
 public:
  Shared()
      : value_(new(::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                          -1, 0)) T{}) {}
  Shared(const Shared&) = delete;
  auto operator=(const Shared&) -> Shared& = delete;
  ~Shared() { ::munmap(value_, sizeof(T)); }

  void store(T value) { __atomic_store(value_, &value, __ATOMIC_SEQ_CST); }
  [[nodiscard]] auto load() const -> T {
    T value;
    __atomic_load(value_, &value, __ATOMIC_SEQ_CST);
    return value;
  }

 private:
  T* value_;
};

/// What a run in which the victim lived told of its way.
struct Path {
  std::uint64_t steps = 0;
  std::vector<std::uintptr_t> instructions;  ///< Where each of them is, when they are the steps.
};

class Killer {
 public:
  /// With the point `never`, `path` is learnt.
  Killer(std::uint64_t point, Path& path);

  /// In the victim: waits to be struck, then runs the operation and does not return from the step.
  void operate(const std::function<void()>& operation);

  /// In the test process: returns when the victim is where it waits.
  void await_ready(pid_t victim);

  /// Lets the victim go on: 0 where it lived, else minus SIGKILL, or what it ended with.
  auto strike(Peer& victim) -> int;

  /// What the program that has this killer calls its steps.
  static auto counts_instructions() -> bool;

 private:
  auto learn(Peer& victim) -> int;
  auto go_to_point(Peer& victim) -> int;

  std::uint64_t point_;
  Path& path_;
  Shared<std::uint64_t> steps_;
  Shared<bool> ready_;
  os::OwnedFd go_;
};

}  // namespace parley::test
