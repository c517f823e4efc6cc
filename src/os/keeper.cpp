#include "os/keeper.hpp"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <utility>

#include "os/clone.hpp"
#include "os/futex.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

/// Below ROBUST_LIST_LIMIT, after which the kernel stops walking.
constexpr std::uint32_t words_per_keeper = 2000;

struct Keeper {
  robust_list_head list;
  std::uint32_t thread_id;  ///< 0 until the thread has given the list to the kernel.
  std::uint32_t words;
};

constexpr std::size_t keepers_at_most = 64;

/// What a process knows of its keepers. It lies in memory that fork(2) wipes in the child
/// (MADV_WIPEONFORK), so a child starts with all zeros: with no keeper, and an unlocked mutex.
struct Process {
  pthread_mutex_t mutex;
  pthread_mutex_t claiming;
  std::uint32_t number;
  bool fenced;
  std::array<Keeper, keepers_at_most> keepers;
};
constexpr std::size_t process_bytes = 4096;
static_assert(sizeof(Process) <= process_bytes);

constinit Process* this_process = nullptr;
constinit const std::uint32_t no_number = 0;
constinit std::uint32_t last_number = 0;  // survives a fork, so numbers never come again

class Locked {
 public:
  explicit Locked(pthread_mutex_t& mutex) : mutex_(mutex) { pthread_mutex_lock(&mutex_); }
  Locked(const Locked&) = delete;
  auto operator=(const Locked&) -> Locked& = delete;
  ~Locked() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t& mutex_;
};

auto map_process() -> Result<Process*> {
  void* const memory = PARLEY_TRY(sys::call<::mmap>(nullptr, process_bytes, PROT_READ | PROT_WRITE,
                                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, off_t{0}));
  if (const auto wiped = sys::call<::madvise>(memory, process_bytes, MADV_WIPEONFORK); !wiped) {
    sys::release<::munmap>(memory, process_bytes);
    return failure(wiped.error());
  }
  return static_cast<Process*>(memory);
}

auto process() -> Result<Process*> {
  if (auto* const process = __atomic_load_n(&this_process, __ATOMIC_ACQUIRE)) return process;
  // No lock: a child that is forked meanwhile could not open it.
  Process* const made = PARLEY_TRY(map_process());
  Process* first = nullptr;
  if (__atomic_compare_exchange_n(&this_process, &first, made, false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE)) {
    __atomic_store_n(&process_number_word, &made->number, __ATOMIC_RELEASE);
    return made;
  }
  sys::release<::munmap>(made, process_bytes);
  return first;
}

auto robust_node(const std::uint32_t* life) -> robust_list* {
  const auto address = reinterpret_cast<std::uintptr_t>(life) - node_distance_bytes;
  return reinterpret_cast<robust_list*>(address);  // NOLINT(performance-no-int-to-ptr)
}

auto keep(void* place) -> void* {
  auto& keeper = *static_cast<Keeper*>(place);
  if (sys::call<::syscall>(long{SYS_set_robust_list}, &keeper.list, sizeof keeper.list)) {
    __atomic_store_n(&keeper.thread_id, static_cast<std::uint32_t>(gettid()), __ATOMIC_RELEASE);
  } else {
    __atomic_store_n(&keeper.thread_id, FUTEX_OWNER_DIED, __ATOMIC_RELEASE);
  }
  futex_wake(&keeper.thread_id, 1);
  if (keeper.thread_id == FUTEX_OWNER_DIED) return nullptr;
  for (;;) static_cast<void>(sys::call<::pause>());
}

auto start_thread(Keeper& keeper) -> Result<void> {
  constexpr std::size_t stack_bytes = 256 * std::size_t{1024};
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return failure(Error::out_of_memory);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  const SignalsBlocked no_handler_runs_in_it;
  pthread_t thread{};
  const int error = pthread_create(&thread, &attributes, keep, &keeper);
  pthread_attr_destroy(&attributes);
  return error == 0 ? Result<void>() : failure(static_cast<Error>(error));
}

auto start(Keeper& keeper) -> Result<void> {
  keeper.list = {.list = {.next = &keeper.list.list},
                 .futex_offset = long{node_distance_bytes},
                 .list_op_pending = nullptr};
  keeper.thread_id = 0;
  PARLEY_TRY(start_thread(keeper));
  while (__atomic_load_n(&keeper.thread_id, __ATOMIC_ACQUIRE) == 0) {
    const WatchedWord started{.word = &keeper.thread_id, .expected = 0};
    static_cast<void>(futex_wait({&started, 1}, Deadline::never()));
  }
  if (keeper.thread_id != FUTEX_OWNER_DIED) return {};
  keeper.thread_id = 0;
  return failure(Error::no_such_call);
}

/// From now on this process takes part in the barriers of the others.
auto register_for_fences() -> bool {
  return sys::call<::syscall>(long{SYS_membarrier}, int{MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED},
                              0U, 0)
      .has_value();
}

auto lock_command(short type) -> struct flock {
  struct flock command{};
  command.l_type = type;
  command.l_whence = SEEK_SET;
  command.l_len = 1;
  return command;
}

auto keeper_with_room(Process& process) -> Result<Keeper*> {
  for (Keeper& keeper : process.keepers) {
    if (keeper.thread_id == 0) PARLEY_TRY(start(keeper));
    if (keeper.words < words_per_keeper) return &keeper;
  }
  return failure(Error::no_space);
}

}  // namespace

constinit const std::uint32_t* process_number_word = &no_number;

auto is_fenced() noexcept -> bool {
  const Process* const process = __atomic_load_n(&this_process, __ATOMIC_ACQUIRE);
  return process != nullptr && process->fenced;
}

auto fence_all() noexcept -> bool {
  return sys::call<::syscall>(long{SYS_membarrier}, int{MEMBARRIER_CMD_GLOBAL_EXPEDITED}, 0U, 0)
      .has_value();
}

auto process_id() noexcept -> std::uint32_t {
  return static_cast<std::uint32_t>(getpid());
}

auto user_id() noexcept -> std::uint32_t {
  return getuid();
}

auto watch_life(const std::uint32_t* life, bool may_vanish) -> Result<std::uint32_t> {
  Process& process = *PARLEY_TRY(os::process());
  const Locked locked(process.mutex);
  if (process.number == 0) process.fenced = register_for_fences();
  Keeper& keeper = *PARLEY_TRY(keeper_with_room(process));
  if (process.number == 0) __atomic_store_n(&process.number, ++last_number, __ATOMIC_RELAXED);
  robust_list* const node = robust_node(life);
  robust_list* before = &keeper.list.list;
  while (may_vanish && before->next != &keeper.list.list) before = before->next;
  node->next = before->next;
  __atomic_store_n(&before->next, node, __ATOMIC_RELEASE);
  ++keeper.words;
  return keeper.thread_id | FUTEX_WAITERS;
}

void unwatch_life(const std::uint32_t* life) noexcept {
  Process* const process = __atomic_load_n(&this_process, __ATOMIC_ACQUIRE);
  if (process == nullptr) return;
  const Locked locked(process->mutex);
  const robust_list* const node = robust_node(life);
  for (Keeper& keeper : process->keepers) {
    if (keeper.thread_id == 0) continue;
    for (robust_list* at = &keeper.list.list; at->next != &keeper.list.list; at = at->next) {
      if (at->next != node) continue;
      __atomic_store_n(&at->next, node->next, __ATOMIC_RELEASE);
      --keeper.words;
      return;
    }
  }
}

auto ClaimLock::acquire(BorrowedFd fd, Deadline deadline) -> Result<ClaimLock> {
  pthread_mutex_lock(&PARLEY_TRY(process())->claiming);
  ClaimLock lock(fd.number());
  const struct flock command = lock_command(F_WRLCK);
  const auto tried = sys::call<::fcntl>(fd.number(), F_SETLK, &command);
  if (tried) return lock;
  if (tried.error() != Error::would_block && tried.error() != Error::access_denied) {
    return failure(tried.error());
  }
  const auto waited =
      until(deadline, [&] { return sys::call<::fcntl>(fd.number(), F_SETLKW, &command); });
  if (waited) return lock;
  return failure(waited.error() == deadline.error() ? Error::busy : waited.error());
}

ClaimLock::ClaimLock(ClaimLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

ClaimLock::~ClaimLock() {
  if (fd_ < 0) return;
  const struct flock command = lock_command(F_UNLCK);
  sys::release<::fcntl>(fd_, F_SETLK, &command);
  pthread_mutex_unlock(&this_process->claiming);
}

void close_object(OwnedFd fd) noexcept {
  Process* const process = __atomic_load_n(&this_process, __ATOMIC_ACQUIRE);
  if (process == nullptr) return;  // fd closes itself
  const Locked locked(process->claiming);
  const OwnedFd closed_under_the_lock = std::move(fd);
}

void await_stillness() noexcept {
  if (fence_all()) return;
  // An interrupt that was sent has long arrived.
  const timespec one_millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
  // Not nanosleep(3), where a thread may be cancelled: it may hold a latch.
  sys::release<::syscall>(long{SYS_nanosleep}, &one_millisecond, nullptr);
}

}  // namespace parley::os
