#include <doctest/doctest.h>

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <parley/os/pipe.hpp>

#include "os/sys.hpp"
#include "os/wait.hpp"
#include "support/descriptors.hpp"
#include "support/peer.hpp"
#include "support/signals.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::SignalsRestored;
using parley::test::wait_until_asleep;

TEST_CASE("the alarm of one thread does not interrupt another") {
  const SignalsRestored restored;
  auto pipe = Pipe::create().value();
  // The main thread is the undisturbed one: it is the first to get a signal sent to the process.
  const std::jthread waiter([&, main_thread = gettid()] {
    wait_until_asleep(main_thread);
    for (int i = 0; i < 20; ++i) {
      const auto ended = until(Deadline::after(3ms), [] { return sys::call<::pause>(); });
      CHECK(ended.error() == Error::timed_out);
    }
    CHECK(pipe.writer.write(bytes_of("x"), Deadline::now()));
  });
  pollfd entry{.fd = pipe.reader.fd().number(), .events = POLLIN, .revents = 0};
  CHECK(poll(&entry, 1, -1) == 1);  // -1 and EINTR, were it interrupted
}

TEST_CASE("the alarms of many threads each end their own call") {
  const SignalsRestored restored;
  const auto wait_often = [] {
    for (int i = 0; i < 20; ++i) {
      const auto deadline = Deadline::after(2ms);
      const auto ended = until(deadline, [] { return sys::call<::pause>(); });
      CHECK(ended.error() == Error::timed_out);
      CHECK(deadline.has_passed());
    }
  };
  const std::jthread one(wait_often);
  const std::jthread two(wait_often);
  wait_often();
}
