#include <parley/os/socket.hpp>

#include <doctest/doctest.h>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <cerrno>
#include <ctime>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/descriptors.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::skip;
using parley::test::text_of;

namespace {

auto soon() -> Deadline {
  return Deadline::after(10s);
}

/// The loopback addresses of the families that this machine has, at a port of the kernel's choice.
auto loopbacks() -> std::vector<Address> {
  std::vector<Address> addresses{Address::loopback_ipv4(0)};
  const auto probe = Socket::create(Family::ipv6, SocketType::datagram);
  if (probe && Listener::create(Address::loopback_ipv6(0))) {
    addresses.push_back(Address::loopback_ipv6(0));
  } else {
    std::puts("no IPv6 on this machine: IPv4 alone is checked");
  }
  return addresses;
}

struct Connection {
  Socket client;
  Socket server;
};

auto connect_over(const Address& where) -> Connection {
  auto listener = Listener::create(where).value();
  auto client = Socket::create(where.family(), SocketType::stream).value();
  REQUIRE(client.connect(listener.local_address().value(), soon()));
  return {.client = std::move(client), .server = listener.accept(soon()).value()};
}

auto receive_text(Socket& socket) -> std::string {
  std::array<std::byte, 100> buffer{};
  const auto received = socket.receive(buffer, soon()).value();
  return text_of(std::span(buffer).first(received.size_bytes));
}

/// A datagram socket bound to loopback, and its address.
auto bound(const Address& where) -> std::pair<Socket, Address> {
  auto socket = Socket::create(where.family(), SocketType::datagram).value();
  REQUIRE(socket.bind(where));
  const auto address = socket.local_address().value();
  return {std::move(socket), address};
}

}  // namespace

TEST_CASE("TCP on loopback carries bytes both ways, over IPv4 and IPv6") {
  for (const Address& where : loopbacks()) {
    CAPTURE(where.text());
    auto [client, server] = connect_over(where);
    CHECK(client.peer_address().value() == server.local_address().value());
    CHECK(server.peer_address().value() == client.local_address().value());
    REQUIRE(client.send(bytes_of("ping"), soon()));
    CHECK(receive_text(server) == "ping");
    REQUIRE(server.send(bytes_of("pong"), soon()));
    CHECK(receive_text(client) == "pong");
    REQUIRE(client.shutdown(Direction::sending));
    std::array<std::byte, 4> buffer{};
    CHECK(server.receive(buffer, soon()).value().ended);
  }
}

TEST_CASE("UDP on loopback carries messages and their sender, over IPv4 and IPv6") {
  for (const Address& where : loopbacks()) {
    CAPTURE(where.text());
    auto [server, server_address] = bound(where);
    auto [client, client_address] = bound(where);
    REQUIRE(client.send_to(bytes_of("ping"), server_address, soon()));
    REQUIRE(client.send_to({}, server_address, soon()));
    std::array<std::byte, 8> buffer{};
    const auto first = server.receive_from(buffer, soon()).value();
    CHECK(first.size_bytes == 4);
    CHECK(first.from == client_address);
    const auto empty = server.receive_from(buffer, soon()).value();
    CHECK(empty.size_bytes == 0);
    CHECK_FALSE(empty.ended);
    CHECK(server.receive(buffer, Deadline::now()).error() == Error::would_block);
    REQUIRE(client.connect(server_address, soon()));
    REQUIRE(client.send(bytes_of("a longer datagram"), soon()));
    CHECK(server.next_message_bytes(soon()).value() == std::size_t{17});
    const auto cut = server.receive(buffer, soon());
    REQUIRE_FALSE(cut.has_value());
    CHECK(cut.error() == Error::message_too_long);
    CHECK(cut.error().message_bytes == 17);
    CHECK(text_of(buffer) == "a longer");
  }
}

TEST_CASE("a UDP socket shut down for receiving has ended") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  REQUIRE(server.connect(address, soon()));
  REQUIRE(server.shutdown(Direction::receiving));
  std::array<std::byte, 8> buffer{};
  CHECK(server.receive(buffer, Deadline::never()).value().ended);
}

TEST_CASE("connecting to a port where nobody listens is refused, at once or in the background") {
  for (const Address& where : loopbacks()) {
    const auto taken = bound(where);  // a UDP port: the TCP port of that number is free
    const Address& nobody = taken.second;
    auto socket = Socket::create(where.family(), SocketType::stream).value();
    CHECK(socket.connect(nobody, soon()).error() == Error::refused);
    auto trying = Socket::create(where.family(), SocketType::stream).value();
    CHECK(trying.connect(nobody, Deadline::now()).error() == Error::refused);
  }
}

TEST_CASE("a connect that ran out of time goes on, and a later one waits for its end") {
  // A full backlog on loopback leaves a third connection unanswered.
  auto listener = Listener::create(Address::loopback_ipv4(0), {.backlog = 0}).value();
  const auto where = listener.local_address().value();
  auto first = Socket::create(Family::ipv4, SocketType::stream).value();
  REQUIRE(first.connect(where, soon()));
  auto second = Socket::create(Family::ipv4, SocketType::stream).value();
  CHECK(second.connect(where, Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(second.connect(where, Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  const auto accepted = listener.accept(soon());
  CHECK(second.connect(where, soon()));
}

TEST_CASE("an unreachable UDP port is reported, and in full from the error queue") {
  auto [gone, address] = bound(Address::loopback_ipv4(0));
  static_cast<void>(std::move(gone).into_fd());
  auto socket = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(socket.connect(address, soon()));
  std::array<std::byte, 8> buffer{};
  REQUIRE(socket.send(bytes_of("x"), soon()));
  CHECK(socket.receive(buffer, soon()).error() == Error::refused);

  REQUIRE(socket.set(option::ip_receive_error, true));
  CHECK(socket.receive_message({.into = buffer}, Deadline::now(), {.error_queue = true}).error() ==
        Error::would_block);
  REQUIRE(socket.send(bytes_of("lost"), soon()));
  const auto report =
      socket.receive_message({.into = buffer}, soon(), {.error_queue = true}).value();
  CHECK(text_of(std::span(buffer).first(report.size_bytes)) == "lost");
  CHECK(report.from == address);
  REQUIRE(report.ancillary.extended_error.has_value());
  CHECK(report.ancillary.extended_error->error == Error::refused);
  CHECK(report.ancillary.extended_error->origin == SO_EE_ORIGIN_ICMP);
  CHECK(report.ancillary.extended_error->offender == Address::loopback_ipv4(0));
}

TEST_CASE("an unread error queue neither ends nor spins a receive that waits for data") {
  auto [gone, nobody] = bound(Address::loopback_ipv4(0));
  static_cast<void>(std::move(gone).into_fd());
  auto [socket, address] = bound(Address::loopback_ipv4(0));
  REQUIRE(socket.set(option::ip_receive_error, true));
  REQUIRE(socket.send_to(bytes_of("lost"), nobody, soon()));
  std::array<std::byte, 8> buffer{};
  CHECK(socket.receive(buffer, soon()).error() == Error::refused);  // once, and then it waits
  timespec before{};
  timespec after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  CHECK(socket.receive(buffer, Deadline::after(300ms)).error() == Error::timed_out);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const auto used = std::chrono::seconds(after.tv_sec - before.tv_sec) +
                    std::chrono::nanoseconds(after.tv_nsec - before.tv_nsec);
  CHECK(used < 150ms);
}

TEST_CASE("the urgent byte of TCP is received apart, and the mark is seen") {
  auto [client, server] = connect_over(Address::loopback_ipv4(0));
  REQUIRE(client.send(bytes_of("ab!"), soon(), {.out_of_band = true}));
  std::array<std::byte, 8> buffer{};
  const auto urgent = server.receive(buffer, soon(), {.out_of_band = true}).value();
  CHECK(urgent.size_bytes == 1);
  CHECK(buffer.front() == std::byte{'!'});
  CHECK(receive_text(server) == "ab");
  CHECK(server.at_urgent_mark().value());
}

TEST_CASE("bytes held back with more go together") {
  auto [client, server] = connect_over(Address::loopback_ipv4(0));
  REQUIRE(client.send(bytes_of("held "), soon(), {.more = true}));
  REQUIRE(client.send(bytes_of("back"), soon()));
  std::array<std::byte, 9> all{};
  CHECK(server.receive_all(all, soon()).value() == 9);
  CHECK(text_of(all) == "held back");
}

TEST_CASE("a UDP message tells where it came in, its hop limit, class and times when asked") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  for (const auto& flag : {option::ip_packet_info, option::ip_receive_ttl, option::ip_receive_tos,
                           option::ip_receive_original_destination, option::timestamp_ns}) {
    REQUIRE(server.set(flag, true));
  }
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  const PacketInfo source{.local = Address::ipv4({127, 0, 0, 2}, 0)};
  REQUIRE(client.send_message(
      {.bytes = bytes_of("x"),
       .to = &address,
       .attachments = {.packet_info = source, .hop_limit = 33, .traffic_class = 0x10}},
      soon()));
  std::array<std::byte, 8> buffer{};
  const auto message = server.receive_message({.into = buffer}, soon()).value();
  CHECK(message.from.ipv4_bytes() == Ipv4Bytes{127, 0, 0, 2});
  const Ancillary& ancillary = message.ancillary;
  REQUIRE(ancillary.packet_info.has_value());
  CHECK(ancillary.packet_info->interface_index == interface_index("lo").value());
  CHECK(ancillary.packet_info->destination == Address::loopback_ipv4(0));
  CHECK(ancillary.hop_limit == 33);
  CHECK(ancillary.traffic_class == 0x10);
  CHECK(ancillary.original_destination == address);
  REQUIRE(ancillary.timestamp.has_value());
  CHECK(std::chrono::abs(std::chrono::system_clock::now() - *ancillary.timestamp) < 1h);
  CHECK(ancillary.others.empty());
}

TEST_CASE("an IPv6 message tells the same") {
  if (loopbacks().size() < 2) {
    skip("this machine has no IPv6");
    return;
  }
  auto [server, address] = bound(Address::loopback_ipv6(0));
  for (const auto& flag :
       {option::ipv6_packet_info, option::ipv6_receive_hop_limit,
        option::ipv6_receive_traffic_class, option::ipv6_receive_original_destination}) {
    REQUIRE(server.set(flag, true));
  }
  auto client = Socket::create(Family::ipv6, SocketType::datagram).value();
  const PacketInfo source{.interface_index = interface_index("lo").value(),
                          .local = Address::loopback_ipv6(0)};
  REQUIRE(client.send_message(
      {.bytes = bytes_of("x"),
       .to = &address,
       .attachments = {.packet_info = source, .hop_limit = 33, .traffic_class = 0x10}},
      soon()));
  std::array<std::byte, 8> buffer{};
  const auto message = server.receive_message({.into = buffer}, soon()).value();
  REQUIRE(message.ancillary.packet_info.has_value());
  CHECK(message.ancillary.packet_info->destination == Address::loopback_ipv6(0));
  CHECK(message.ancillary.packet_info->interface_index == source.interface_index);
  CHECK(message.ancillary.hop_limit == 33);
  CHECK(message.ancillary.traffic_class == 0x10);
  CHECK(message.ancillary.original_destination == address);
}

TEST_CASE("software timestamps come with what arrives and, from the error queue, with what left") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  REQUIRE(
      server.set(option::timestamping, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE));
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(client.set(option::timestamping, SOF_TIMESTAMPING_TX_SOFTWARE |
                                               SOF_TIMESTAMPING_SOFTWARE |
                                               SOF_TIMESTAMPING_OPT_TSONLY));
  std::array<std::byte, 8> buffer{};
  // The kernel begins to stamp what arrives some time after it was asked for.
  const auto limit = soon();
  bool stamped = false;
  while (!stamped && !limit.has_passed()) {
    REQUIRE(client.send_to(bytes_of("x"), address, limit));
    const auto message = server.receive_message({.into = buffer}, limit).value();
    stamped = message.ancillary.timestamp.has_value();
  }
  CHECK(stamped);
  const auto sent = client.receive_message({}, soon(), {.error_queue = true}).value();
  CHECK(sent.ancillary.timestamp.has_value());
  CHECK_FALSE(sent.ancillary.hardware_timestamp.has_value());
  REQUIRE(sent.ancillary.extended_error.has_value());
  CHECK(sent.ancillary.extended_error->origin == SO_EE_ORIGIN_TIMESTAMPING);
}

TEST_CASE("a UDP send cut into segments arrives as messages of that size") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(client.send_message({.bytes = bytes_of("aaabbbcc"),
                               .to = &address,
                               .attachments = {.segment_bytes = std::uint16_t{3}}},
                              soon()));
  CHECK(receive_text(server) == "aaa");
  CHECK(receive_text(server) == "bbb");
  CHECK(receive_text(server) == "cc");
}

TEST_CASE("a receiver with offload gets the segments at once, and their size") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  REQUIRE(server.set(option::udp_receive_offload, true));
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(client.send_message({.bytes = bytes_of("aaabbbcc"),
                               .to = &address,
                               .attachments = {.segment_bytes = std::uint16_t{3}}},
                              soon()));
  std::array<std::byte, 100> buffer{};
  const auto message = server.receive_message({.into = buffer}, soon()).value();
  CHECK(text_of(std::span(buffer).first(message.size_bytes)) == "aaabbbcc");
  CHECK(message.ancillary.segment_bytes == 3);
}

TEST_CASE("a receiver that was too slow is told how many messages it lost") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  REQUIRE(server.set(option::receive_queue_overflow, true));
  REQUIRE(server.set(option::receive_buffer_bytes, 1));  // the kernel's least
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  const std::vector<std::byte> block(500);
  for (int i = 0; i < 100; ++i) REQUIRE(client.send_to(block, address, soon()));
  std::vector<std::byte> buffer(block.size());
  std::uint32_t received_count = 0;
  while (server.receive(buffer, Deadline::now())) ++received_count;
  REQUIRE(client.send_to(block, address, soon()));
  const auto message = server.receive_message({.into = buffer}, soon()).value();
  CHECK(message.ancillary.dropped_count == 100 - received_count);
}

TEST_CASE("the flags of a send that only a network knows are taken") {
  auto [server, address] = bound(Address::loopback_ipv4(0));
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  CHECK(client.send_to(bytes_of("near"), address, soon(), {.dont_route = true}));
  CHECK(client.send_to(bytes_of("known"), address, soon(), {.confirm = true}));
  CHECK(receive_text(server) == "near");
  CHECK(receive_text(server) == "known");
}

TEST_CASE("TCP tells how many bytes are left after a receive when asked") {
  auto [client, server] = connect_over(Address::loopback_ipv4(0));
  REQUIRE(server.set(option::tcp_bytes_left, true));
  REQUIRE(client.send(bytes_of("abcdef"), soon()));
  std::array<std::byte, 2> buffer{};
  const auto message = server.receive_message({.into = buffer}, soon()).value();
  CHECK(message.ancillary.bytes_left == 4);
}

TEST_CASE("a zero-copy send is reported once it is done") {
  auto [client, server] = connect_over(Address::loopback_ipv4(0));
  REQUIRE(client.set(option::zero_copy, true));
  const std::vector<std::byte> block(20'000);
  REQUIRE(client.send(block, soon(), {.zero_copy = true}));
  std::vector<std::byte> got(block.size());
  REQUIRE(server.receive_all(got, soon()).value() == block.size());
  const auto done = client.receive_message({}, soon(), {.error_queue = true}).value();
  REQUIRE(done.ancillary.extended_error.has_value());
  CHECK(done.ancillary.extended_error->origin == SO_EE_ORIGIN_ZEROCOPY);
}

TEST_CASE("descriptors and credentials over a network are invalid and nothing is sent") {
  auto [client, server] = connect_over(Address::loopback_ipv4(0));
  const std::array<BorrowedFd, 1> fds{server.fd()};
  const auto sent =
      client.send_message({.bytes = bytes_of("x"), .attachments = {.descriptors = fds}}, soon());
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error() == Error::invalid);
  CHECK(client
            .send_message(
                {.bytes = bytes_of("x"), .attachments = {.credentials = Credentials{.pid = 1}}},
                soon())
            .error() == Error::invalid);
  std::array<std::byte, 1> buffer{};
  CHECK(server.receive(buffer, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("a network peer has no credentials, no groups and no pidfd") {
  auto [client, server] = connect_over(Address::loopback_ipv4(0));
  CHECK(server.peer_credentials().value() ==
        Credentials{.pid = 0, .uid = static_cast<uid_t>(-1), .gid = static_cast<gid_t>(-1)});
  CHECK_FALSE(server.peer_groups().has_value());
  CHECK_FALSE(server.peer_pidfd().has_value());
  auto lone = Socket::create(Family::ipv4, SocketType::stream).value();
  CHECK(lone.peer_address().error() == Error::not_connected);
  CHECK(lone.autobind().value().port() != 0);
}

TEST_CASE("a multicast message reaches who joined the group") {
  auto [server, address] = bound(Address::any_ipv4(0));
  const unsigned loopback = interface_index("lo").value();
  const auto group = Address::ipv4({239, 7, 7, 7}, *address.port());
  REQUIRE(server.set(option::ip_join_group, {.group = group, .interface_index = loopback}));
  auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
  REQUIRE(client.set(option::ip_multicast_interface, {.index = loopback}));
  REQUIRE(client.send_to(bytes_of("to all"), group, soon()));
  CHECK(receive_text(server) == "to all");
}
