// What signals are to a program: the same on the kernel and with the drop-in preloaded.
#include <doctest/doctest.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <ctime>

#include "support/peer.hpp"

// Programs use them still.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

extern "C" auto bsd_signal(int signal, void (*handler)(int)) noexcept -> void (*)(int);

namespace parley::test {
namespace {

volatile sig_atomic_t runs = 0;
volatile sig_atomic_t last_signal = 0;

void note(int signal) {
  runs = runs + 1;
  last_signal = signal;
}

class Set {
 public:
  Set() : id_(semget(IPC_PRIVATE, 1, 0600)) { REQUIRE(id_ >= 0); }
  Set(const Set&) = delete;
  auto operator=(const Set&) -> Set& = delete;
  ~Set() { semctl(id_, 0, IPC_RMID); }

  /// errno of the call; 0 where it succeeded.
  [[nodiscard]] auto add(int delta, short flags = 0) const -> int {
    sembuf operation{.sem_num = 0, .sem_op = static_cast<short>(delta), .sem_flg = flags};
    return semop(id_, &operation, 1) == 0 ? 0 : errno;
  }
  [[nodiscard]] auto take_within(timespec time) const -> int {
    sembuf operation{.sem_num = 0, .sem_op = -1, .sem_flg = 0};
    return semtimedop(id_, &operation, 1, &time) == 0 ? 0 : errno;
  }
  [[nodiscard]] auto waiting() const -> int { return semctl(id_, 0, GETNCNT); }

 private:
  int id_;
};

void handle(int signal, int flags, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  REQUIRE(sigaction(signal, &action, nullptr) == 0);
}

/// In a peer that has done `prepare`, semop ends with EINTR at SIGUSR1.
void check_interrupted(void (*prepare)()) {
  const Set set;
  Peer peer([&] {
    prepare();
    REQUIRE(set.add(-1) == EINTR);
    REQUIRE(runs == 1);
    REQUIRE(last_signal == SIGUSR1);
  });
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR1);
  CHECK(peer.wait() == 0);
  CHECK(set.waiting() == 0);
  CHECK(set.add(1) == 0);
  CHECK(set.add(-1, IPC_NOWAIT) == 0);
}

auto own_handler(int signal) -> struct sigaction {
  struct sigaction action{};
  REQUIRE(sigaction(signal, nullptr, &action) == 0);
  return action;
}

}  // namespace

TEST_CASE("semop ends with EINTR at any handler, also one with SA_RESTART") {
  check_interrupted([] { handle(SIGUSR1, 0, note); });
  check_interrupted([] { handle(SIGUSR1, SA_RESTART, note); });
  check_interrupted([] { ::signal(SIGUSR1, note); });
  check_interrupted([] { bsd_signal(SIGUSR1, note); });
  check_interrupted([] { ssignal(SIGUSR1, note); });
  check_interrupted([] { sysv_signal(SIGUSR1, note); });
  check_interrupted([] { __sysv_signal(SIGUSR1, note); });
  check_interrupted([] { sigset(SIGUSR1, note); });
  check_interrupted([] {
    struct sigaction action{};
    action.sa_sigaction = [](int signal, siginfo_t*, void*) { note(signal); };
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  });
}

TEST_CASE("semtimedop ends with EINTR too, and an ignored signal ends nothing") {
  const Set set;
  Peer peer([&] {
    REQUIRE((::signal(SIGUSR2, SIG_IGN) == SIG_DFL));
    handle(SIGUSR1, SA_RESTART, note);
    REQUIRE(set.take_within({.tv_sec = 1000, .tv_nsec = 0}) == EINTR);
    REQUIRE(runs == 1);
  });
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR2);
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR1);
  CHECK(peer.wait() == 0);
}

TEST_CASE("what is asked and what was there are the program's own handlers and flags") {
  const auto with_information = [](int, siginfo_t*, void*) {};
  handle(SIGUSR1, SA_RESTART, note);
  CHECK((own_handler(SIGUSR1).sa_handler == note));
  CHECK((own_handler(SIGUSR1).sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER)) == SA_RESTART);
  struct sigaction action{};
  action.sa_sigaction = with_information;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaddset(&action.sa_mask, SIGUSR2);
  struct sigaction old{};
  CHECK(sigaction(SIGUSR1, &action, &old) == 0);
  CHECK((old.sa_handler == note));
  CHECK((old.sa_flags & SA_SIGINFO) == 0);
  old = own_handler(SIGUSR1);
  CHECK((old.sa_sigaction == +with_information));
  CHECK((old.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER)) == (SA_SIGINFO | SA_NODEFER));
  CHECK(sigismember(&old.sa_mask, SIGUSR2) == 1);
  CHECK(sigismember(&old.sa_mask, SIGUSR1) == 0);
  CHECK((::signal(SIGUSR1, SIG_DFL) == reinterpret_cast<void (*)(int)>(+with_information)));
  CHECK((own_handler(SIGUSR1).sa_handler == SIG_DFL));
  CHECK((::signal(SIGUSR1, note) == SIG_DFL));
  CHECK((own_handler(SIGUSR1).sa_flags & SA_RESTART) != 0);
  CHECK((sysv_signal(SIGUSR1, SIG_IGN) == note));
  CHECK((::signal(SIGUSR1, SIG_DFL) == SIG_IGN));
}

TEST_CASE("a handler is given the signal, its value and its sender, and errno is its own affair") {
  static siginfo_t told;
  struct sigaction action{};
  action.sa_sigaction = [](int signal, siginfo_t* information, void* context) {
    note(context != nullptr ? signal : 0);
    told = *information;
    errno = EXDEV;
  };
  action.sa_flags = SA_SIGINFO;
  REQUIRE(sigaction(SIGRTMIN, &action, nullptr) == 0);
  errno = 0;
  REQUIRE(sigqueue(getpid(), SIGRTMIN, {.sival_int = 77}) == 0);
  CHECK(errno == EXDEV);
  CHECK(last_signal == SIGRTMIN);
  CHECK(told.si_value.sival_int == 77);
  CHECK(told.si_pid == getpid());
  CHECK(told.si_code == SI_QUEUE);
  handle(SIGRTMIN, 0, note);
  errno = ENOTTY;
  REQUIRE(std::raise(SIGRTMIN) == 0);
  CHECK(errno == ENOTTY);
  CHECK(runs == 2);
}

TEST_CASE("SA_RESETHAND resets, SA_NODEFER lets the signal in again") {
  handle(SIGUSR1, static_cast<int>(SA_RESETHAND), note);
  REQUIRE(std::raise(SIGUSR1) == 0);
  CHECK(runs == 1);
  CHECK((own_handler(SIGUSR1).sa_handler == SIG_DFL));
  static int depth = 0;
  static int deepest = 0;
  const auto again = [](int signal) {
    deepest = std::max(deepest, ++depth);
    if (depth < 3) std::raise(signal);
    --depth;
  };
  handle(SIGUSR1, SA_NODEFER, again);
  REQUIRE(std::raise(SIGUSR1) == 0);
  CHECK(deepest == 3);
}

TEST_CASE("bad signals and handlers fail as the C library says") {
  struct sigaction action{};
  action.sa_handler = note;
  for (const int signal : {-1, 0, NSIG, 1000, SIGKILL, SIGSTOP, 32, 33}) {
    CAPTURE(signal);
    errno = 0;
    CHECK(sigaction(signal, &action, nullptr) == -1);
    CHECK(errno == EINVAL);
    errno = 0;
    CHECK((::signal(signal, note) == SIG_ERR));
    CHECK(errno == EINVAL);
    CHECK(siginterrupt(signal, 1) == -1);
    CHECK((sigset(signal, note) == SIG_ERR));
    CHECK((sysv_signal(signal, note) == SIG_ERR));
  }
  CHECK((::signal(SIGUSR1, SIG_ERR) == SIG_ERR));
  CHECK((own_handler(SIGKILL).sa_handler == SIG_DFL));
}

TEST_CASE("siginterrupt decides about SA_RESTART, for the handlers of signal(3) to come too") {
  REQUIRE((::signal(SIGUSR1, note) == SIG_DFL));
  CHECK(siginterrupt(SIGUSR1, 1) == 0);
  CHECK((own_handler(SIGUSR1).sa_flags & SA_RESTART) == 0);
  CHECK((own_handler(SIGUSR1).sa_handler == note));
  REQUIRE((::signal(SIGUSR1, note) == note));
  CHECK((own_handler(SIGUSR1).sa_flags & SA_RESTART) == 0);
  CHECK(siginterrupt(SIGUSR1, 0) == 0);
  CHECK((own_handler(SIGUSR1).sa_flags & SA_RESTART) != 0);
  REQUIRE(std::raise(SIGUSR1) == 0);
  CHECK(runs == 1);
}

TEST_CASE("sigset holds a signal, and says so") {
  REQUIRE((sigset(SIGUSR1, note) == SIG_DFL));
  CHECK((sigset(SIGUSR1, SIG_HOLD) == note));
  REQUIRE(std::raise(SIGUSR1) == 0);
  CHECK(runs == 0);
  CHECK((sigset(SIGUSR1, SIG_HOLD) == SIG_HOLD));
  CHECK((sigset(SIGUSR1, note) == SIG_HOLD));
  CHECK(runs == 1);
  CHECK((sigset(SIGUSR1, SIG_DFL) == note));
}

TEST_CASE("a child of vfork that resets its handlers takes none from its parent") {
  handle(SIGUSR1, 0, note);
  const pid_t child = vfork();  // NOLINT(bugprone-unsafe-functions): what is asked about
  if (child == 0) {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    sigaction(SIGUSR1, &action, nullptr);
    _exit(0);
  }
  REQUIRE(waitpid(child, nullptr, 0) == child);
  REQUIRE(std::raise(SIGUSR1) == 0);
  CHECK(runs == 1);
  CHECK((own_handler(SIGUSR1).sa_handler == note));
}

TEST_CASE("a handler may call semop itself, and both calls be interrupted") {
  static const Set* inner;
  static int inner_error;
  const Set outer;
  const Set second;
  inner = &second;
  Peer peer([&] {
    handle(SIGUSR2, SA_RESTART, note);
    handle(SIGUSR1, SA_RESTART, [](int) { inner_error = inner->add(-1); });
    REQUIRE(outer.add(-1) == EINTR);
    REQUIRE(inner_error == EINTR);
  });
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR1);
  while (second.waiting() != 1) usleep(1000);
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR2);
  CHECK(peer.wait() == 0);
}

TEST_CASE("a handler may leave semop by siglongjmp, and signals come as before") {
  static ::sigjmp_buf back;
  const Set set;
  Peer peer([&] {
    handle(SIGUSR1, SA_RESTART, [](int) { siglongjmp(back, 1); });
    if (sigsetjmp(back, 1) == 0) {
      static_cast<void>(set.add(-1));
      REQUIRE(false);
    }
    handle(SIGUSR1, SA_RESTART, note);
    REQUIRE(std::raise(SIGUSR1) == 0);
    REQUIRE(runs == 1);
  });
  wait_until_asleep(peer.pid());
  ::kill(peer.pid(), SIGUSR1);
  CHECK(peer.wait() == 0);
}

}  // namespace parley::test
