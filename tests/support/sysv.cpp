#include "support/sysv.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

namespace parley::test {

OwnKey::OwnKey() : key_(os::sysv::Key::private_key()) {
  // ftok looks at 16 bits of the inode only, so the name of the directory, which is random,
  // decides.
  unsigned number = 2166136261U;
  for (const char letter : directory_.path().string()) {
    number = (number ^ static_cast<unsigned char>(letter)) * 16777619U;
  }
  key_ = os::sysv::Key::from_number(static_cast<key_t>(number | 1U));
}

OwnKey::~OwnKey() {
  // Bare calls: neither counted by a test nor kept from a set that is half made.
  if (const int id = semget(key_.number(), 0, 0); id >= 0) semctl(id, 0, IPC_RMID);
  if (const int id = msgget(key_.number(), 0); id >= 0) msgctl(id, IPC_RMID, nullptr);
  if (const int id = shmget(key_.number(), 0, 0); id >= 0) shmctl(id, IPC_RMID, nullptr);
}

IpcNamespace::IpcNamespace() {
  auto before = os::OwnedFd::from_number(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
  if (before.is_open() && unshare(CLONE_NEWIPC) == 0) before_ = std::move(before);
}

IpcNamespace::~IpcNamespace() {
  if (is_entered()) CHECK(setns(before_.number(), CLONE_NEWIPC) == 0);
}

}  // namespace parley::test
