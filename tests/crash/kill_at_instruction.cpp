// Learns the victim's way once, by single steps; from then on it runs to a breakpoint at the
// address of the n-th instruction, as often as that address comes before it. A single step costs
// some microseconds, and there would be n of them for the n-th instruction.
#include <doctest/doctest.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "crash/crash.hpp"

namespace parley::test {
namespace {

/// The signal that stopped the victim; 0 where it has ended, which is left for `Peer::wait`.
auto await_stop(pid_t victim) -> int {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(victim), &info, WSTOPPED | WEXITED | WNOWAIT) < 0) {
    REQUIRE(errno == EINTR);
  }
  if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) return 0;
  // Another thread of it may have come by the breakpoint meanwhile, and ended it.
  if (waitid(P_PID, static_cast<id_t>(victim), &info, WSTOPPED) != 0) return 0;
  return info.si_status;
}

/// Each request names its data as the kernel's manual does: an address or a number. Nothing where
/// the victim is ending: another thread of it came by a breakpoint.
auto request(__ptrace_request what, pid_t victim, std::uintptr_t address, std::uintptr_t data)
    -> std::optional<std::uintptr_t> {
  errno = 0;
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  const long result = ptrace(what, victim, reinterpret_cast<void*>(address),
                             reinterpret_cast<void*>(data));  // NOLINT(performance-no-int-to-ptr)
  if (errno == ESRCH) return std::nullopt;
  REQUIRE(errno == 0);
  return static_cast<std::uintptr_t>(result);
}

constexpr auto program_counter = offsetof(user_regs_struct, rip);

auto step(pid_t victim) -> int {
  return request(PTRACE_SINGLESTEP, victim, 0, 0) ? await_stop(victim) : 0;
}

/// Lets it run until it comes to the address, where it then stands: the signal that stopped it, or
/// 0 where it has ended or is ending.
auto run_to(pid_t victim, std::uintptr_t address, std::uintptr_t whole) -> int {
  constexpr std::uintptr_t int3 = 0xcc;
  if (request(PTRACE_PEEKUSER, victim, program_counter, 0) == address) {
    if (const int stop = step(victim); stop != SIGTRAP) return stop;
  }
  if (!request(PTRACE_POKETEXT, victim, address, (whole & ~std::uintptr_t{0xff}) | int3)) return 0;
  if (!request(PTRACE_CONT, victim, 0, 0)) return 0;
  const int stop = await_stop(victim);
  if (stop == 0 || !request(PTRACE_POKETEXT, victim, address, whole)) return 0;
  if (stop == SIGTRAP && !request(PTRACE_POKEUSER, victim, program_counter, address)) return 0;
  return stop;
}

}  // namespace

Killer::Killer(std::uint64_t point, Path& path) : point_(point), path_(path) {}

auto Killer::counts_instructions() -> bool {
  return true;
}

void Killer::operate(const std::function<void()>& operation) {
  REQUIRE(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0);
  std::raise(SIGSTOP);
  operation();
  std::raise(SIGSTOP);  // the end of its way
}

void Killer::await_ready(pid_t victim) {
  REQUIRE(await_stop(victim) == SIGSTOP);
}

auto Killer::strike(Peer& victim) -> int {
  return point_ == never ? learn(victim) : go_to_point(victim);
}

auto Killer::learn(Peer& victim) -> int {
  path_.instructions.clear();
  do {
    const auto here = request(PTRACE_PEEKUSER, victim.pid(), program_counter, 0);
    REQUIRE(here.has_value());
    path_.instructions.push_back(*here);
  } while (step(victim.pid()) == SIGTRAP);
  path_.steps = path_.instructions.size();
  request(PTRACE_DETACH, victim.pid(), 0, 0);
  return victim.wait();
}

auto Killer::go_to_point(Peer& victim) -> int {
  const auto pid = victim.pid();
  if (point_ > path_.steps) {
    request(PTRACE_DETACH, pid, 0, 0);
    return victim.wait();
  }
  const auto before = std::span(path_.instructions).first(point_);
  const auto address = before.back();
  auto left = std::ranges::count(before, address);
  if (before.front() == address) --left;  // there it stands
  const auto whole = request(PTRACE_PEEKTEXT, pid, address, 0);
  REQUIRE(whole.has_value());
  int stop = SIGTRAP;
  for (; left > 0; --left) {
    stop = run_to(pid, address, *whole);
    if (stop != SIGTRAP) break;
  }
  if (left == 0) {
    ::kill(pid, SIGKILL);
  } else if (stop != 0) {  // its way was another one this time
    request(PTRACE_DETACH, pid, 0, 0);
  }
  const int status = victim.wait();
  // Its keeper came by the breakpoint first: a death like any other.
  return status == -SIGTRAP ? -SIGKILL : status;
}

}  // namespace parley::test
