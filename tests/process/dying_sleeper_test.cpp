#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include <parley/mutex.hpp>
#include <parley/os/child.hpp>

#include "crash/segment_view.hpp"
#include "os/futex.hpp"
#include "support/peer.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using namespace parley;
using parley::test::Peer;
using parley::test::SegmentView;

namespace {

/// Words that are shared with peers, all 0.
class SharedWords {
 public:
  SharedWords() {
    void* const memory =
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    words_ = static_cast<std::uint32_t*>(memory);
  }
  SharedWords(const SharedWords&) = delete;
  auto operator=(const SharedWords&) -> SharedWords& = delete;
  ~SharedWords() { munmap(words_, 4096); }

  [[nodiscard]] auto operator[](std::size_t at) const -> const std::uint32_t* {
    return words_ + at;
  }

 private:
  std::uint32_t* words_;
};

void sleep_on(const std::uint32_t* word, const std::uint32_t* bell, Deadline deadline) {
  const os::WatchedWord watched{.word = word, .expected = 0};
  REQUIRE(os::futex_wait({&watched, 1}, deadline, bell));
}

/// Without it nobody needs a bell: all sleepers look again every few milliseconds.
auto has_waitv() -> bool {
  const auto called = syscall(SYS_futex_waitv, nullptr, 0U, 0U, nullptr, CLOCK_MONOTONIC);
  if (called == -1 && errno == EINVAL) return true;
  parley::test::skip("no futex_waitv here");
  return false;
}

}  // namespace

TEST_CASE("who is killed in its sleep wakes another who sleeps on the same bell") {
  if (!has_waitv()) return;
  const SharedWords words;
  const auto* const bell = words[0];
  Peer victim([&] { sleep_on(words[1], bell, Deadline::never()); });
  Peer other([&] { sleep_on(words[2], bell, Deadline::after(20s)); });
  parley::test::wait_until_asleep(victim.pid());
  parley::test::wait_until_asleep(other.pid());
  victim.kill();
  CHECK(other.wait() == 0);
}

TEST_CASE("a sleeper that the C library did not start wakes another when it is killed, too") {
  if (!has_waitv()) return;
  const SharedWords words;
  const auto* const bell = words[0];
  auto victim = os::Child::fork([&] {
                  sleep_on(words[1], bell, Deadline::never());
                  return 0;
                }).value();
  Peer other([&] { sleep_on(words[2], bell, Deadline::after(20s)); });
  parley::test::wait_until_asleep(victim.pid());
  parley::test::wait_until_asleep(other.pid());
  REQUIRE(victim.kill(SIGKILL));
  CHECK(other.wait() == 0);
}

TEST_CASE("who sleeps on an object and is killed rings the object's bell") {
  if (!has_waitv()) return;
  auto mutex = Mutex::create().value();
  mutex.set_wait_strategy(WaitStrategy::block);
  const SegmentView view(mutex.descriptor());
  REQUIRE(mutex.acquire(Deadline::now()));
  Peer victim([&] { static_cast<void>(mutex.acquire(Deadline::never())); });
  Peer other([&] { sleep_on(view.header().bell.futex_word(), nullptr, Deadline::after(20s)); });
  parley::test::wait_until_asleep(victim.pid());
  parley::test::wait_until_asleep(other.pid());
  victim.kill();
  CHECK(other.wait() == 0);
  CHECK(mutex.release());
}
