#include <parley/deadline.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;

TEST_CASE("the try form has nothing left and fails as would_block") {
  CHECK(Deadline::now().has_passed());
  CHECK(Deadline::now().error() == Error::would_block);
}

TEST_CASE("a deadline that never comes has not passed") {
  CHECK(Deadline::never().is_never());
  CHECK_FALSE(Deadline::never().has_passed());
}

TEST_CASE("a duration that the clock cannot hold is never, and a negative one is past") {
  CHECK(Deadline::after(Deadline::Clock::duration::max()).is_never());
  const auto past = Deadline::after(-1s);
  CHECK(past.has_passed());
  CHECK(past.error() == Error::timed_out);
}

TEST_CASE("what remains shrinks and is never negative") {
  const auto soon = Deadline::after(1h);
  const auto first = soon.remaining();
  CHECK(first <= 1h);
  CHECK(soon.remaining() <= first);
  CHECK(Deadline::at(Deadline::Clock::now() - 1s).remaining() == 0s);
}
