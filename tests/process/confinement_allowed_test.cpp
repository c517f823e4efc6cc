#include <parley/os/confinement.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <semaphore>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <parley/os/child.hpp>
#include <parley/os/memfd.hpp>
#include <parley/os/pipe.hpp>

#include "os/sys.hpp"
#include "support/confined.hpp"
#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::can_be_confined;
using parley::test::Peer;
using parley::test::skip;
using parley::test::TempDir;
using parley::test::text_of;

namespace {

auto stream_pair() -> std::pair<OwnedFd, OwnedFd> {
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  return {OwnedFd::from_number(ends[0]), OwnedFd::from_number(ends[1])};
}

union ControlBuffer {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

void send_descriptor(BorrowedFd socket, BorrowedFd fd) {
  char byte = 'd';
  iovec area{.iov_base = &byte, .iov_len = 1};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &area;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int number = fd.number();
  std::memcpy(CMSG_DATA(header), &number, sizeof number);
  REQUIRE(sendmsg(socket.number(), &message, MSG_NOSIGNAL) == 1);
}

auto receive_descriptor(BorrowedFd socket) -> OwnedFd {
  char byte = 0;
  iovec area{.iov_base = &byte, .iov_len = 1};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &area;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  REQUIRE(recvmsg(socket.number(), &message, MSG_CMSG_CLOEXEC) == 1);
  int number = -1;
  std::memcpy(&number, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof number);
  return OwnedFd::from_number(number);
}

}  // namespace

TEST_CASE("a descriptor that a confined process receives works: file, pipe, memory") {
  if (!can_be_confined()) return;
  const TempDir folder;
  const auto file =
      OwnedFd::from_number(open((folder / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  REQUIRE(write(file.number(), "from the file", 13) == 13);
  auto pipe = Pipe::create().value();
  REQUIRE(pipe.writer.write(bytes_of("from the pipe"), Deadline::now()));
  auto [ours, theirs] = stream_pair();
  Peer confined([&theirs = theirs] {
    REQUIRE(Confinement::enter());
    std::array<std::byte, 20> bytes{};
    const auto received = receive_descriptor(theirs);
    REQUIRE(pread(received.number(), bytes.data(), bytes.size(), 0) == 13);
    REQUIRE(text_of(std::span(bytes).first(13)) == "from the file");
    auto reader = PipeReader::adopt(receive_descriptor(theirs)).value();
    REQUIRE(reader.read(bytes, Deadline::never()).value() == 13);
    REQUIRE(text_of(std::span(bytes).first(13)) == "from the pipe");
    send_descriptor(theirs, reader.fd());
  });
  send_descriptor(ours, file);
  send_descriptor(ours, pipe.reader.fd());
  CHECK(receive_descriptor(ours).is_open());
}

TEST_CASE("a confined process makes pipes, memory, pairs, timers and events, and waits for them") {
  if (!can_be_confined()) return;
  Peer confined([] {
    REQUIRE(Confinement::enter());
    auto pipe = Pipe::create({.capacity_bytes = 8192}).value();
    REQUIRE(pipe.writer.write(bytes_of("x"), Deadline::now()));
    std::array<std::byte, 1> byte{};
    REQUIRE(pipe.reader.read(byte, Deadline::after(1s)).value() == 1);
    REQUIRE(pipe.reader.read(byte, Deadline::after(1ms)).error() == Error::timed_out);
    REQUIRE(duplicate(pipe.reader.fd()));

    auto memory = Memfd::create("parley-test", {.size_bytes = 4096}).value();
    void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd().number(), 0);
    REQUIRE(mapped != MAP_FAILED);
    std::memset(mapped, 1, 4096);
    REQUIRE(munmap(mapped, 4096) == 0);
    REQUIRE(memory.add_seals({.shrink = true, .grow = true}));

    for (const int type : {int{SOCK_STREAM}, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK}) {
      std::array<int, 2> ends{};
      REQUIRE(socketpair(AF_UNIX, type, 0, ends.data()) == 0);
      REQUIRE(send(ends[0], "x", 1, MSG_NOSIGNAL) == 1);
      REQUIRE(recv(ends[1], byte.data(), 1, 0) == 1);
    }

    const int events = eventfd(1, EFD_CLOEXEC);
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1000}};
    REQUIRE(timerfd_settime(timer, 0, &soon, nullptr) == 0);
    const int poller = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {.fd = timer}};
    REQUIRE(epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event) == 0);
    REQUIRE(epoll_wait(poller, &event, 1, -1) == 1);
    REQUIRE(int{event.data.fd} == timer);
    pollfd entry{.fd = events, .events = POLLIN, .revents = 0};
    REQUIRE(poll(&entry, 1, -1) == 1);

    timespec time{};
    for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID}) {
      REQUIRE(clock_gettime(clock, &time) == 0);
    }
    std::this_thread::sleep_for(1ms);
    REQUIRE(isatty(events) == 0);
    REQUIRE(errno == ENOTTY);
  });
}

TEST_CASE(
    "a confined process makes threads, and copies of itself that it can signal and wait for") {
  Peer confined([] {
    auto life = Pipe::create().value();
    const auto report = Confinement::enter().value();
    std::binary_semaphore turn(0);
    int value = 0;
    std::thread thread([&] {
      value = 7;
      turn.release();
    });
    turn.acquire();
    thread.join();
    REQUIRE(value == 7);

    const pid_t copy = fork();
    if (copy == 0) {  // lives until it is killed or this process has closed the pipe
      static_cast<void>(std::move(life.writer).into_fd());
      std::array<std::byte, 1> byte{};
      _exit(life.reader.read(byte, Deadline::never()) ? 0 : 1);
    }
    REQUIRE(copy > 0);
    // Without Landlock's scopes the filter cannot tell a copy from a stranger.
    const bool can_signal = report.landlock_abi.value_or(0) >= 6;
    const bool signalled = kill(copy, SIGKILL) == 0;
    static_cast<void>(std::move(life.writer).into_fd());
    int status = 0;
    REQUIRE(waitpid(copy, &status, 0) == copy);
    REQUIRE(signalled == can_signal);
    REQUIRE(WIFSIGNALED(status) == can_signal);
  });
}

TEST_CASE("a confined copy is confined as well, and a confined process can signal itself") {
  if (!can_be_confined()) return;
  Peer confined([] {
    REQUIRE(Confinement::enter());
    static volatile std::sig_atomic_t count = 0;
    std::signal(SIGUSR1, [](int) { count = count + 1; });
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    REQUIRE(raise(SIGUSR1) == 0);
    REQUIRE(pthread_kill(pthread_self(), SIGUSR1) == 0);
    REQUIRE(count == 3);
    const pid_t copy = fork();
    if (copy == 0) _exit(open("/dev/null", O_RDONLY) == -1 && errno == EPERM ? 0 : 1);
    int status = -1;
    REQUIRE(waitpid(copy, &status, 0) == copy);
    REQUIRE(status == 0);
  });
}

TEST_CASE("what a process has open or attached before it is confined goes on working") {
  if (!can_be_confined()) return;
  const TempDir folder;
  const std::string name = "/parley-test-held-" + std::to_string(getpid());
  const int segment = shmget(IPC_PRIVATE, 4096, 0600);
  void* attached = shmat(segment, nullptr, 0);
  REQUIRE(shmctl(segment, IPC_RMID, nullptr) == 0);
  REQUIRE(reinterpret_cast<long>(attached) != -1);
  const mqd_t queue = mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, nullptr);
  REQUIRE(queue != -1);
  REQUIRE(mq_unlink(name.c_str()) == 0);
  const auto file =
      OwnedFd::from_number(open((folder / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  Peer confined([&] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (folder / "socket").copy(address.sun_path, sizeof address.sun_path - 1);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    REQUIRE(bind(listener, generic, sizeof address) == 0);
    REQUIRE(listen(listener, 1) == 0);
    REQUIRE(connect(client, generic, sizeof address) == 0);
    REQUIRE(Confinement::enter());
    const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    REQUIRE(accepted >= 0);
    REQUIRE(send(client, "x", 1, MSG_NOSIGNAL) == 1);
    const int size = 8192;
    REQUIRE(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    REQUIRE(write(file.number(), "written", 7) == 7);
    REQUIRE(ftruncate(file.number(), 3) == 0);
    REQUIRE(mq_send(queue, "m", 1, 0) == 0);
    mq_attr attributes{};
    REQUIRE(mq_getattr(queue, &attributes) == 0);
    std::vector<char> message(static_cast<std::size_t>(attributes.mq_msgsize));
    REQUIRE(mq_receive(queue, message.data(), message.size(), nullptr) == 1);
    *static_cast<char*>(attached) = 'x';
    REQUIRE(shmdt(attached) == 0);
  });
  CHECK(confined.wait() == 0);
  mq_close(queue);
  shmdt(attached);
}

TEST_CASE("entering a second time is not permitted, and asking what it would do says so") {
  if (!can_be_confined()) return;
  Peer confined([] {
    REQUIRE(Confinement::enter());
    REQUIRE(Confinement::enter().error() == Error::not_permitted);
    REQUIRE(Confinement::probe().why_not(ConfinementPart::paths) == Error::not_permitted);
  });
}

TEST_CASE("asking what entering would do changes nothing, and a refused enter neither") {
  if (!can_be_confined()) return;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) != 0 || prctl(PR_GET_SECCOMP) != 0) {
    skip("this process is under a filter already, so a change would not show");
    return;
  }
  Peer peer([] {
    const auto before = parley::test::open_descriptors();
    REQUIRE(Confinement::probe().complete());
    const auto datagrams = OwnedFd::from_number(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(Confinement::enter().error() == Error::busy);
    REQUIRE(parley::test::open_descriptors() == before + 1);
    REQUIRE(prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) == 0);
    REQUIRE(prctl(PR_GET_SECCOMP) == 0);
    REQUIRE(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
  });
}

TEST_CASE("a held socket that can name strangers is found, and those that cannot are not") {
  if (!can_be_confined()) return;
  struct Held {
    int domain;
    int type;
    bool is_door;
  };
  for (const Held& held : {Held{AF_UNIX, SOCK_DGRAM, true}, Held{AF_INET, SOCK_DGRAM, true},
                           Held{AF_INET6, SOCK_DGRAM, true}, Held{AF_NETLINK, SOCK_RAW, true},
                           Held{AF_UNIX, SOCK_STREAM, false}, Held{AF_UNIX, SOCK_SEQPACKET, false},
                           Held{AF_INET, SOCK_STREAM, false}, Held{AF_INET6, SOCK_STREAM, false}}) {
    CAPTURE(held.domain);
    CAPTURE(held.type);
    const auto fd = OwnedFd::from_number(socket(held.domain, held.type | SOCK_CLOEXEC, 0));
    if (!fd.is_open()) continue;  // a machine without IPv6
    const auto report = Confinement::probe();
    CHECK(report.complete() != held.is_door);
    CHECK(std::ranges::count(report.held_open_doors, fd.number()) == (held.is_door ? 1 : 0));
    CHECK(report.why_not(ConfinementPart::held_sockets).has_value() == held.is_door);
  }
}

TEST_CASE("a held io_uring, which the kernel may serve unseen, is found") {
  if (!can_be_confined()) return;
  io_uring_params parameters{};
  const auto ring =
      OwnedFd::from_number(static_cast<int>(syscall(SYS_io_uring_setup, 1, &parameters)));
  if (!ring.is_open()) {
    skip("no io_uring here");
    return;
  }
  CHECK(Confinement::probe().held_open_doors == std::vector<int>{ring.number()});
}
