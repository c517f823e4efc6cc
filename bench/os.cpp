#include "os.hpp"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <parley/os/pipe.hpp>
#include <parley/os/posix/message_queue.hpp>
#include <parley/os/posix/semaphore.hpp>
#include <parley/os/socket.hpp>
#include <parley/os/sysv/message_queue.hpp>
#include <parley/os/sysv/semaphore_set.hpp>

#include "paired.hpp"

namespace parley::bench {
namespace {

using namespace parley::os;

using Message = std::array<std::byte, 64>;

void refused(std::string_view what, Error why) {
  fmt::print("{}: refused: {}\n", what, message(why));
}

// The ends of a FIFO are those of a pipe.
void pipe() {
  auto typed = Pipe::create().value();
  std::array<int, 2> bare{};
  if (pipe2(bare.data(), O_CLOEXEC) != 0) return;
  Message message{};
  paired(
      "pipe: write and read 64 bytes",
      [&] {
        typed.writer.write(message, Deadline::never()).value();
        keep(typed.reader.read(message, Deadline::never()).value());
      },
      [&] {
        keep(write(bare[1], message.data(), message.size()));
        keep(read(bare[0], message.data(), message.size()));
      });
  close(bare[0]);
  close(bare[1]);
}

void local_socket(std::string_view name, SocketType type, int bare_type) {
  auto typed = Socket::pair(type).value();
  std::array<int, 2> bare{};
  if (socketpair(AF_UNIX, bare_type | SOCK_CLOEXEC, 0, bare.data()) != 0) return;
  Message message{};
  paired(
      name,
      [&] {
        typed.first.send(message, Deadline::never()).value();
        keep(typed.second.receive(message, Deadline::never()).value());
      },
      [&] {
        keep(send(bare[1], message.data(), message.size(), MSG_NOSIGNAL));
        keep(recv(bare[0], message.data(), message.size(), 0));
      });
  close(bare[0]);
  close(bare[1]);
}

void sysv_semaphore() {
  const auto made = sysv::SemaphoreSet::create(sysv::Key::private_key(), 1);
  if (!made) return refused("System V semaphore", made.error());
  paired(
      "System V semaphore: post and wait",
      [&] {
        made->operate({.index = 0, .delta = 1}, Deadline::never()).value();
        made->operate({.index = 0, .delta = -1}, Deadline::never()).value();
      },
      [&] {
        sembuf post{.sem_num = 0, .sem_op = 1, .sem_flg = 0};
        sembuf wait{.sem_num = 0, .sem_op = -1, .sem_flg = 0};
        keep(semop(made->id(), &post, 1));
        keep(semop(made->id(), &wait, 1));
      });
  if (!made->remove()) fmt::print("System V semaphore: set {} stays\n", made->id());
}

void sysv_queue() {
  const auto made = sysv::MessageQueue::create(sysv::Key::private_key());
  if (!made) return refused("System V queue", made.error());
  struct {
    long type = 1;
    Message text{};
  } bare;
  Message text{};
  paired(
      "System V queue: send and receive 64 bytes",
      [&] {
        made->send(1, text, Deadline::never()).value();
        keep(made->receive(sysv::Selector::oldest(), text, Deadline::never()).value());
      },
      [&] {
        keep(msgsnd(made->id(), &bare, sizeof bare.text, 0));
        keep(msgrcv(made->id(), &bare, sizeof bare.text, 0, 0));
      });
  if (!made->remove()) fmt::print("System V queue: {} stays\n", made->id());
}

void posix_semaphore() {
  alignas(sem_t) std::array<std::byte, sizeof(sem_t)> place{};
  auto typed = posix::UnnamedSemaphore::create(place).value();
  sem_t bare{};
  if (sem_init(&bare, 1, 0) != 0) return;
  paired(
      "POSIX semaphore: post and wait",
      [&] {
        typed.post().value();
        typed.wait(Deadline::never()).value();
      },
      [&] {
        keep(sem_post(&bare));
        keep(sem_wait(&bare));
      });
  sem_destroy(&bare);
}

void posix_queue() {
  using posix::MessageQueue;
  const std::string name = "/parley-bench-" + std::to_string(getpid());
  auto made =
      MessageQueue::create(name, {.max_messages = 1, .message_size_bytes = sizeof(Message)});
  if (!made) return refused("POSIX queue", made.error());
  const mqd_t bare = mq_open(name.c_str(), O_RDWR | O_CLOEXEC);
  if (!MessageQueue::unlink(name)) return fmt::print("POSIX queue: {} stays\n", name);
  Message text{};
  paired(
      "POSIX queue: send and receive 64 bytes",
      [&] {
        made->send(text, Deadline::never()).value();
        keep(made->receive(text, Deadline::never()).value());
      },
      [&] {
        auto* const bytes = reinterpret_cast<char*>(text.data());
        keep(mq_send(bare, bytes, text.size(), 0));
        keep(mq_receive(bare, bytes, text.size(), nullptr));
      });
  mq_close(bare);
}

}  // namespace

void os() {
  print_heading("parley::os", "bare calls");
  pipe();
  local_socket("local stream: send and receive 64 bytes", SocketType::stream, SOCK_STREAM);
  local_socket("local seqpacket: send and receive 64 bytes", SocketType::seqpacket, SOCK_SEQPACKET);
  sysv_semaphore();
  sysv_queue();
  posix_semaphore();
  posix_queue();
}

}  // namespace parley::bench
