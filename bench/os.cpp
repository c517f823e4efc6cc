#include "os.hpp"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>

#include <parley/os/pipe.hpp>
#include <parley/os/posix/message_queue.hpp>
#include <parley/os/posix/semaphore.hpp>

#include "paired.hpp"

namespace parley::bench {
namespace {

using Message = std::array<std::byte, 64>;

void pipe() {
  auto typed = parley::os::Pipe::create().value();
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

void posix_semaphore() {
  alignas(sem_t) std::array<std::byte, sizeof(sem_t)> place{};
  auto typed = parley::os::posix::UnnamedSemaphore::create(place).value();
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
  using parley::os::posix::MessageQueue;
  const std::string name = "/parley-bench-" + std::to_string(getpid());
  auto made =
      MessageQueue::create(name, {.max_messages = 1, .message_size_bytes = sizeof(Message)});
  if (!made) return fmt::print("POSIX queue: refused: {}\n", message(made.error()));
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
  posix_semaphore();
  posix_queue();
}

}  // namespace parley::bench
