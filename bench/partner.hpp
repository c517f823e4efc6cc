// The other process of a benchmark, on a processor of its own.
#pragma once

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <new>
#include <vector>

#include <parley/os/child.hpp>
#include <parley/os/memfd.hpp>

#include "paired.hpp"

namespace parley::bench {

/// Memory that forked children share.
template <class T>
class Shared {
 public:
  static auto create() -> Result<Shared> {
    const auto memory = PARLEY_TRY(os::Memfd::create("parley bench", {.size_bytes = sizeof(T)}));
    return Shared(PARLEY_TRY(memory.map()));
  }
  auto operator*() -> T& { return *std::launder(reinterpret_cast<T*>(mapping_.bytes().data())); }
  auto operator->() -> T* { return &**this; }

 private:
  explicit Shared(os::Mapping mapping) : mapping_(std::move(mapping)) {
    new (mapping_.bytes().data()) T();
  }

  os::Mapping mapping_;
};

/// Keeps this thread, and what it forks, on one processor for as long as this lives.
class Pinned {
 public:
  explicit Pinned(std::size_t processor) {
    sched_getaffinity(0, sizeof before_, &before_);
    move_to(processor);
  }
  Pinned(const Pinned&) = delete;
  auto operator=(const Pinned&) -> Pinned& = delete;
  ~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }

  static void move_to(std::size_t processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
  }

 private:
  cpu_set_t before_{};
};

/// Those on which this process may run.
inline auto processors() -> std::vector<std::size_t> {
  cpu_set_t allowed;
  std::vector<std::size_t> found;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return found;
  for (std::size_t i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) found.push_back(i);
  }
  return found;
}

/// A forked process on a processor of its own that runs `body` again and again until it is killed.
class Partner {
 public:
  template <class Body>
  Partner(std::size_t processor, Body body)
      : child_(os::Child::fork(
                   [&]() -> int {
                     Pinned::move_to(processor);
                     for (;;) body();
                   },
                   {.die_with_parent = true})
                   .value()) {}
  Partner(const Partner&) = delete;
  auto operator=(const Partner&) -> Partner& = delete;
  ~Partner() {
    keep(child_.kill(SIGKILL));
    keep(child_.wait(Deadline::never()));
  }

 private:
  os::Child child_;
};

/// Whose turn it is, in a word on which both sleep.
class Turn {
 public:
  void pass(std::uint32_t to) {
    __atomic_store_n(&word_, to, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  void await(std::uint32_t whose) {
    for (;;) {
      const auto seen = __atomic_load_n(&word_, __ATOMIC_ACQUIRE);
      if (seen == whose) return;
      syscall(SYS_futex, &word_, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
  }

 private:
  std::uint32_t word_ = 0;
};

}  // namespace parley::bench
