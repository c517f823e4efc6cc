#include "message_queue.hpp"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/os/child.hpp>
#include <parley/semaphore_set.hpp>

#include "paired.hpp"

namespace parley::bench {
namespace {

/// The longest message that System V's queues take.
constexpr std::size_t sysv_bytes = 8192;
constexpr std::size_t largest_bytes = std::size_t{64} << 10U;

class SysvQueue {
 public:
  SysvQueue() : id_(msgget(IPC_PRIVATE, IPC_CREAT | 0600)) {}
  SysvQueue(const SysvQueue&) = delete;
  auto operator=(const SysvQueue&) -> SysvQueue& = delete;
  ~SysvQueue() { msgctl(id_, IPC_RMID, nullptr); }

  /// In as many messages as it takes.
  void send(std::size_t size) {
    for (std::size_t left = size; left > 0; left -= std::min(left, sysv_bytes)) {
      keep(msgsnd(id_, &message_, std::min(left, sysv_bytes), 0));
    }
  }
  void receive(std::size_t size) {
    for (std::size_t left = size; left > 0; left -= std::min(left, sysv_bytes)) {
      keep(msgrcv(id_, &message_, sysv_bytes, 0, 0));
    }
  }

 private:
  struct Message {
    long type = 1;
    std::array<char, sysv_bytes> text{};
  };
  int id_;
  Message message_;
};

class PosixQueue {
 public:
  PosixQueue() {
    mq_attr attributes{};
    attributes.mq_maxmsg = 10;
    attributes.mq_msgsize = 1024;
    const auto name = "/parley_bench_" + std::to_string(getpid());
    queue_ = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    mq_unlink(name.c_str());
  }
  PosixQueue(const PosixQueue&) = delete;
  auto operator=(const PosixQueue&) -> PosixQueue& = delete;
  ~PosixQueue() { mq_close(queue_); }

  void send(std::size_t size) { keep(mq_send(queue_, text_.data(), size, 0)); }
  void receive() { keep(mq_receive(queue_, text_.data(), text_.size(), nullptr)); }

 private:
  mqd_t queue_;
  std::array<char, 1024> text_{};
};

class ParleyQueue {
 public:
  ParleyQueue() : queue(MessageQueue::create({.messages = 200'000}).value()) {}

  void send(std::size_t size, std::uint64_t tag = 0) {
    queue.send(std::span(text_).first(size), {.tag = tag}, Deadline::never()).value();
  }
  void receive(Selection selection = Selection::oldest()) {
    keep(queue.receive(text_, {.selection = selection}, Deadline::never()).value());
  }

  MessageQueue queue;

 private:
  std::vector<std::byte> text_ = std::vector<std::byte>(largest_bytes);
};

/// Processes that send and processes that receive, each so many messages when it is told.
class Crew {
 public:
  Crew(std::size_t pairs, int messages, const std::function<void()>& send,
       const std::function<void()>& receive)
      : pairs_(pairs), messages_(messages) {
    for (std::size_t i = 0; i < pairs; ++i) {
      for (const auto& act : {receive, send}) {
        members_.push_back(os::Child::fork(
                               [this, act] {
                                 while (start_.wait(Deadline::never())) {
                                   for (int done = 0; done < messages_; ++done) act();
                                   finished_.post().value();
                                 }
                                 return 0;
                               },
                               {.die_with_parent = true})
                               .value());
      }
    }
  }

  /// Nanoseconds for each message of one round.
  auto sample() -> double {
    const auto began = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < members_.size(); ++i) start_.post().value();
    for (std::size_t i = 0; i < members_.size(); ++i) finished_.wait(Deadline::never()).value();
    const std::chrono::duration<double, std::nano> all = std::chrono::steady_clock::now() - began;
    return all.count() / (static_cast<double>(messages_) * static_cast<double>(pairs_));
  }

  ~Crew() {
    for (auto& member : members_) {
      keep(member.kill(SIGKILL));
      keep(member.wait(Deadline::never()));
    }
  }
  Crew(const Crew&) = delete;
  auto operator=(const Crew&) -> Crew& = delete;

 private:
  std::size_t pairs_;
  int messages_;
  Semaphore start_ = Semaphore::create(0).value();
  Semaphore finished_ = Semaphore::create(0).value();
  std::vector<os::Child> members_;
};

void in_one_process() {
  ParleyQueue ours;
  SysvQueue sysv;
  PosixQueue posix;
  for (const std::size_t size : {64U, 1024U}) {
    const auto pass = [&] {
      ours.send(size);
      ours.receive();
    };
    paired(fmt::format("{} B sent and received; msgsnd, msgrcv", size), pass, [&] {
      sysv.send(size);
      sysv.receive(size);
    });
    paired(fmt::format("{} B sent and received; mq_send, mq_receive", size), pass, [&] {
      posix.send(size);
      posix.receive();
    });
  }
}

void between_processes() {
  const auto flow = [](const std::string& name, std::size_t pairs, std::size_t size, int count) {
    ParleyQueue ours;
    SysvQueue theirs;
    Crew our_crew(pairs, count, [&] { ours.send(size); }, [&] { ours.receive(); });
    Crew their_crew(pairs, count, [&] { theirs.send(size); }, [&] { theirs.receive(size); });
    compare(name, [&] { return our_crew.sample(); }, [&] { return their_crew.sample(); });
  };
  flow("64 B from one process to another", 1, 64, 2000);
  flow("1 KiB from one process to another", 1, 1024, 1000);
  flow("64 KiB from one process to another", 1, largest_bytes, 50);
  flow("64 B, 4 senders and 4 receivers", 4, 64, 500);
}

/// Ours in both columns: a queue that is deep, and one that is not.
void deep() {
  for (const int depth : {10, 1000, 100'000}) {
    ParleyQueue filled;
    ParleyQueue empty;
    constexpr std::uint64_t tags = 1000;
    for (int i = 0; i < depth; ++i) filled.send(64, static_cast<std::uint64_t>(i) % tags);
    paired(
        fmt::format("through {} queued; through none", depth),
        [&] {
          filled.send(64);
          filled.receive();
        },
        [&] {
          empty.send(64);
          empty.receive();
        });
    paired(
        fmt::format("by tag past {} queued; past none", depth),
        [&] {
          filled.send(64, tags);
          filled.receive(Selection::tag(tags));
        },
        [&] {
          empty.send(64, tags);
          empty.receive(Selection::tag(tags));
        });
  }
}

}  // namespace

void message_queues() {
  print_heading("MessageQueue", "the kernel's");
  in_one_process();
  between_processes();
  print_heading("deep", "empty");
  deep();
}

}  // namespace parley::bench
