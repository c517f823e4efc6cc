#include <parley/os/socket_options.hpp>

#include <doctest/doctest.h>

#include <linux/sock_diag.h>
#include <cerrno>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <parley/os/socket.hpp>

#include "os/sys.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::skip;

namespace {

template <class O>
concept CanSet = requires(Socket socket, O option) { socket.set(option, {}); };
template <class O>
concept CanGet = requires(const Socket socket, O option) { socket.get(option); };

auto stream_of(Family family) -> Socket {
  return Socket::create(family, SocketType::stream).value();
}

auto datagrams_of(Family family) -> Socket {
  return Socket::create(family, SocketType::datagram).value();
}

/// Sets the option and sees it set, and a flag also cleared.
template <class T>
void check_option(Socket& socket, const Option<T>& which, const std::type_identity_t<T>& value) {
  CAPTURE(which.ReadableOption<T>::level);
  CAPTURE(which.ReadableOption<T>::name);
  REQUIRE(socket.get(which).has_value());
  REQUIRE(socket.set(which, value).has_value());
  CHECK(socket.get(which).value() == value);
  if constexpr (std::same_as<T, bool>) {
    CHECK(socket.set(which, false));
    CHECK_FALSE(socket.get(which).value());
  }
}

/// One that needs CAP_NET_ADMIN, which root in a container may lack: set, or refused as it should.
template <class T>
void check_privileged(Socket& socket, const Option<T>& which,
                      const std::type_identity_t<T>& value) {
  const auto set = socket.set(which, value);
  if (set) {
    CHECK(socket.get(which).value() == value);
  } else {
    CHECK((set.error() == Error::not_permitted || set.error() == Error::access_denied));
  }
}

/// One that this kernel may be too old for: set, or missing.
template <class T>
void check_newer(Socket& socket, const Option<T>& which, const std::type_identity_t<T>& value) {
  const auto now = socket.get(which);
  if (now) {
    check_option(socket, which, value);
  } else {
    CHECK(now.error() == Error::no_such_option);
  }
}

}  // namespace

TEST_CASE("an option that can only be read or only be set says so when it is compiled") {
  static_assert(CanGet<decltype(option::cookie)> && !CanSet<decltype(option::cookie)>);
  static_assert(CanSet<decltype(option::ip_join_group)> &&
                !CanGet<decltype(option::ip_join_group)>);
  static_assert(CanSet<decltype(option::linger)> && CanGet<decltype(option::linger)>);
}

TEST_CASE("every option of any socket is set and read back") {
  auto socket = stream_of(Family::ipv4);
  for (const auto& flag :
       {option::reuse_address, option::reuse_port, option::keep_alive, option::broadcast,
        option::dont_route, option::out_of_band_inline, option::zero_copy, option::timestamp_ns,
        option::receive_queue_overflow, option::select_error_queue}) {
    check_option(socket, flag, true);
  }
  check_privileged(socket, option::debug, true);
  for (const auto& newer : {option::receive_mark, option::prefer_busy_poll}) {
    if (socket.get(newer)) {
      check_privileged(socket, newer, true);
    } else {
      check_newer(socket, newer, true);
    }
  }
  check_option(socket, option::linger, Linger(3s));
  check_option(socket, option::linger, std::nullopt);
  check_option(socket, option::receive_low_water_bytes, 100);
  check_option(socket, option::priority, 4);
  check_privileged(socket, option::mark, 77U);
  check_privileged(socket, option::bind_to_device, "lo");
  auto unbound = stream_of(Family::ipv4);
  check_option(unbound, option::bind_to_interface_index,
               static_cast<int>(interface_index("lo").value()));
  check_option(socket, option::incoming_cpu, 1);
  check_privileged(socket, option::busy_poll, 20us);
  const auto budget = socket.set(option::busy_poll_budget, 8);             // can only be set
  const bool is_known = socket.get(option::prefer_busy_poll).has_value();  // came with it
  const auto refused = is_known ? Error::not_permitted : Error::no_such_option;
  CHECK((budget || budget.error() == refused));
  check_option(socket, option::max_pacing_bytes_per_second, 1'000'000U);
  check_option(socket, option::timestamping, 1 << 4);
}

TEST_CASE("buffer sizes are told doubled, as the kernel keeps them") {
  auto socket = stream_of(Family::local);
  REQUIRE(socket.set(option::receive_buffer_bytes, 10'000));
  CHECK(socket.get(option::receive_buffer_bytes).value() == 20'000);
  REQUIRE(socket.set(option::send_buffer_bytes, 12'000));
  CHECK(socket.get(option::send_buffer_bytes).value() == 24'000);
  const auto forced = socket.set(option::receive_buffer_bytes_forced, 1 << 26);
  if (forced) {
    CHECK(socket.get(option::receive_buffer_bytes).value() == 1 << 27);
  } else {
    CHECK(forced.error() == Error::not_permitted);
  }
  CHECK(socket.set(option::send_buffer_bytes_forced, 1 << 26).has_value() == forced.has_value());
}

TEST_CASE("the limits of sockets are readable") {
  const auto limits = socket_limits().value();
  CHECK(limits.backlog > 0);
  CHECK(limits.waiting_datagrams > 0);
  if (!limits.send_buffer_bytes) return skip("net.core.wmem_max is not shown here");
  auto socket = stream_of(Family::local);
  REQUIRE(socket.set(option::send_buffer_bytes, std::numeric_limits<int>::max()));
  CHECK(socket.get(option::send_buffer_bytes).value() ==
        static_cast<int>(2 * *limits.send_buffer_bytes));
  const auto fresh = stream_of(Family::local);
  CHECK(fresh.get(option::send_buffer_bytes).value() ==
        static_cast<int>(limits.default_send_buffer_bytes.value()));
  CHECK(fresh.get(option::receive_buffer_bytes).value() ==
        static_cast<int>(limits.default_receive_buffer_bytes.value()));
}

TEST_CASE("a limit of sockets that is not shown is none, and other errors are told") {
  const int calls = 3;  // of each file: open, read, read
  for (const int file : {0, 1, 2, 3, 4, 5, 6}) {
    sys::injection = {.calls_until_failure = calls * file + 1, .error = Error::not_found};
    const auto limits = socket_limits();
    REQUIRE(std::exchange(sys::injection, {}).fired);
    CAPTURE(file);
    if (file < 2) {
      CHECK(limits.error() == Error::not_found);
    } else {
      CHECK(limits->receive_buffer_bytes.has_value() == (file != 2));
      CHECK(limits->send_buffer_bytes.has_value() == (file != 3));
      CHECK(limits->ancillary_bytes.has_value() == (file != 4));
      CHECK(limits->default_receive_buffer_bytes.has_value() == (file != 5));
      CHECK(limits->default_send_buffer_bytes.has_value() == (file != 6));
    }
  }
}

TEST_CASE("what can only be read is told") {
  auto [one, other] = Socket::pair(SocketType::datagram).value();
  CHECK(one.get(option::pending_error).value() == 0);
  CHECK(one.get(option::protocol).value() == 0);
  CHECK_FALSE(one.get(option::accepts_connections).value());
  CHECK(one.get(option::cookie).value() != other.get(option::cookie).value());
  CHECK(one.get(option::incoming_napi_id).value() == 0);
  CHECK(one.get(option::memory).value().at(SK_MEMINFO_SNDBUF) > 0);
}

TEST_CASE("every option of local sockets is set and read back") {
  auto [socket, peer] = Socket::pair(SocketType::stream).value();
  check_option(socket, option::pass_credentials, true);
  check_option(socket, option::pass_security, true);
  check_option(socket, option::peek_offset, 5);
  for (const auto& newer : {option::pass_pidfd, option::pass_descriptors}) {
    check_newer(socket, newer, true);
  }
}

TEST_CASE("every option of IPv4 is set and read back") {
  auto socket = datagrams_of(Family::ipv4);
  for (const auto& flag : {option::ip_free_bind, option::ip_bind_address_no_port,
                           option::ip_packet_info, option::ip_receive_ttl, option::ip_receive_tos,
                           option::ip_receive_error, option::ip_receive_original_destination,
                           option::ip_multicast_loop, option::ip_multicast_all}) {
    check_option(socket, flag, true);
  }
  check_privileged(socket, option::ip_transparent, true);
  check_option(socket, option::ip_ttl, 9);
  check_option(socket, option::ip_min_ttl, 3);
  check_option(socket, option::ip_tos, 0x10);
  check_option(socket, option::ip_mtu_discover, IP_PMTUDISC_DO);
  check_option(socket, option::ip_multicast_ttl, 2);
  check_newer(socket, option::ip_local_port_range, PortRange{.lowest = 40'000, .highest = 40'100});
  CHECK(socket.get(option::ip_mtu).error() == Error::not_connected);
  REQUIRE(socket.connect(Address::loopback_ipv4(9), Deadline::now()));
  CHECK(socket.get(option::ip_mtu).value() > 0);
  CHECK(socket.set(option::ip_header_included, true).error() == Error::no_such_option);
}

TEST_CASE("every option of IPv6 is set and read back") {
  auto created = Socket::create(Family::ipv6, SocketType::datagram);
  if (!created) {
    skip("this machine has no IPv6");
    return;
  }
  Socket socket = *std::move(created);
  for (const auto& flag : {option::ipv6_only, option::ipv6_dont_fragment, option::ipv6_free_bind,
                           option::ipv6_auto_flow_label, option::ipv6_packet_info,
                           option::ipv6_receive_hop_limit, option::ipv6_receive_traffic_class,
                           option::ipv6_receive_error, option::ipv6_receive_original_destination,
                           option::ipv6_multicast_loop, option::ipv6_multicast_all}) {
    check_option(socket, flag, true);
  }
  check_privileged(socket, option::ipv6_transparent, true);
  check_option(socket, option::ipv6_hop_limit, 9);
  check_option(socket, option::ipv6_min_hop_limit, 3);
  check_option(socket, option::ipv6_traffic_class, 0x10);
  check_option(socket, option::ipv6_mtu_discover, IPV6_PMTUDISC_DO);
  check_option(socket, option::ipv6_multicast_hop_limit, 2);
  // The kernel tells its defaults for the other preferences too.
  REQUIRE(socket.set(option::ipv6_address_preferences, 0x0002));
  CHECK((socket.get(option::ipv6_address_preferences).value() & 0x0002) != 0);
  check_option(socket, option::ipv6_multicast_interface_index,
               static_cast<int>(interface_index("lo").value()));
  CHECK(socket.set(option::ipv6_mtu, 1400));
  REQUIRE(socket.connect(Address::loopback_ipv6(9), Deadline::now()));
  CHECK(socket.get(option::ipv6_mtu).value() > 0);
}

TEST_CASE("every option of TCP is set and read back") {
  auto socket = stream_of(Family::ipv4);
  for (const auto& flag : {option::tcp_no_delay, option::tcp_cork, option::tcp_quick_ack,
                           option::tcp_fast_open_connect, option::tcp_fast_open_no_cookie,
                           option::tcp_thin_linear_timeouts, option::tcp_bytes_left}) {
    check_option(socket, flag, true);
  }
  check_option(socket, option::tcp_keep_idle, 50s);
  check_option(socket, option::tcp_keep_interval, 7s);
  check_option(socket, option::tcp_keep_count, 3);
  check_option(socket, option::tcp_user_timeout, 1500ms);
  check_option(socket, option::tcp_fin_wait, 5s);
  check_option(socket, option::tcp_syn_count, 2);
  check_option(socket, option::tcp_not_sent_low_water_bytes, 10'000);
  check_option(socket, option::tcp_congestion, "reno");
  check_option(socket, option::tcp_window_clamp_bytes, 60'000);
  check_option(socket, option::tcp_transmit_delay, 100us);
  // These are kept in steps of the kernel's own.
  REQUIRE(socket.set(option::tcp_defer_accept, 3s));
  CHECK(socket.get(option::tcp_defer_accept).value() >= 3s);
  CHECK(socket.set(option::tcp_max_segment_bytes, 1000));
  CHECK(socket.get(option::tcp_max_segment_bytes).value() > 0);
  CHECK(socket.get(option::tcp_information).value().tcpi_state == TCP_CLOSE);
  auto listener = Listener::create(Address::loopback_ipv4(0)).value();
  CHECK(listener.set(option::tcp_fast_open, 8));
  CHECK(listener.get(option::tcp_fast_open).value() == 8);
}

TEST_CASE("every option of UDP is set and read back") {
  auto socket = datagrams_of(Family::ipv4);
  check_option(socket, option::udp_cork, true);
  check_option(socket, option::udp_segment_bytes, 500);
  check_option(socket, option::udp_receive_offload, true);
  check_option(socket, option::udp_no_checksum, true);
}

TEST_CASE("multicast groups are joined and left, by sender too") {
  auto socket = datagrams_of(Family::ipv4);
  const unsigned loopback = interface_index("lo").value();
  const GroupMembership group{.group = Address::ipv4({239, 1, 2, 3}, 0),
                              .interface_index = loopback};
  CHECK(socket.set(option::ip_multicast_interface, {.index = loopback}));
  CHECK(socket.set(option::ip_join_group, group));
  CHECK(socket.set(option::ip_join_group, group).error() == Error::address_in_use);
  const SourceMembership source{
      .group = group.group, .source = Address::loopback_ipv4(0), .interface_index = loopback};
  CHECK(socket.set(option::ip_block_source, source));
  CHECK(socket.set(option::ip_unblock_source, source));
  CHECK(socket.set(option::ip_leave_group, group));
  CHECK(static_cast<int>(socket.set(option::ip_leave_group, group).error()) == EADDRNOTAVAIL);
  CHECK(socket.set(option::ip_join_source, source));
  CHECK(socket.set(option::ip_leave_source, source));
}

TEST_CASE("an option that a socket lacks, or a value that it does not take, changes nothing") {
  auto socket = stream_of(Family::local);
  CHECK(socket.set(option::tcp_no_delay, true).error() == Error::not_supported);
  CHECK(socket.get(option::tcp_no_delay).error() == Error::not_supported);
  CHECK(socket.get(ReadableOption<int>{SOL_SOCKET, 9999}).error() == Error::no_such_option);
  auto network = stream_of(Family::ipv4);
  CHECK(network.set(option::ip_ttl, 256).error() == Error::invalid);
  CHECK(network.set(option::tcp_keep_idle, 365 * 24h * 1000).error() == Error::invalid);
  CHECK(network.set(option::tcp_congestion, "no-such-control").error() == Error::not_found);
  CHECK(network.set(Option<int>(SOL_SOCKET, SO_PRIORITY), 3));
  CHECK(network.get(option::priority).value() == 3);
}
