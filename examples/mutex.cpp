// A process is killed in the middle of a transfer; the next holder of the lock is told and repairs.
#include <csignal>

#include <parley/mutex.hpp>
#include <parley/os/child.hpp>
#include <parley/os/memfd.hpp>

#include <cstdio>
#include <mutex>
#include <new>

using parley::Deadline;
using parley::Mutex;
using parley::os::Child;
using parley::os::Memfd;
using namespace std::chrono_literals;

namespace {

struct Accounts {
  int savings = 100;
  int purse = 0;
  int under_way = 0;  ///< What a transfer that has not ended is about to move.
};

void transfer(Accounts& accounts, int amount, bool dies_in_between) {
  accounts.under_way = amount;
  accounts.savings -= amount;
  if (dies_in_between) std::raise(SIGKILL);
  accounts.purse += amount;
  accounts.under_way = 0;
}

}  // namespace

auto main() -> int {
  const auto memory = Memfd::create("accounts", {.size_bytes = sizeof(Accounts)}).value();
  auto mapping = memory.map().value();
  auto& accounts = *new (mapping.bytes().data()) Accounts;
  auto mutex = Mutex::create().value();

  auto child = Child::fork([&] {
                 const std::lock_guard lock(mutex);
                 transfer(accounts, 30, true);
                 return 0;
               }).value();
  if (child.wait(Deadline::after(10s)).value().value != SIGKILL) return 1;

  const std::lock_guard lock(mutex);
  if (mutex.peer_died()) accounts.purse = 100 - accounts.savings;
  std::printf("savings %d, purse %d\n", accounts.savings, accounts.purse);
  return accounts.savings == 70 && accounts.purse == 30 ? 0 : 1;
}
