#include "objects.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/os/child.hpp>
#include <parley/os/memfd.hpp>
#include <parley/os/sysv/semaphore_set.hpp>
#include <parley/semaphore_set.hpp>

#include "paired.hpp"
#include "partner.hpp"

namespace parley::bench {
namespace {

using os::Child;

constexpr std::array<std::uint16_t, 2> two_seats = {1, 1};

/// A set of the kernel's, gone at the end.
class KernelSet {
 public:
  static auto create(std::span<const std::uint16_t> values) -> Result<KernelSet> {
    return KernelSet(
        PARLEY_TRY(os::sysv::SemaphoreSet::create(os::sysv::Key::private_key(), values)));
  }
  KernelSet(KernelSet&& other) noexcept : set_(other.set_) { other.set_.reset(); }
  KernelSet(const KernelSet&) = delete;
  auto operator=(const KernelSet&) -> KernelSet& = delete;
  auto operator=(KernelSet&&) -> KernelSet& = delete;
  ~KernelSet() {
    if (set_ && !set_->remove()) fmt::print("System V semaphores: set {} stays\n", set_->id());
  }

  [[nodiscard]] auto id() const -> int { return set_->id(); }

 private:
  explicit KernelSet(os::sysv::SemaphoreSet set) : set_(set) {}

  std::optional<os::sysv::SemaphoreSet> set_;
};

void semaphore_sets() {
  auto ours = SemaphoreSet::create(two_seats).value();
  const auto theirs = KernelSet::create(two_seats);
  if (!theirs) return fmt::print("System V semaphores: refused: {}\n", message(theirs.error()));
  const auto line = [&](std::string_view name, std::size_t count, bool undo) {
    std::array<SemaphoreOperation, 2> take{};
    std::array<SemaphoreOperation, 2> give{};
    std::array<sembuf, 2> bare_take{};
    std::array<sembuf, 2> bare_give{};
    for (std::uint16_t i = 0; i < 2; ++i) {
      const auto flags = static_cast<short>(undo ? SEM_UNDO : 0);
      take.at(i) = {.index = i, .delta = -1, .undo = undo};
      give.at(i) = {.index = i, .delta = 1, .undo = undo};
      bare_take.at(i) = {.sem_num = i, .sem_op = -1, .sem_flg = flags};
      bare_give.at(i) = {.sem_num = i, .sem_op = 1, .sem_flg = flags};
    }
    paired(
        name,
        [&] {
          ours.operate(std::span(take).first(count), Deadline::never()).value();
          ours.operate(std::span(give).first(count), Deadline::never()).value();
        },
        [&] {
          keep(semop(theirs->id(), bare_take.data(), count));
          keep(semop(theirs->id(), bare_give.data(), count));
        });
  };
  line("SemaphoreSet: take and give; semop", 1, false);
  line("SemaphoreSet: the same with undo", 1, true);
  line("SemaphoreSet: two at once with undo", 2, true);
}

void semaphore() {
  auto ours = Semaphore::create(1).value();
  auto theirs = Shared<sem_t>::create().value();
  if (sem_init(&*theirs, 1, 1) != 0) return;
  paired(
      "Semaphore: wait and post; sem_t",
      [&] {
        ours.wait(Deadline::never()).value();
        ours.post().value();
      },
      [&] {
        keep(sem_wait(&*theirs));
        keep(sem_post(&*theirs));
      });
  sem_destroy(&*theirs);
}

void mutex() {
  auto ours = Mutex::create().value();
  auto theirs = Shared<pthread_mutex_t>::create().value();
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const bool made = pthread_mutex_init(&*theirs, &attributes) == 0;
  pthread_mutexattr_destroy(&attributes);
  if (!made) return;
  paired(
      "Mutex: lock and unlock; robust pthread mutex",
      [&] {
        ours.acquire(Deadline::never()).value();
        ours.release().value();
      },
      [&] {
        keep(pthread_mutex_lock(&*theirs));
        keep(pthread_mutex_unlock(&*theirs));
      });
  pthread_mutex_destroy(&*theirs);
}

/// Two hand-overs, there and back, against those of two processes that do nothing else.
void hand_over() {
  const auto available = processors();
  if (available.size() < 2) return fmt::print("hand-over: needs two processors\n");
  const auto here = available[0];
  const Pinned pinned(here);
  auto turn = Shared<Turn>::create().value();
  const auto line = [&](std::string_view name, std::size_t processor, auto ask, auto answer) {
    const Partner ours(processor, answer);
    const Partner bare(processor, [&] {
      turn->await(1);
      turn->pass(0);
    });
    paired(name, ask, [&] {
      turn->pass(1);
      turn->await(0);
    });
  };

  auto there = Semaphore::create(0).value();
  auto back = Semaphore::create(0).value();
  const auto ask = [&] {
    there.post().value();
    back.wait(Deadline::never()).value();
  };
  const auto answer = [&] {
    there.wait(Deadline::never()).value();
    back.post().value();
  };
  const auto use = [&](WaitStrategy strategy) {
    there.set_wait_strategy(strategy);
    back.set_wait_strategy(strategy);
  };
  use(WaitStrategy::block);
  line("Semaphore: there and back, block; futex", available[1], ask, answer);
  use(WaitStrategy::adaptive);
  line("Semaphore: there and back, adaptive; futex", available[1], ask, answer);
  line("Semaphore: the same on one processor", here, ask, answer);

  constexpr std::array<std::uint16_t, 2> nobody = {0, 0};
  auto set = SemaphoreSet::create(nobody).value();
  set.set_wait_strategy(WaitStrategy::block);
  line(
      "SemaphoreSet: there and back, block; futex", available[1],
      [&] {
        set.operate({.index = 0, .delta = 1}, Deadline::never()).value();
        set.operate({.index = 1, .delta = -1}, Deadline::never()).value();
      },
      [&] {
        set.operate({.index = 0, .delta = -1}, Deadline::never()).value();
        set.operate({.index = 1, .delta = 1}, Deadline::never()).value();
      });
}

auto now_ns() -> std::int64_t {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// Nanoseconds from a holder's SIGKILL until `wait` returns. The holder does `take`, and kills
/// itself once `is_awaited` and the one who waits has had the time to fall asleep.
template <class Take, class IsAwaited, class Wait>
auto time_after_kill(Take take, IsAwaited is_awaited, Wait wait) -> double {
  struct Moments {
    std::int64_t killed_ns = 0;
    std::uint32_t is_taken = 0;
  };
  auto moments = Shared<Moments>::create().value();
  constexpr timespec a_while{.tv_sec = 0, .tv_nsec = 200'000};
  auto holder = Child::fork(
                    [&]() -> int {
                      take();
                      __atomic_store_n(&moments->is_taken, 1, __ATOMIC_RELEASE);
                      while (!is_awaited()) nanosleep(&a_while, nullptr);
                      nanosleep(&a_while, nullptr);
                      moments->killed_ns = now_ns();
                      return std::raise(SIGKILL);
                    },
                    {.die_with_parent = true})
                    .value();
  while (__atomic_load_n(&moments->is_taken, __ATOMIC_ACQUIRE) == 0) nanosleep(&a_while, nullptr);
  wait();
  const auto woken_ns = now_ns();
  keep(holder.wait(Deadline::never()));
  return static_cast<double>(woken_ns - moments->killed_ns);
}

void kill_of_a_holder() {
  constexpr SemaphoreOperation take{.index = 0, .delta = -1, .undo = true};
  constexpr SemaphoreOperation give{.index = 0, .delta = 1, .undo = true};
  auto ours = SemaphoreSet::create(two_seats).value();
  ours.set_wait_strategy(WaitStrategy::block);
  const auto theirs = KernelSet::create(two_seats);
  if (!theirs) return;
  const auto bare = [&](short delta) {
    sembuf operation{.sem_num = 0, .sem_op = delta, .sem_flg = SEM_UNDO};
    keep(semop(theirs->id(), &operation, 1));
  };
  compare(
      "kill -9 of a holder to the next; SEM_UNDO",
      [&] {
        const auto ns = time_after_kill([&] { ours.operate(take, Deadline::never()).value(); },
                                        [&] { return ours.waiting_for_increase(0).value() == 1; },
                                        [&] { ours.operate(take, Deadline::never()).value(); });
        ours.operate(give, Deadline::never()).value();
        return ns;
      },
      [&] {
        const auto ns = time_after_kill([&] { bare(-1); },
                                        [&] { return semctl(theirs->id(), 0, GETNCNT) == 1; },
                                        [&] { bare(-1); });
        bare(1);
        return ns;
      });
}

}  // namespace

void objects() {
  print_heading("parley", "the others");
  semaphore_sets();
  semaphore();
  mutex();
  hand_over();
  kill_of_a_holder();
}

}  // namespace parley::bench
