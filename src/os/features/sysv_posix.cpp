// Probes of System V and POSIX objects and their limits.
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <cstdio>

#include "os/features/probe.hpp"

namespace parley::os::probe {
namespace {

constexpr int private_mode = IPC_CREAT | S_IRUSR | S_IWUSR;

auto new_queue() -> Result<int> {
  return sys::call<::msgget>(IPC_PRIVATE, private_mode);
}

void remove_queue(int queue) {
  sys::release<::msgctl>(queue, IPC_RMID, nullptr);
}

// IPC_INFO fills one of these structures where the declared parameter is another.

template <auto member>
auto semaphore_limit() -> Result<Fact> {
  seminfo limits{};
  PARLEY_TRY(sys::call<::semctl>(0, 0, IPC_INFO, &limits));
  return measured(static_cast<std::uint64_t>(limits.*member));
}

template <auto member>
auto queue_limit() -> Result<Fact> {
  msginfo limits{};
  PARLEY_TRY(sys::call<::msgctl>(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&limits)));
  return measured(static_cast<std::uint64_t>(limits.*member));
}

template <auto member>
auto shared_memory_limit() -> Result<Fact> {
  shminfo limits{};
  PARLEY_TRY(sys::call<::shmctl>(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&limits)));
  return measured(limits.*member);
}

/// A POSIX object's name that nobody else uses.
struct Name {
  std::array<char, 48> text{};
};

auto own_name() -> Result<Name> {
  Name name;
  const long self = PARLEY_TRY(sys::call<::getpid>());
  static_cast<void>(std::snprintf(name.text.data(), name.text.size(), "/parley-doctor.%ld", self));
  return name;
}

auto copies_a_message(int queue) -> Result<Fact> {
  struct {
    long type = 1;
    char text = 'x';
  } message;
  PARLEY_TRY(sys::call<::msgsnd>(queue, &message, sizeof message.text, int{IPC_NOWAIT}));
  constexpr int look = MSG_COPY | MSG_NOERROR | IPC_NOWAIT;
  PARLEY_TRY(sys::call<::msgrcv>(queue, &message, sizeof message.text, 0L, look));
  return Fact{};
}

}  // namespace

auto sysv_semaphores() -> Result<Fact> {
  const int set = PARLEY_TRY(sys::call<::semget>(IPC_PRIVATE, 1, private_mode));
  sys::release<::semctl>(set, 0, IPC_RMID);
  return Fact{};
}
auto semmni() -> Result<Fact> {
  return semaphore_limit<&seminfo::semmni>();
}
auto semmsl() -> Result<Fact> {
  return semaphore_limit<&seminfo::semmsl>();
}
auto semopm() -> Result<Fact> {
  return semaphore_limit<&seminfo::semopm>();
}

auto sysv_queues() -> Result<Fact> {
  remove_queue(PARLEY_TRY(new_queue()));
  return Fact{};
}
auto msgmni() -> Result<Fact> {
  return queue_limit<&msginfo::msgmni>();
}
auto msgmax() -> Result<Fact> {
  return queue_limit<&msginfo::msgmax>();
}
auto msgmnb() -> Result<Fact> {
  return queue_limit<&msginfo::msgmnb>();
}

auto msg_copy() -> Result<Fact> {
  const int queue = PARLEY_TRY(new_queue());
  const auto fact = copies_a_message(queue);
  remove_queue(queue);
  return fact;
}

auto sysv_shared_memory() -> Result<Fact> {
  const int segment = PARLEY_TRY(sys::call<::shmget>(IPC_PRIVATE, std::size_t{4096}, private_mode));
  sys::release<::shmctl>(segment, IPC_RMID, nullptr);
  return Fact{};
}
auto shmmni() -> Result<Fact> {
  return shared_memory_limit<&shminfo::shmmni>();
}
auto shmmax() -> Result<Fact> {
  return shared_memory_limit<&shminfo::shmmax>();
}

auto posix_semaphores() -> Result<Fact> {
  const Name name = PARLEY_TRY(own_name());
  PARLEY_TRY(
      sys::call<::sem_open>(name.text.data(), O_CREAT | O_EXCL, mode_t{S_IRUSR | S_IWUSR}, 0U));
  sys::release<::sem_unlink>(name.text.data());
  return Fact{};
}

auto posix_queues() -> Result<Fact> {
  const Name name = PARLEY_TRY(own_name());
  mq_attr attributes{};
  attributes.mq_maxmsg = 1;
  attributes.mq_msgsize = 1;
  PARLEY_TRY(sys::call<::mq_open>(name.text.data(), O_CREAT | O_EXCL | O_RDWR,
                                  mode_t{S_IRUSR | S_IWUSR}, &attributes));
  sys::release<::mq_unlink>(name.text.data());
  return Fact{};
}
auto mqueue_msg_max() -> Result<Fact> {
  return measured_at_least(PARLEY_TRY(read_number("/proc/sys/fs/mqueue/msg_max")), 10);
}
auto mqueue_msgsize_max() -> Result<Fact> {
  return measured_at_least(PARLEY_TRY(read_number("/proc/sys/fs/mqueue/msgsize_max")), 8192);
}
auto mqueue_queues_max() -> Result<Fact> {
  return measured(PARLEY_TRY(read_number("/proc/sys/fs/mqueue/queues_max")));
}

auto posix_shared_memory() -> Result<Fact> {
  const Name name = PARLEY_TRY(own_name());
  PARLEY_TRY(sys::call<::shm_open>(name.text.data(), O_CREAT | O_EXCL | O_RDWR,
                                   mode_t{S_IRUSR | S_IWUSR}));
  sys::release<::shm_unlink>(name.text.data());
  return Fact{};
}

}  // namespace parley::os::probe
