#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "support/descriptors.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;

TEST_CASE("one thread sends over a socket while another receives from it") {
  constexpr std::size_t total = 8 << 20;
  auto pair = Socket::pair(SocketType::stream).value();
  Socket& ours = pair.first;
  Socket& echo = pair.second;
  std::jthread echoer([&] {
    std::vector<std::byte> block(1 << 16);
    for (;;) {
      const auto received = echo.receive(block, Deadline::never());
      if (!received || received->ended) return;
      if (!echo.send(std::span(block).first(received->size_bytes), Deadline::never())) return;
    }
  });
  std::jthread sender([&] {
    const std::vector<std::byte> much(total, std::byte{7});
    if (!ours.send(much, Deadline::never())) return;
    CHECK(ours.shutdown(Direction::sending).has_value());
  });
  std::vector<std::byte> back(total);
  CHECK(ours.receive_all(back, Deadline::never()).value() == total);
  CHECK(back == std::vector<std::byte>(total, std::byte{7}));
}

TEST_CASE("threads that send to one full datagram receiver wait each with a deadline of its own") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto sender = Socket::create(Family::local, SocketType::datagram).value();
  while (sender.send_to(bytes_of("x"), where, Deadline::now())) {
  }
  std::array<Error, 4> ends{};
  {
    std::vector<std::jthread> threads;
    threads.reserve(ends.size());
    for (std::size_t i = 0; i < ends.size(); ++i) {
      threads.emplace_back([&, i] {
        const auto sent = sender.send_to(bytes_of("y"), where, Deadline::after(10ms * (i + 1)));
        if (!sent) ends.at(i) = sent.error();
      });
    }
  }
  for (const Error error : ends) CHECK(error == Error::timed_out);
}
