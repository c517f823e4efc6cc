#include <parley/os/descriptor.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include <parley/os/pipe.hpp>

#include "support/descriptors.hpp"

using parley::Error;
using namespace parley::os;
using parley::test::open_descriptors;

TEST_CASE("an owned descriptor is closed once, by its last owner") {
  const auto before = open_descriptors();
  {
    auto pipe = Pipe::create().value();
    OwnedFd first = std::move(pipe.reader).into_fd();
    OwnedFd second = std::move(first);
    CHECK_FALSE(first.is_open());
    CHECK(second.is_open());
    first = std::move(second);
    CHECK(first.is_open());
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("assigning over an owned descriptor closes the one it held") {
  auto pipe = Pipe::create().value();
  const auto before = open_descriptors();
  OwnedFd fd = std::move(pipe.reader).into_fd();
  fd = std::move(pipe.writer).into_fd();
  CHECK(open_descriptors() == before - 1);
}

TEST_CASE("a released descriptor is the caller's to close") {
  auto pipe = Pipe::create().value();
  const int number = std::move(pipe.reader).into_fd().release();
  CHECK(fcntl(number, F_GETFD) >= 0);
  CHECK(close(number) == 0);
}

TEST_CASE("a duplicate shares the description's flags and is closed on exec") {
  const auto pipe = Pipe::create().value();
  const auto copy = duplicate(pipe.reader.fd()).value();
  CHECK(closes_on_exec(copy).value());
  CHECK(is_nonblocking(copy).value());
  REQUIRE(set_nonblocking(copy, false));
  CHECK_FALSE(is_nonblocking(pipe.reader.fd()).value());
  REQUIRE(set_close_on_exec(copy, false));
  CHECK_FALSE(closes_on_exec(copy).value());
  CHECK(closes_on_exec(pipe.reader.fd()).value());
}

TEST_CASE("a number that is not open is a bad descriptor") {
  const auto nothing = BorrowedFd::from_number(-1);
  CHECK(duplicate(nothing).error() == Error::bad_descriptor);
  CHECK(is_nonblocking(nothing).error() == Error::bad_descriptor);
}
