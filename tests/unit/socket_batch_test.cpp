#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <sys/uio.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/descriptors.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::open_descriptors;
using parley::test::text_of;

namespace {

/// Places of so many bytes each.
struct Places {
  Places(std::size_t count, std::size_t size_bytes,
         std::size_t max_descriptors = descriptors_per_message) {
    for (std::size_t index = 0; index < count; ++index) {
      const std::span<std::byte> into = buffers.emplace_back(size_bytes);
      places.push_back({.into = into, .max_descriptors = max_descriptors});
    }
  }

  auto receive(Socket& socket, Deadline deadline = Deadline::now()) {
    return socket.receive_batch(places, deadline);
  }

  /// What is in the place of that number, of so many bytes.
  [[nodiscard]] auto text(std::size_t index, std::size_t size_bytes) const -> std::string {
    return text_of(places[index].into.first(size_bytes));
  }

  std::list<std::vector<std::byte>> buffers;
  std::vector<Incoming> places;
};

auto batch_of(std::initializer_list<std::string_view> texts) -> std::vector<Outgoing> {
  std::vector<Outgoing> messages;
  for (const auto text : texts) messages.push_back({.bytes = bytes_of(text)});
  return messages;
}

/// A local datagram socket with a name, and one that is not connected to it.
struct Datagrams {
  Socket receiver = Socket::create(Family::local, SocketType::datagram).value();
  Address where = receiver.autobind().value();
  Socket sender = Socket::create(Family::local, SocketType::datagram).value();
};

}  // namespace

TEST_CASE("the messages of a batch arrive in order, each whole and with its own descriptors") {
  for (const auto type : {SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = Socket::pair(type).value();
    const std::vector<BorrowedFd> fds(253, BorrowedFd(one.fd()));
    std::array<std::byte, 2> b{std::byte{'b'}, std::byte{'2'}};
    const std::array<iovec, 2> areas{iovec{.iov_base = &b[0], .iov_len = 1},
                                     iovec{.iov_base = &b[1], .iov_len = 1}};
    const std::array<Outgoing, 4> messages{
        Outgoing{.bytes = bytes_of("a")},
        Outgoing{.areas = areas, .attachments = {.descriptors = std::span(fds).first(1)}},
        Outgoing{}, Outgoing{.bytes = bytes_of("d"), .attachments = {.descriptors = fds}}};
    REQUIRE(one.send_batch(messages, Deadline::now()));
    Places places(6, 8);
    const auto before = open_descriptors();
    {
      const auto came = places.receive(other).value();
      REQUIRE(came.size() == 4);
      CHECK(places.text(0, came[0].value().size_bytes) == "a");
      CHECK(places.text(1, came[1].value().size_bytes) == "b2");
      CHECK(came[1].value().ancillary.descriptors.size() == 1);
      CHECK(came[2].value().size_bytes == 0);
      CHECK_FALSE(came[2].value().ended);
      CHECK(places.text(3, came[3].value().size_bytes) == "d");
      CHECK(came[3].value().ancillary.descriptors.size() == 253);
      CHECK(came[3].value().from.is_unnamed());
      CHECK(open_descriptors() == before + 254);
    }
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("a batch is no longer than its places, and what is left comes next") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  REQUIRE(one.send_batch(batch_of({"1", "2", "3"}), Deadline::now()));
  Places places(2, 8);
  CHECK(places.receive(other).value().size() == 2);
  CHECK(places.text(1, 1) == "2");
  CHECK(places.receive(other).value().size() == 1);
  CHECK(places.text(0, 1) == "3");
  CHECK(places.receive(other).error() == Error::would_block);
  CHECK(places.receive(other, Deadline::after(5ms)).error() == Error::timed_out);
  CHECK(other.receive_batch({}, Deadline::never()).value().empty());
  CHECK(one.send_batch({}, Deadline::never()).has_value());
}

TEST_CASE("each message of a batch goes to its own receiver, who is told the sender") {
  auto sender = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(sender.bind(Address::loopback_ipv4(0)));
  std::vector<Socket> receivers;
  std::vector<Address> addresses;
  for (int index = 0; index < 2; ++index) {
    receivers.push_back(Socket::create(Family::ipv4, SocketType::datagram).value());
    REQUIRE(receivers.back().bind(Address::loopback_ipv4(0)));
    addresses.push_back(receivers.back().local_address().value());
  }
  const std::array<Outgoing, 3> messages{Outgoing{.bytes = bytes_of("a"), .to = &addresses[0]},
                                         Outgoing{.bytes = bytes_of("b"), .to = &addresses[1]},
                                         Outgoing{.bytes = bytes_of("c"), .to = &addresses[0]}};
  REQUIRE(sender.send_batch(messages, Deadline::now()));
  Places places(3, 8);
  const auto first = places.receive(receivers[0], Deadline::after(10s)).value();
  REQUIRE(first.size() == 2);
  CHECK(places.text(0, 1) == "a");
  CHECK(places.text(1, 1) == "c");
  CHECK(first[1].value().from == sender.local_address().value());
  CHECK(places.receive(receivers[1], Deadline::after(10s)).value().size() == 1);
  CHECK(places.text(0, 1) == "b");
}

TEST_CASE("a batch that its deadline ends tells how much of it went out, and just that arrives") {
  Datagrams pair;
  const std::array<BorrowedFd, 1> fds{pair.sender.fd()};
  const std::vector<Outgoing> messages(
      1000, {.bytes = bytes_of("abc"), .to = &pair.where, .attachments = {.descriptors = fds}});
  for (const bool waits : {false, true}) {
    CAPTURE(waits);
    const auto sent =
        pair.sender.send_batch(messages, waits ? Deadline::after(5ms) : Deadline::now());
    REQUIRE_FALSE(sent.has_value());
    CHECK(sent.error().error == (waits ? Error::timed_out : Error::would_block));
    const std::size_t count = sent.error().messages_sent;
    CHECK(count > 0);
    CHECK(count < messages.size());
    CHECK(sent.error().bytes_sent == 3 * count);
    CHECK(sent.error().descriptors_sent == count);
    Places places(messages.size(), 8);
    CHECK(places.receive(pair.receiver).value().size() == count);
  }
}

TEST_CASE("the message that cannot be sent is the one after those that were") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  const std::vector<std::byte> too_long(10'000'000);
  auto messages = batch_of({"1", "2", "", "4"});
  messages[2].bytes = too_long;
  const auto sent = one.send_batch(messages, Deadline::now());
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error().error == Error::message_too_long);
  CHECK(sent.error().messages_sent == 2);
  CHECK(sent.error().bytes_sent == 2);
  Places places(4, 8);
  CHECK(places.receive(other).value().size() == 2);
}

TEST_CASE("a batch that could not be sent as it is stated is invalid, and nothing of it goes out") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  Places places(2, 8);
  auto messages = batch_of({"1", "2"});
  const std::vector<BorrowedFd> too_many(254, BorrowedFd(one.fd()));
  messages[1].attachments.descriptors = too_many;
  CHECK(one.send_batch(messages, Deadline::now()).error() == Error::invalid);
  CHECK(places.receive(other).error() == Error::would_block);

  auto network = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(network.bind(Address::loopback_ipv4(0)));
  const Address itself = network.local_address().value();
  for (auto& message : messages) message.to = &itself;
  messages[1].attachments = {.credentials = Credentials{}};
  CHECK(network.send_batch(messages, Deadline::now()).error() == Error::invalid);
  CHECK(places.receive(network).error() == Error::would_block);

  auto [stream, peer] = Socket::pair(SocketType::stream).value();
  CHECK(stream.send_batch(batch_of({"1"}), Deadline::now()).error() == Error::invalid);
  CHECK(places.receive(peer).error() == Error::invalid);
  CHECK(other.receive_batch(places.places, Deadline::now(), {.error_queue = true}).error() ==
        Error::not_supported);
}

TEST_CASE("a message of a batch that is too long for its place is an error there alone") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  REQUIRE(one.send_batch(batch_of({"1", "longer than its place", "3"}), Deadline::now()));
  Places places(3, 8);
  const auto came = places.receive(other).value();
  REQUIRE(came.size() == 3);
  CHECK(came[0].has_value());
  CHECK(came[1].error().error == Error::message_too_long);
  CHECK(came[1].error().message_bytes == 21);
  CHECK(places.text(1, 8) == "longer t");
  CHECK(came[2].has_value());
  CHECK(places.text(2, 1) == "3");
}

TEST_CASE("descriptors of a batch that are not welcome are closed, and the others are kept") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  const std::vector<BorrowedFd> fds(3, BorrowedFd(one.fd()));
  std::vector<Outgoing> messages(3);
  for (auto& message : messages) message.attachments.descriptors = std::span(fds).first(1);
  messages[1].attachments.descriptors = fds;
  REQUIRE(one.send_batch(messages, Deadline::now()));
  const auto before = open_descriptors();
  Places places(3, 8, 1);
  const auto came = places.receive(other).value();
  REQUIRE(came.size() == 3);
  CHECK(came[0].value().ancillary.descriptors.size() == 1);
  CHECK(came[1].error().error == Error::no_buffer_space);
  CHECK(came[2].value().ancillary.descriptors.size() == 1);
  CHECK(open_descriptors() == before + 2);
}

TEST_CASE("the end is the last of a batch, and an empty message is none") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  REQUIRE(one.send_batch(batch_of({"1", ""}), Deadline::now()));
  static_cast<void>(std::move(one).into_fd());
  Places places(10, 8);
  const auto came = places.receive(other, Deadline::never()).value();
  REQUIRE(came.size() == 3);
  CHECK_FALSE(came[1].value().ended);
  CHECK(came[2].value().ended);
  const auto again = places.receive(other, Deadline::never()).value();
  REQUIRE(again.size() == 1);
  CHECK(again[0].value().ended);
}

TEST_CASE("a datagram socket that was shut down for receiving ends a batch too") {
  auto [one, other] = Socket::pair(SocketType::datagram).value();
  REQUIRE(other.shutdown(Direction::receiving));
  Places places(3, 8);
  const auto came = places.receive(other, Deadline::never()).value();
  REQUIRE(came.size() == 1);
  CHECK(came[0].value().ended);
}

TEST_CASE("a peek shows one message in every place and leaves it there") {
  auto [one, other] = Socket::pair(SocketType::seqpacket).value();
  REQUIRE(one.send_batch(batch_of({"1", "2"}), Deadline::now()));
  Places places(2, 8);
  CHECK(other.receive_batch(places.places, Deadline::now(), {.peek = true}).value().size() == 2);
  CHECK(places.text(1, 1) == "1");
  CHECK(places.receive(other).value().size() == 2);
  CHECK(places.text(1, 1) == "2");
}

TEST_CASE("several reports of the network are taken from the error queue at once") {
  auto gone = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(gone.bind(Address::loopback_ipv4(0)));
  const auto nobody = gone.local_address().value();
  static_cast<void>(std::move(gone).into_fd());
  auto socket = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(socket.set(option::ip_receive_error, true));
  const Outgoing message{.bytes = bytes_of("x"), .to = &nobody};
  for (int index = 0; index < 2; ++index) {
    // The error of the one before may be told instead.
    while (!socket.send_batch({&message, 1}, Deadline::now())) {
    }
  }
  Places places(3, 8);
  std::size_t count = 0;
  while (count < 2) {
    const auto reports =
        socket.receive_batch(places.places, Deadline::after(10s), {.error_queue = true}).value();
    for (const auto& report : reports) {
      CHECK(report.value().ancillary.extended_error.value().error == Error::refused);
    }
    count += reports.size();
  }
  CHECK(count == 2);
}
