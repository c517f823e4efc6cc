#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <functional>

#include <parley/mutex.hpp>
#include <parley/os/pipe.hpp>
#include <parley/semaphore_set.hpp>

#include "base/seam.hpp"
#include "shm/layout/segment.hpp"
#include "support/peer.hpp"

using namespace std::chrono_literals;
using namespace parley;
using parley::test::Peer;

namespace {

/// Acts once, when this thread has looked at everything and is about to note what it will sleep on.
class BeforeSleep : public seam::Director {
 public:
  explicit BeforeSleep(std::function<void()> act) : act_(std::move(act)) { seam::director = this; }
  ~BeforeSleep() override { seam::director = nullptr; }

  void before(seam::Step step, const volatile void* word) override {
    constexpr std::uintptr_t offsets_in_page = 4095;
    const auto offset = reinterpret_cast<std::uintptr_t>(word) & offsets_in_page;
    if (step != seam::Step::load || offset != offsetof(shm::SegmentHeader, arrivals)) return;
    if (act_) std::exchange(act_, nullptr)();
  }

 private:
  std::function<void()> act_;
};

/// A peer that does something and stays.
auto staying(const std::function<void()>& body, os::Pipe& ready) -> std::function<void()> {
  return [&ready, body] {
    body();
    REQUIRE(ready.writer.write(std::as_bytes(std::span("x", 1)), Deadline::after(10s)));
    for (;;) pause();
  };
}

void await(os::Pipe& ready) {
  std::byte letter{};
  REQUIRE(ready.reader.read({&letter, 1}, Deadline::after(30s)));
}

}  // namespace

TEST_CASE("a mutex's holder who dies just before somebody sleeps on it is noticed") {
  auto ready = os::Pipe::create().value();
  auto mutex = Mutex::create().value();
  mutex.set_wait_strategy(WaitStrategy::block);
  Peer holder(staying([&] { REQUIRE(mutex.acquire(Deadline::now())); }, ready));
  await(ready);
  const BeforeSleep death([&] { holder.kill(); });
  CHECK(mutex.acquire(Deadline::after(10s)));
  CHECK(mutex.peer_died());
}

TEST_CASE("a unit that comes back just before somebody sleeps for it wakes him") {
  auto ready = os::Pipe::create().value();
  auto set = SemaphoreSet::create(std::vector<std::uint16_t>{1}).value();
  set.set_wait_strategy(WaitStrategy::block);
  const SemaphoreOperation take{.index = 0, .delta = -1, .undo = true};
  Peer holder(staying([&] { REQUIRE(set.operate(take, Deadline::now())); }, ready));
  await(ready);
  const BeforeSleep death([&] { holder.kill(); });
  CHECK(set.operate(take, Deadline::never()));
}
