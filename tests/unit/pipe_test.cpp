#include <parley/os/pipe.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <csignal>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "os/sys.hpp"
#include "support/descriptors.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::text_of;

namespace {

template <class End>
concept CanWrite =
    requires(End end, std::span<const std::byte> bytes) { end.write(bytes, Deadline::now()); };
template <class End>
concept CanRead =
    requires(End end, std::span<std::byte> bytes) { end.read(bytes, Deadline::now()); };

auto read_text(PipeReader& reader, std::size_t at_most = 100) -> std::string {
  std::vector<std::byte> buffer(at_most);
  const auto count = reader.read(buffer, Deadline::now()).value();
  return text_of(std::span(buffer).first(count));
}

/// Fills the pipe to the last byte that it takes.
auto fill(PipeWriter& writer) -> std::size_t {
  const std::vector<std::byte> page(PIPE_BUF);
  std::size_t total = 0;
  while (const auto written = writer.write_some(page, Deadline::now())) total += *written;
  return total;
}

/// A file without a name that holds `text` and is at its beginning.
auto new_file(std::string_view text) -> OwnedFd {
  auto file = OwnedFd::from_number(memfd_create("parley-test", MFD_CLOEXEC));
  REQUIRE(pwrite(file.number(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return file;
}

volatile std::sig_atomic_t sigpipe_count = 0;

/// For this thread, which raised it.
auto sigpipe_is_pending() -> bool {
  sigset_t pending{};
  sigpending(&pending);
  return sigismember(&pending, SIGPIPE) == 1;
}

}  // namespace

TEST_CASE("writing to a read end and reading from a write end do not compile") {
  static_assert(CanRead<PipeReader> && !CanWrite<PipeReader>);
  static_assert(CanWrite<PipeWriter> && !CanRead<PipeWriter>);
  static_assert(!std::is_copy_constructible_v<PipeReader>);
}

TEST_CASE("what is written is read, in order, and its count is told") {
  auto [reader, writer] = Pipe::create().value();
  REQUIRE(writer.write(bytes_of("hello, "), Deadline::now()));
  REQUIRE(writer.write(bytes_of("pipe"), Deadline::now()));
  CHECK(reader.bytes_waiting().value() == 11);
  CHECK(read_text(reader) == "hello, pipe");
}

TEST_CASE("both ends are closed on exec") {
  const auto pipe = Pipe::create().value();
  CHECK(closes_on_exec(pipe.reader.fd()).value());
  CHECK(closes_on_exec(pipe.writer.fd()).value());
}

TEST_CASE("an empty pipe ends a read at its deadline, and the try form at once") {
  auto [reader, writer] = Pipe::create().value();
  std::array<std::byte, 8> buffer{};
  CHECK(reader.read(buffer, Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(reader.read(buffer, Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
}

TEST_CASE("a full pipe ends a write at its deadline, and takes more once it was read") {
  auto [reader, writer] = Pipe::create().value();
  const auto capacity = writer.capacity_bytes().value();
  CHECK(fill(writer) == capacity);
  CHECK(reader.bytes_waiting().value() == capacity);
  CHECK(writer.write(bytes_of("x"), Deadline::now()).error() == Error::would_block);
  CHECK(writer.write(bytes_of("x"), Deadline::after(5ms)).error() == Error::timed_out);
  std::vector<std::byte> all(capacity);
  CHECK(reader.read_all(all, Deadline::now()).value() == capacity);
  CHECK(writer.write(bytes_of("x"), Deadline::now()));
}

TEST_CASE("after the last writer the reader gets the rest and then the end") {
  auto pipe = Pipe::create().value();
  REQUIRE(pipe.writer.write(bytes_of("rest"), Deadline::now()));
  static_cast<void>(std::move(pipe.writer).into_fd());
  CHECK(read_text(pipe.reader) == "rest");
  CHECK(read_text(pipe.reader).empty());
  std::array<std::byte, 8> buffer{};
  CHECK(pipe.reader.read_all(buffer, Deadline::never()).value() == 0);
}

TEST_CASE("a pipe without a reader is a broken pipe and never a SIGPIPE") {
  struct sigaction counting{};
  struct sigaction before{};
  counting.sa_handler = [](int) { sigpipe_count = sigpipe_count + 1; };
  REQUIRE(sigaction(SIGPIPE, &counting, &before) == 0);
  auto pipe = Pipe::create().value();
  auto full = Pipe::create().value();
  REQUIRE(full.writer.write(bytes_of("source"), Deadline::now()));
  static_cast<void>(std::move(pipe.reader).into_fd());

  SUBCASE("by write") {
    CHECK(pipe.writer.write(bytes_of("x"), Deadline::never()).error() == Error::broken_pipe);
  }
  SUBCASE("by write, on a kernel that cannot be asked for no signal") {
    std::thread([&] {  // each asks for itself, once
      sys::injection = {.calls_until_failure = 1, .error = Error::not_supported};
      CHECK(pipe.writer.write(bytes_of("x"), Deadline::never()).error() == Error::broken_pipe);
      CHECK(sys::injection.fired);
      CHECK_FALSE(sigpipe_is_pending());
    })
        .join();
  }
  SUBCASE("by vmsplice") {
    char text[] = "x";
    const iovec area{.iov_base = text, .iov_len = 1};
    CHECK(pipe.writer.vmsplice_from({&area, 1}, Deadline::never()).error() == Error::broken_pipe);
  }
  SUBCASE("by splice") {
    CHECK(pipe.writer.splice_from(full.reader.fd(), 6, Deadline::never()).error() ==
          Error::broken_pipe);
  }
  SUBCASE("by tee") {
    CHECK(pipe.writer.tee_from(full.reader, 6, Deadline::never()).error() == Error::broken_pipe);
  }
  CHECK(sigpipe_count == 0);
  CHECK_FALSE(sigpipe_is_pending());
  sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("in packet mode each write is one packet and the rest of a short read is dropped") {
  auto [reader, writer] = Pipe::create({.packets = true}).value();
  REQUIRE(writer.write(bytes_of("first"), Deadline::now()));
  REQUIRE(writer.write(bytes_of("second"), Deadline::now()));
  REQUIRE(writer.write(bytes_of("third"), Deadline::now()));
  CHECK(read_text(reader) == "first");
  CHECK(read_text(reader, 3) == "sec");
  CHECK(read_text(reader) == "third");
}

TEST_CASE("the capacity is rounded up to a power of two of pages and can be asked for") {
  auto [reader, writer] = Pipe::create({.capacity_bytes = 100'000}).value();
  CHECK(reader.capacity_bytes().value() == 131'072);
  CHECK(writer.set_capacity_bytes(1).value() == static_cast<std::size_t>(getpagesize()));
  CHECK(writer.set_capacity_bytes(std::size_t{1} << 40).error() == Error::invalid);
}

TEST_CASE("a capacity below what waits in the pipe is busy and changes nothing") {
  auto [reader, writer] = Pipe::create().value();
  const auto capacity = fill(writer);
  CHECK(writer.set_capacity_bytes(1).error() == Error::busy);
  CHECK(writer.capacity_bytes().value() == capacity);
}

TEST_CASE("splice moves from a pipe to a pipe, tee copies and leaves") {
  auto from = Pipe::create().value();
  auto to = Pipe::create().value();
  REQUIRE(from.writer.write(bytes_of("abcdef"), Deadline::now()));
  CHECK(to.writer.tee_from(from.reader, 100, Deadline::now()).value() == 6);
  CHECK(from.reader.bytes_waiting().value() == 6);
  CHECK(to.writer.splice_from(from.reader.fd(), 4, Deadline::now()).value() == 4);
  CHECK(from.reader.bytes_waiting().value() == 2);
  CHECK(from.reader.splice_to(to.writer.fd(), 100, Deadline::now()).value() == 2);
  CHECK(read_text(to.reader) == "abcdefabcdef");
}

TEST_CASE("splice and tee wait until their deadline for what to move") {
  auto from = Pipe::create().value();
  auto to = Pipe::create().value();
  CHECK(from.reader.splice_to(to.writer.fd(), 1, Deadline::now()).error() == Error::would_block);
  CHECK(to.writer.tee_from(from.reader, 1, Deadline::after(2ms)).error() == Error::timed_out);
  static_cast<void>(std::move(from.writer).into_fd());
  CHECK(from.reader.splice_to(to.writer.fd(), 1, Deadline::never()).value() == 0);
}

TEST_CASE("splice moves from a file and into one, at its position or at a stated place") {
  auto [reader, writer] = Pipe::create().value();
  const auto file = new_file("0123456789");
  CHECK(writer.splice_from(file, 2, Deadline::now()).value() == 2);
  CHECK(writer.splice_from(file, 3, Deadline::now(), {.offset_bytes = 7}).value() == 3);
  CHECK(writer.splice_from(file, 2, Deadline::now()).value() == 2);
  CHECK(writer.splice_from(file, 1, Deadline::now(), {.offset_bytes = 10}).value() == 0);
  CHECK(reader.splice_to(file, 2, Deadline::now(), {.offset_bytes = 0}).value() == 2);
  CHECK(read_text(reader) == "78923");
  CHECK(writer.splice_from(file, 100, Deadline::now(), {.offset_bytes = 0}).value() == 10);
  CHECK(read_text(reader) == "0123456789");
}

TEST_CASE("splice has no place in what has no positions") {
  auto from = Pipe::create().value();
  auto to = Pipe::create().value();
  CHECK(
      static_cast<int>(
          from.reader.splice_to(to.writer.fd(), 1, Deadline::now(), {.offset_bytes = 0}).error()) ==
      ESPIPE);
}

TEST_CASE("splice refuses what would wait past the deadline, and moves what is O_NONBLOCK") {
  auto [reader, writer] = Pipe::create().value();
  REQUIRE(writer.write(bytes_of("abcdef"), Deadline::now()));
  std::array<int, 2> raw{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, raw.data()) == 0);
  const auto one = OwnedFd::from_number(raw[0]);
  const auto other = OwnedFd::from_number(raw[1]);
  CHECK(reader.splice_to(one, 6, Deadline::after(1h)).error() == Error::invalid);
  CHECK(writer.splice_from(one, 6, Deadline::after(1h)).error() == Error::invalid);
  CHECK(reader.splice_to(one, 3, Deadline::never()).value() == 3);
  REQUIRE(set_nonblocking(one, true));
  REQUIRE(set_nonblocking(other, true));
  CHECK(reader.splice_to(one, 3, Deadline::after(1h)).value() == 3);
  CHECK(writer.splice_from(other, 100, Deadline::after(1h)).value() == 6);
  CHECK(writer.splice_from(other, 100, Deadline::after(2ms)).error() == Error::timed_out);
  CHECK(read_text(reader) == "abcdef");
}

TEST_CASE("a splice to a full socket ends at its deadline") {
  auto [reader, writer] = Pipe::create().value();
  std::array<int, 2> raw{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, raw.data()) == 0);
  const auto one = OwnedFd::from_number(raw[0]);
  const auto other = OwnedFd::from_number(raw[1]);
  for (;;) {
    fill(writer);
    const auto moved = reader.splice_to(one, PIPE_BUF, Deadline::after(2ms));
    if (moved) continue;
    CHECK(moved.error() == Error::timed_out);
    break;
  }
}

TEST_CASE("the limits of pipes are readable") {
  const auto limits = pipe_limits().value();
  auto [reader, writer] = Pipe::create().value();
  CHECK(limits.capacity_bytes >= static_cast<std::size_t>(getpagesize()));
  CHECK(writer.set_capacity_bytes(limits.capacity_bytes).value() == limits.capacity_bytes);
}

TEST_CASE("vmsplice puts pages into a pipe and copies them out again") {
  auto [reader, writer] = Pipe::create().value();
  std::string one = "one ";
  std::string two = "two";
  const std::array<iovec, 2> areas{iovec{.iov_base = one.data(), .iov_len = one.size()},
                                   iovec{.iov_base = two.data(), .iov_len = two.size()}};
  CHECK(writer.vmsplice_from(areas, Deadline::now()).value() == 7);
  std::string back(7, '.');
  const iovec area{.iov_base = back.data(), .iov_len = back.size()};
  CHECK(reader.vmsplice_to({&area, 1}, Deadline::now()).value() == 7);
  CHECK(back == "one two");
  CHECK(reader.vmsplice_to({&area, 1}, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("adopting checks that the descriptor is a pipe's end of the right direction") {
  auto pipe = Pipe::create().value();
  OwnedFd reader = std::move(pipe.reader).into_fd();
  REQUIRE(set_nonblocking(reader, false));
  CHECK(PipeWriter::adopt(duplicate(reader).value()).error() == Error::invalid);
  CHECK(PipeReader::adopt(duplicate(pipe.writer.fd()).value()).error() == Error::invalid);
  CHECK(PipeReader::adopt(OwnedFd::from_number(open("/dev/null", O_RDONLY))).error() ==
        Error::invalid);
  const auto adopted = PipeReader::adopt(std::move(reader)).value();
  CHECK(is_nonblocking(adopted.fd()).value());
}
