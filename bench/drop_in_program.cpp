// A program of System V and POSIX IPC that knows nothing of Parley, run on the kernel's objects and
// on the drop-in's. It is told the number of a measurement on its standard input, again and again,
// and answers with the nanoseconds of one operation.
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

struct Message {
  long type;
  std::array<char, 64> text;
};

/// What this program has made; removed at its end.
struct Made {
  std::vector<int> sets;
  std::vector<int> queues;
  std::vector<pid_t> children;
  std::string name = "/parley-bench-" + std::to_string(getpid());
  bool named = false;

  ~Made() {
    for (const pid_t child : children) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
    for (const int set : sets) semctl(set, 0, IPC_RMID);
    for (const int queue : queues) msgctl(queue, IPC_RMID, nullptr);
    if (named) mq_unlink(name.c_str());
  }
};
Made made;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void require(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::exit(1);  // NOLINT(concurrency-mt-unsafe)
}

auto new_set() -> int {
  const int set = semget(IPC_PRIVATE, 1, 0600);
  require(set >= 0, "semget");
  made.sets.push_back(set);
  return set;
}

auto new_queue() -> int {
  const int queue = msgget(IPC_PRIVATE, 0600);
  require(queue >= 0, "msgget");
  made.queues.push_back(queue);
  return queue;
}

template <class Body>
auto time_each(int count, Body body) -> double {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) body();
  const std::chrono::duration<double, std::nano> all = std::chrono::steady_clock::now() - start;
  return all.count() / count;
}

void send(int queue, long type) {
  const Message message{.type = type, .text = {}};
  require(msgsnd(queue, &message, sizeof message.text, 0) == 0, "msgsnd");
}

void receive(int queue, long type) {
  Message message{};
  require(msgrcv(queue, &message, sizeof message.text, type, 0) >= 0, "msgrcv");
}

auto semop_pair(short flags) -> double {
  static const int set = new_set();
  std::array<sembuf, 1> give{{{0, 1, flags}}};
  std::array<sembuf, 1> take{{{0, -1, flags}}};
  return time_each(1000, [&] {
    semop(set, give.data(), 1);
    require(semop(set, take.data(), 1) == 0, "semop");
  });
}

auto message_pair() -> double {
  static const int queue = new_queue();
  return time_each(500, [&] {
    send(queue, 1);
    receive(queue, 1);
  });
}

auto receive_behind_others() -> double {
  constexpr int others = 200;
  constexpr int wanted = 20;
  static const int queue = [] {
    const int made_now = new_queue();
    for (int i = 0; i < others; ++i) send(made_now, 1);
    return made_now;
  }();
  for (int i = 0; i < wanted; ++i) send(queue, 2);
  return time_each(wanted, [&] { receive(queue, 2); });
}

auto posix_pair() -> double {
  static const mqd_t queue = [] {
    mq_attr attributes{};
    attributes.mq_maxmsg = 10;
    attributes.mq_msgsize = 64;
    const mqd_t opened = mq_open(made.name.c_str(), O_CREAT | O_RDWR, 0600, &attributes);
    require(opened != static_cast<mqd_t>(-1), "mq_open");
    made.named = true;
    return opened;
  }();
  std::array<char, 64> text{};
  return time_each(500, [&] {
    mq_send(queue, text.data(), text.size(), 1);
    require(mq_receive(queue, text.data(), text.size(), nullptr) >= 0, "mq_receive");
  });
}

void move_to(std::size_t processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/// Another process, on the other processor, that does this until it is killed.
template <class Body>
void beside(Body body) {
  const pid_t child = fork();
  require(child >= 0, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    move_to(1);
    for (;;) body();
  }
  made.children.push_back(child);
  move_to(0);
}

auto round_trip() -> double {
  struct Pair {
    int there;
    int back;
  };
  static const Pair queues = [] {
    const Pair pair{.there = new_queue(), .back = new_queue()};
    beside([&] {
      receive(pair.there, 0);
      send(pair.back, 1);
    });
    return pair;
  }();
  return time_each(200, [&] {
    send(queues.there, 1);
    receive(queues.back, 0);
  });
}

auto flow() -> double {
  static const int queue = [] {
    const int made_now = new_queue();
    beside([=] { receive(made_now, 0); });
    return made_now;
  }();
  return time_each(5000, [&] { send(queue, 1); });
}

/// Of a key among so many others. The keys are this program's: nobody else is in its space.
auto open_by_key(int count) -> double {
  static int there = 0;
  constexpr key_t first = 0x50000000;
  for (; there < count; ++there) {
    const int set = semget(first + there, 1, IPC_CREAT | 0600);
    require(set >= 0, "semget");
    made.sets.push_back(set);
  }
  int next = 0;
  return time_each(200, [&] {
    next = (next + 7919) % count;
    require(semget(first + next, 1, 0) >= 0, "semget");
  });
}

auto measure(int number) -> double {
  switch (number) {
    case 0:
      return semop_pair(0);
    case 1:
      return semop_pair(SEM_UNDO);
    case 2:
      return message_pair();
    case 3:
      return receive_behind_others();
    case 4:
      return posix_pair();
    case 5:
      return round_trip();
    case 6:
      return flow();
    case 7:
      return open_by_key(10);
    default:
      return open_by_key(16384);
  }
}

}  // namespace

auto main() -> int {
  int number = 0;
  while (std::scanf("%d", &number) == 1) {
    std::printf("%f\n", measure(number));
    std::fflush(stdout);
  }
  return 0;
}
