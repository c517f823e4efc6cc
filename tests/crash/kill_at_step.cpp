#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>

#include "base/seam.hpp"
#include "crash/crash.hpp"

namespace parley::test {
namespace {

class DyingDirector : public seam::Director {
 public:
  DyingDirector(std::uint64_t point, Shared<std::uint64_t>& steps) : point_(point), steps_(steps) {}

  void before(seam::Step /*step*/, const volatile void* /*word*/) override {
    const auto step = steps_.load() + 1;
    steps_.store(step);
    if (step == point_) ::kill(getpid(), SIGKILL);
  }

 private:
  std::uint64_t point_;
  Shared<std::uint64_t>& steps_;
};

}  // namespace

Killer::Killer(std::uint64_t point, Path& path)
    : point_(point), path_(path), go_(os::OwnedFd::from_number(eventfd(0, EFD_CLOEXEC))) {}

auto Killer::counts_instructions() -> bool {
  return false;
}

void Killer::operate(const std::function<void()>& operation) {
  DyingDirector director(point_, steps_);
  ready_.store(true);
  eventfd_t go = 0;
  REQUIRE(eventfd_read(go_.number(), &go) == 0);
  seam::director = &director;
  operation();
  seam::director = nullptr;
}

void Killer::await_ready(pid_t /*victim*/) {
  await("the victim is ready", [&] { return ready_.load(); });
}

auto Killer::strike(Peer& victim) -> int {
  REQUIRE(eventfd_write(go_.number(), 1) == 0);
  const int status = victim.wait();
  if (point_ == never) path_.steps = steps_.load();
  return status;
}

}  // namespace parley::test
