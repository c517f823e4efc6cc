// A peer that is interrupted by signals all the time.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <utility>

#include <parley/os/pipe.hpp>

#include "support/descriptors.hpp"
#include "support/peer.hpp"

namespace parley::test {

/// Runs `body` in a peer that gets SIGUSR1, with a handler that does nothing, every few
/// milliseconds until it ends.
inline void run_among_signals(const std::function<void()>& body) {
  using namespace std::chrono_literals;
  auto pipe = os::Pipe::create().value();
  Peer peer([&] {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
    REQUIRE(pipe.writer.write(bytes_of("r"), Deadline::never()));
    body();
  });
  // With the peer, however it ends, the last writer goes.
  static_cast<void>(std::move(pipe.writer).into_fd());
  std::array<std::byte, 1> buffer{};
  REQUIRE(pipe.reader.read(buffer, Deadline::never()).value() == 1);
  while (!pipe.reader.read(buffer, Deadline::after(5ms))) ::kill(peer.pid(), SIGUSR1);
}

}  // namespace parley::test
