#include <doctest/doctest.h>

#include <netinet/in.h>
#include <cerrno>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <parley/os/socket.hpp>

#include "support/descriptors.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::skip;

namespace {

using Bytes = std::vector<std::byte>;

auto soon() -> Deadline {
  return Deadline::after(10s);
}

auto bytes(std::initializer_list<unsigned> values) -> Bytes {
  Bytes all;
  for (const unsigned value : values) all.push_back(static_cast<std::byte>(value));
  return all;
}

/// A header of `units` times 8 bytes, full of options for experiments (RFC 4727), which whoever
/// does not know them skips. Its first byte, the next header's kind, is the kernel's to fill in.
auto options_of(unsigned units) -> Bytes {
  Bytes header(2);
  header[1] = static_cast<std::byte>(units - 1);
  const std::size_t size_bytes = std::size_t{8} * units;
  while (header.size() < size_bytes) {
    const std::size_t data_bytes = std::min(size_bytes - header.size() - 2, std::size_t{250});
    header.push_back(std::byte{0x1e});
    header.push_back(static_cast<std::byte>(data_bytes));
    header.resize(header.size() + data_bytes);
  }
  return header;
}

/// A segment routing header (RFC 8754) whose way ends here: ::1.
auto routing() -> Bytes {
  Bytes header = bytes({0, 2, 4, 0, 0, 0, 0, 0});
  header.resize(24);
  header.back() = std::byte{1};
  return header;
}

/// A socket that receives and one that sends to it, over UDP on loopback.
struct Udp {
  explicit Udp(Address where)
      : receiver(Socket::create(where.family(), SocketType::datagram).value()),
        sender(Socket::create(where.family(), SocketType::datagram).value()) {
    REQUIRE(receiver.bind(where));
    REQUIRE(sender.connect(receiver.local_address().value(), soon()));
  }

  auto exchange(const Attachments& attachments = {}) -> Ancillary {
    REQUIRE(sender.send_message({.bytes = bytes_of("x"), .attachments = attachments}, soon()));
    std::array<std::byte, 8> buffer{};
    return receiver.receive_message({.into = buffer}, soon()).value().ancillary;
  }

  Socket receiver;
  Socket sender;
};

auto has_ipv6() -> bool {
  auto socket = Socket::create(Family::ipv6, SocketType::datagram);
  if (socket && socket->bind(Address::loopback_ipv6(0))) return true;
  skip("this machine has no IPv6");
  return false;
}

/// Whether this process may send options of IPv6.
auto may_send_options(Socket& socket) -> bool {
  const auto set = socket.set(option::ipv6_hop_options, options_of(1));
  if (set) return socket.set(option::ipv6_hop_options, Bytes()).has_value();
  REQUIRE(set.error() == Error::not_permitted);
  skip("only a privileged process may send options of IPv6");
  return false;
}

}  // namespace

TEST_CASE("options of IPv4 are sent with every packet, or with one, and told to who asks") {
  Udp udp(Address::loopback_ipv4(0));
  const Bytes route = bytes({7, 7, 4, 0, 0, 0, 0, 0});  // record the route: one address
  CHECK(udp.sender.get(option::ip_options).value().empty());
  CHECK(udp.exchange().ip_options.empty());
  REQUIRE(udp.receiver.set(option::ip_receive_options, true));
  CHECK(udp.exchange().ip_options.empty());
  REQUIRE(udp.sender.set(option::ip_options, route));
  CHECK(udp.sender.get(option::ip_options).value() == route);
  const auto came = udp.exchange().ip_options;
  REQUIRE(came.size() == 8);
  CHECK(came[0] == std::byte{7});
  CHECK(came[3] == std::byte{127});  // the sender has recorded itself

  REQUIRE(udp.sender.set(option::ip_options, Bytes()));
  CHECK(udp.sender.get(option::ip_options).value().empty());
  CHECK(udp.exchange().ip_options.empty());
  CHECK(udp.exchange({.ip_options = route}).ip_options.size() == 8);
  CHECK(udp.exchange().ip_options.empty());
  CHECK(udp.sender.set(option::ip_options, Bytes(41)).error() == Error::invalid);
}

TEST_CASE("the options with which to answer a packet are told to who asks") {
  Udp udp(Address::loopback_ipv4(0));
  REQUIRE(udp.receiver.set(option::ip_receive_reply_options, true));
  const Bytes route = bytes({7, 7, 4, 0, 0, 0, 0, 0});
  const auto ancillary = udp.exchange({.ip_options = route});
  REQUIRE(ancillary.ip_reply_options.size() == 8);
  CHECK(ancillary.ip_options.empty());
  CHECK(udp.sender.set(option::ip_options, ancillary.ip_reply_options));
}

TEST_CASE("extension headers of IPv6 are kept until they are cleared") {
  if (!has_ipv6()) return;
  Udp udp(Address::loopback_ipv6(0));
  REQUIRE(udp.sender.set(option::ipv6_routing_header, routing()));
  CHECK(udp.sender.get(option::ipv6_routing_header).value() == routing());
  REQUIRE(udp.sender.set(option::ipv6_routing_header, Bytes()));
  CHECK(udp.sender.get(option::ipv6_routing_header).value().empty());
  if (!may_send_options(udp.sender)) return;
  for (const auto& which : {option::ipv6_hop_options, option::ipv6_destination_options,
                            option::ipv6_first_destination_options}) {
    REQUIRE(udp.sender.set(which, options_of(2)));
    CHECK(udp.sender.get(which).value() == options_of(2));
    CHECK(udp.sender.set(which, Bytes(7)).error() == Error::invalid);
    REQUIRE(udp.sender.set(which, Bytes()));
    CHECK(udp.sender.get(which).value().empty());
  }
}

TEST_CASE("extension headers of IPv6 arrive, those of the socket or of one packet") {
  if (!has_ipv6()) return;
  Udp udp(Address::loopback_ipv6(0));
  if (!may_send_options(udp.sender)) return;
  for (const auto& which :
       {option::ipv6_receive_hop_options, option::ipv6_receive_destination_options,
        option::ipv6_receive_routing_header}) {
    REQUIRE(udp.receiver.set(which, true));
    CHECK(udp.receiver.get(which).value());
  }
  REQUIRE(udp.sender.set(option::ipv6_hop_options, options_of(1)));
  auto came = udp.exchange().extension_headers;
  REQUIRE(came.hop_options.size() == 8);
  came.hop_options[0] = {};  // the kernel has filled in what follows
  CHECK(came.hop_options == options_of(1));
  CHECK(came.destination_options.empty());
  REQUIRE(udp.sender.set(option::ipv6_hop_options, Bytes()));

  const ExtensionHeaders headers{.hop_options = options_of(2),
                                 .destination_options = options_of(3)};
  came = udp.exchange({.extension_headers = &headers}).extension_headers;
  CHECK(came.hop_options.size() == 16);
  CHECK(came.destination_options.size() == 24);
  CHECK(came.routing_header.empty());
  came = udp.exchange().extension_headers;
  CHECK(came.hop_options.empty());
  CHECK(came.destination_options.empty());
}

TEST_CASE("extension headers that are too long for a receive fail it, and the next one is whole") {
  if (!has_ipv6()) return;
  Udp udp(Address::loopback_ipv6(0));
  if (!may_send_options(udp.sender)) return;
  REQUIRE(udp.receiver.set(option::ipv6_receive_destination_options, true));
  const ExtensionHeaders headers{.destination_options = options_of(200)};
  std::array<std::byte, 8> buffer{};
  const auto sent = udp.sender.send_message(
      {.bytes = bytes_of("x"), .attachments = {.extension_headers = &headers}}, soon());
  REQUIRE(sent.has_value());
  REQUIRE(udp.sender.send(bytes_of("y"), soon()));
  const auto first = udp.receiver.receive_message({.into = buffer, .max_descriptors = 0}, soon());
  REQUIRE_FALSE(first.has_value());
  CHECK(first.error().error == Error::no_buffer_space);
  CHECK(udp.receiver.receive(buffer, soon()).value().size_bytes == 1);
  CHECK(buffer[0] == std::byte{'y'});
}

TEST_CASE("the flow of an IPv6 packet is sent with it or by the address, and told to who asks") {
  if (!has_ipv6()) return;
  Udp udp(Address::loopback_ipv6(0));
  REQUIRE(udp.receiver.set(option::ipv6_receive_flow_info, true));
  REQUIRE(udp.sender.set(option::ipv6_auto_flow_label, false));
  CHECK_FALSE(udp.exchange().flow_info.has_value());
  CHECK(udp.exchange({.flow_info = 0x00054321U}).flow_info == 0x00054321U);

  REQUIRE(udp.sender.set(option::ipv6_send_flow_info, true));
  CHECK(udp.sender.get(option::ipv6_send_flow_info).value());
  const auto port = *udp.receiver.local_address().value().port();
  REQUIRE(udp.sender.connect(
      Address::ipv6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, port, {.flow_info = 0x77}),
      soon()));
  CHECK(udp.exchange().flow_info == 0x77U);
}

TEST_CASE("an IPv6 socket with an IPv4 peer becomes one of IPv4 and goes on") {
  if (!has_ipv6()) return;
  auto listener = Listener::create(Address::any_ipv6(0)).value();
  const auto port = *listener.local_address().value().port();
  auto client = Socket::create(Family::ipv4, SocketType::stream).value();
  REQUIRE(client.connect(Address::loopback_ipv4(port), soon()));
  auto server = listener.accept(soon()).value();
  REQUIRE(server.family() == Family::ipv6);
  REQUIRE(server.turn_into_ipv4());
  CHECK(server.family() == Family::ipv4);
  CHECK(server.local_address().value() == Address::loopback_ipv4(port));
  CHECK(server.peer_address().value() == client.local_address().value());
  REQUIRE(client.send(bytes_of("x"), soon()));
  std::array<std::byte, 8> buffer{};
  CHECK(server.receive(buffer, soon()).value().size_bytes == 1);

  auto other = Socket::create(Family::ipv6, SocketType::stream).value();
  CHECK(other.turn_into_ipv4().error() == Error::not_connected);
  REQUIRE(other.connect(Address::loopback_ipv6(port), soon()));
  CHECK(static_cast<int>(other.turn_into_ipv4().error()) == EADDRNOTAVAIL);
  CHECK(other.family() == Family::ipv6);
}

TEST_CASE("a group's senders are chosen all at once, on IPv4 and IPv6") {
  const unsigned loopback = interface_index("lo").value();
  const auto check = [&](Family family, const Address& group, const Address& source, auto join,
                         auto filter, auto block, auto unblock) {
    auto socket = Socket::create(family, SocketType::datagram).value();
    const SourceFilter without{
        .group = group, .sources = {source}, .excludes = true, .interface_index = loopback};
    CHECK_FALSE(socket.set(filter, without).has_value());  // it has not joined
    REQUIRE(socket.set(join, {.group = group, .interface_index = loopback}));
    REQUIRE(socket.set(filter, without));
    const SourceMembership one{.group = group, .source = source, .interface_index = loopback};
    CHECK(static_cast<int>(socket.set(block, one).error()) == EADDRNOTAVAIL);  // it is already
    CHECK(socket.set(unblock, one));
    CHECK(socket.set(block, one));
    CHECK(socket.set(
        filter, {.group = group, .sources = {}, .excludes = true, .interface_index = loopback}));
    CHECK(socket.set(block, one));
  };
  check(Family::ipv4, Address::ipv4({239, 1, 2, 4}, 0), Address::ipv4({127, 0, 0, 9}, 0),
        option::ip_join_group, option::ip_source_filter, option::ip_block_source,
        option::ip_unblock_source);
  if (!has_ipv6()) return;
  check(Family::ipv6,
        Address::ipv6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34}, 0),
        Address::loopback_ipv6(0), option::ipv6_join_group, option::ipv6_source_filter,
        option::ipv6_block_source, option::ipv6_unblock_source);
}

TEST_CASE("a security label that comes with a packet can be asked for") {
  auto socket = Socket::create(Family::ipv4, SocketType::datagram).value();
  CHECK_FALSE(socket.get(option::ip_pass_security).value());
  REQUIRE(socket.set(option::ip_pass_security, true));
  CHECK(socket.get(option::ip_pass_security).value());
}

TEST_CASE("the options of raw sockets are set, and no others have them") {
  auto other = Socket::create(Family::ipv4, SocketType::datagram).value();
  CHECK(other.set(option::ip_no_defragment, true).error() == Error::no_such_option);
  auto created = Socket::create(Family::ipv4, SocketType::raw, IPPROTO_ICMP);
  if (!created) return skip("only a privileged process may have raw sockets");
  Socket raw = *std::move(created);
  REQUIRE(raw.set(option::icmp_filter, 1U << 8U));  // no echo requests
  CHECK(raw.get(option::icmp_filter).value() == 1U << 8U);
  REQUIRE(raw.set(option::ip_no_defragment, true));
  CHECK(raw.get(option::ip_no_defragment).value());
  CHECK(raw.set(option::ip_router_alert, true));
  CHECK(raw.set(option::ip_router_alert, false));
  if (!has_ipv6()) return;
  auto raw6 = Socket::create(Family::ipv6, SocketType::raw, IPPROTO_RAW).value();
  CHECK(raw6.set(option::ipv6_router_alert, 0));
  CHECK(raw6.set(option::ipv6_router_alert, -1));
}
