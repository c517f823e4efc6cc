#include <parley/os/pipe.hpp>

#include <doctest/doctest.h>

#include <sys/uio.h>
#include <unistd.h>
#include <csignal>

#include <array>
#include <cstddef>
#include <utility>

#include <parley/os/signal_driven.hpp>

#include "support/faults.hpp"

using namespace parley::os;
using parley::Deadline;
using parley::test::bytes_of;
using parley::test::fail_each_call;
using parley::test::interrupt_each_call;
using parley::test::Outcome;

TEST_CASE("every failing call of making a pipe gives its error and leaves no descriptor") {
  CHECK(fail_each_call([]() -> Outcome {
          PARLEY_TRY(Pipe::create({.packets = true, .capacity_bytes = 8192}));
          return {};
        }) == 2);
}

TEST_CASE("every failing call of using a pipe gives its error") {
  const int calls = fail_each_call([]() -> Outcome {
    auto pipe = PARLEY_TRY(Pipe::create());
    auto other = PARLEY_TRY(Pipe::create());
    std::array<std::byte, 4> buffer{};
    const iovec area{.iov_base = buffer.data(), .iov_len = buffer.size()};
    PARLEY_TRY(pipe.writer.write(bytes_of("abcd"), Deadline::now()));
    PARLEY_TRY(pipe.writer.vmsplice_from({&area, 1}, Deadline::now()));
    PARLEY_TRY(other.writer.tee_from(pipe.reader, 1, Deadline::now()));
    PARLEY_TRY(other.writer.splice_from(pipe.reader.fd(), 4, Deadline::now()));
    PARLEY_TRY(pipe.reader.splice_to(other.writer.fd(), 1, Deadline::now()));
    PARLEY_TRY(other.reader.bytes_waiting());
    PARLEY_TRY(other.reader.read(buffer, Deadline::now()));
    PARLEY_TRY(pipe.reader.vmsplice_to({&area, 1}, Deadline::now()));
    PARLEY_TRY(pipe.reader.capacity_bytes());
    PARLEY_TRY(pipe_limits());
    PARLEY_TRY(PipeReader::adopt(std::move(pipe.reader).into_fd()));
    PARLEY_TRY(PipeWriter::adopt(std::move(pipe.writer).into_fd()));
    return {};
  });
  CHECK(calls >= 24);
}

TEST_CASE("every failing call of driving a pipe by signals gives its error") {
  CHECK(fail_each_call([]() -> Outcome {
          const auto pipe = PARLEY_TRY(Pipe::create());
          const BorrowedFd fd = pipe.reader.fd();
          PARLEY_TRY(set_signal_owner(fd, {.id = getpid()}));
          PARLEY_TRY(signal_owner(fd));
          PARLEY_TRY(set_ready_signal(fd, SIGURG));  // comes when the pipe is closed; ignored
          PARLEY_TRY(ready_signal(fd));
          PARLEY_TRY(set_signal_driven(fd, true));
          PARLEY_TRY(is_signal_driven(fd));
          return {};
        }) == 8);
}

TEST_CASE("an interrupted call of a transfer is made again") {
  auto pipe = Pipe::create().value();
  auto other = Pipe::create().value();
  CHECK(interrupt_each_call([&]() -> Outcome {
          std::array<std::byte, 4> buffer{};
          PARLEY_TRY(pipe.writer.write(bytes_of("abcd"), Deadline::never()));
          PARLEY_TRY(pipe.reader.splice_to(other.writer.fd(), 4, Deadline::never()));
          PARLEY_TRY(other.reader.read_all(buffer, Deadline::never()));
          return {};
        }) == 3);
}
