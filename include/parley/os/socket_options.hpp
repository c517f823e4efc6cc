// Socket options as typed constants, for `socket.set(option::reuse_address, true)`.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <parley/os/address.hpp>
#include <parley/os/descriptor.hpp>

// What the headers of Debian 12 or of musl lack. The numbers are those of every architecture but
// the few old ones with their own socket.h.
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

/// One instruction of a classic BPF program; <linux/filter.h> has it, and macros to write them
/// with.
struct sock_filter;  // NOLINT(readability-identifier-naming): the kernel's.

namespace parley::os {

/// An option that can be asked for. A type of one's own: `bool`, `int`, `std::uint32_t`,
/// `std::uint64_t`, `seconds`, `milliseconds` or `microseconds` (each an int to the kernel), a
/// string, bytes, or one of the types named below.
template <class T>
struct ReadableOption {
  int level;
  int name;
};

/// An option that can be set. `no_such_option` where the kernel or the kind of socket lacks it.
template <class T>
struct WritableOption {
  int level;
  int name;
};

/// Both. For one that is not listed here: `Option<int>(SOL_SOCKET, SO_…)`.
template <class T>
struct Option : ReadableOption<T>, WritableOption<T> {
  constexpr Option(int level, int name) noexcept
      : ReadableOption<T>{level, name}, WritableOption<T>{level, name} {}
};

/// How long close(2) waits for what was not yet sent. Empty: not at all, the kernel goes on by
/// itself. 0 s: drop it and reset the connection.
using Linger = std::optional<std::chrono::seconds>;

/// Joining a multicast group on one interface; 0 lets the kernel choose.
struct GroupMembership {
  Address group;
  unsigned interface_index = 0;
};

/// The same for what one sender sends to the group.
struct SourceMembership {
  Address group;
  Address source;
  unsigned interface_index = 0;
};

/// The interface by its index.
struct MulticastInterface {
  unsigned index = 0;
};

/// The ports among which the kernel chooses; both 0: the system's own range.
struct PortRange {
  std::uint16_t lowest = 0;
  std::uint16_t highest = 0;

  auto operator==(const PortRange&) const noexcept -> bool = default;
};

/// For what is done, not set: `socket.set(option::detach_filter, {})`.
struct NoValue {};

/// Whose packets of a group that this socket has joined are taken: those of `sources` alone, or of
/// all but them.
struct SourceFilter {
  Address group;
  std::vector<Address> sources = {};
  bool excludes = false;
  unsigned interface_index = 0;
};

/// SO_MEMINFO, indexed by SK_MEMINFO_… of <linux/sock_diag.h>.
using SocketMemory = std::array<std::uint32_t, 9>;

namespace option {

// Any socket: socket(7)
inline constexpr Option<bool> reuse_address{SOL_SOCKET, SO_REUSEADDR};
inline constexpr Option<bool> reuse_port{SOL_SOCKET, SO_REUSEPORT};
inline constexpr Option<bool> keep_alive{SOL_SOCKET, SO_KEEPALIVE};
inline constexpr Option<bool> broadcast{SOL_SOCKET, SO_BROADCAST};
inline constexpr Option<bool> dont_route{SOL_SOCKET, SO_DONTROUTE};
inline constexpr Option<bool> out_of_band_inline{SOL_SOCKET, SO_OOBINLINE};
inline constexpr Option<bool> debug{SOL_SOCKET, SO_DEBUG};
inline constexpr Option<Linger> linger{SOL_SOCKET, SO_LINGER};
/// The kernel doubles what is set, for its own needs, and tells the double; at most
/// /proc/sys/net/core/rmem_max (wmem_max) unless forced, which is privileged.
inline constexpr Option<int> receive_buffer_bytes{SOL_SOCKET, SO_RCVBUF};
inline constexpr Option<int> send_buffer_bytes{SOL_SOCKET, SO_SNDBUF};
inline constexpr WritableOption<int> receive_buffer_bytes_forced{SOL_SOCKET, SO_RCVBUFFORCE};
inline constexpr WritableOption<int> send_buffer_bytes_forced{SOL_SOCKET, SO_SNDBUFFORCE};
/// A stream is readable only when it holds this many bytes.
inline constexpr Option<int> receive_low_water_bytes{SOL_SOCKET, SO_RCVLOWAT};
inline constexpr Option<int> reserved_memory_bytes{SOL_SOCKET, SO_RESERVE_MEM};
inline constexpr Option<int> priority{SOL_SOCKET, SO_PRIORITY};
inline constexpr Option<std::uint32_t> mark{SOL_SOCKET, SO_MARK};
inline constexpr Option<bool> receive_mark{SOL_SOCKET, SO_RCVMARK};
inline constexpr Option<std::string> bind_to_device{SOL_SOCKET, SO_BINDTODEVICE};
inline constexpr Option<int> bind_to_interface_index{SOL_SOCKET, SO_BINDTOIFINDEX};
inline constexpr Option<int> incoming_cpu{SOL_SOCKET, SO_INCOMING_CPU};
inline constexpr ReadableOption<int> incoming_napi_id{SOL_SOCKET, SO_INCOMING_NAPI_ID};
inline constexpr Option<std::chrono::microseconds> busy_poll{SOL_SOCKET, SO_BUSY_POLL};
inline constexpr Option<bool> prefer_busy_poll{SOL_SOCKET, SO_PREFER_BUSY_POLL};
inline constexpr WritableOption<int> busy_poll_budget{SOL_SOCKET, SO_BUSY_POLL_BUDGET};
inline constexpr Option<std::uint64_t> max_pacing_bytes_per_second{SOL_SOCKET, SO_MAX_PACING_RATE};
inline constexpr Option<bool> zero_copy{SOL_SOCKET, SO_ZEROCOPY};
/// Ancillary data with what arrives. A local seqpacket socket keeps `timestamp_ns` on (Socket).
inline constexpr Option<bool> timestamp_ns{SOL_SOCKET, SO_TIMESTAMPNS};
/// SOF_TIMESTAMPING_… of <linux/net_tstamp.h>.
inline constexpr Option<int> timestamping{SOL_SOCKET, SO_TIMESTAMPING};
inline constexpr Option<bool> receive_queue_overflow{SOL_SOCKET, SO_RXQ_OVFL};
/// Poll reports POLLPRI too when the error queue holds something.
inline constexpr Option<bool> select_error_queue{SOL_SOCKET, SO_SELECT_ERR_QUEUE};
/// Reading it clears it: an errno, or 0.
inline constexpr ReadableOption<int> pending_error{SOL_SOCKET, SO_ERROR};
inline constexpr ReadableOption<int> protocol{SOL_SOCKET, SO_PROTOCOL};
inline constexpr ReadableOption<bool> accepts_connections{SOL_SOCKET, SO_ACCEPTCONN};
inline constexpr ReadableOption<std::uint64_t> cookie{SOL_SOCKET, SO_COOKIE};
inline constexpr ReadableOption<SocketMemory> memory{SOL_SOCKET, SO_MEMINFO};

// Filters of what comes in: socket(7)
/// A program that sees each packet and returns how many bytes of it are kept; 0 drops it, and the
/// sender is not told. `invalid` for a program that the kernel will not run, or of more than 4096
/// instructions. There is one filter: the next takes its place.
inline constexpr WritableOption<std::span<const sock_filter>> attach_filter{SOL_SOCKET,
                                                                            SO_ATTACH_FILTER};
/// The program that `attach_filter` has set; empty without one.
inline constexpr ReadableOption<std::vector<sock_filter>> attached_filter{SOL_SOCKET,
                                                                          SO_ATTACH_FILTER};
/// An extended program of the type BPF_PROG_TYPE_SOCKET_FILTER, from bpf(2).
inline constexpr WritableOption<BorrowedFd> attach_bpf{SOL_SOCKET, SO_ATTACH_BPF};
/// `not_found` without a filter.
inline constexpr WritableOption<NoValue> detach_filter{SOL_SOCKET, SO_DETACH_FILTER};
/// Nobody who has the socket can change its filter any more, nor take this back: `not_permitted`.
inline constexpr Option<bool> lock_filter{SOL_SOCKET, SO_LOCK_FILTER};
/// Which of the sockets that share a port by `reuse_port` gets a packet: the program returns its
/// number, counted from 0 in the order of binding. UDP; TCP, for connections.
inline constexpr WritableOption<std::span<const sock_filter>> attach_reuse_port_filter{
    SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF};
inline constexpr WritableOption<BorrowedFd> attach_reuse_port_bpf{SOL_SOCKET,
                                                                  SO_ATTACH_REUSEPORT_EBPF};
inline constexpr WritableOption<NoValue> detach_reuse_port_filter{SOL_SOCKET,
                                                                  SO_DETACH_REUSEPORT_BPF};

// Local sockets: unix(7)
inline constexpr Option<bool> pass_credentials{SOL_SOCKET, SO_PASSCRED};
/// Since Linux 6.5.
inline constexpr Option<bool> pass_pidfd{SOL_SOCKET, SO_PASSPIDFD};
inline constexpr Option<bool> pass_security{SOL_SOCKET, SO_PASSSEC};
/// Since Linux 6.16, on by default. Off: sending descriptors here fails with `not_permitted`.
inline constexpr Option<bool> pass_descriptors{SOL_SOCKET, SO_PASSRIGHTS};
/// Where `peek` looks, counted from the first byte not yet taken; it moves on with each look. -1
/// (the default): always at the first.
inline constexpr Option<int> peek_offset{SOL_SOCKET, SO_PEEK_OFF};

// IPv4: ip(7)
inline constexpr Option<int> ip_ttl{IPPROTO_IP, IP_TTL};
inline constexpr Option<int> ip_min_ttl{IPPROTO_IP, IP_MINTTL};
inline constexpr Option<int> ip_tos{IPPROTO_IP, IP_TOS};
inline constexpr Option<int> ip_mtu_discover{IPPROTO_IP, IP_MTU_DISCOVER};
/// Of a connected socket.
inline constexpr ReadableOption<int> ip_mtu{IPPROTO_IP, IP_MTU};
inline constexpr Option<bool> ip_free_bind{IPPROTO_IP, IP_FREEBIND};
inline constexpr Option<bool> ip_transparent{IPPROTO_IP, IP_TRANSPARENT};
inline constexpr Option<bool> ip_bind_address_no_port{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT};
/// For IPv6 sockets too.
inline constexpr Option<PortRange> ip_local_port_range{IPPROTO_IP, IP_LOCAL_PORT_RANGE};
inline constexpr Option<bool> ip_header_included{IPPROTO_IP, IP_HDRINCL};
inline constexpr Option<bool> ip_packet_info{IPPROTO_IP, IP_PKTINFO};
inline constexpr Option<bool> ip_receive_ttl{IPPROTO_IP, IP_RECVTTL};
inline constexpr Option<bool> ip_receive_tos{IPPROTO_IP, IP_RECVTOS};
inline constexpr Option<bool> ip_receive_error{IPPROTO_IP, IP_RECVERR};
inline constexpr Option<bool> ip_receive_original_destination{IPPROTO_IP, IP_RECVORIGDSTADDR};
inline constexpr Option<bool> ip_pass_security{IPPROTO_IP, IP_PASSSEC};
/// The options of every packet sent, as on the wire (RFC 791), at most 40 bytes; empty: none.
inline constexpr Option<std::vector<std::byte>> ip_options{IPPROTO_IP, IP_OPTIONS};
inline constexpr Option<bool> ip_receive_options{IPPROTO_IP, IP_RECVOPTS};
inline constexpr Option<bool> ip_receive_reply_options{IPPROTO_IP, IP_RETOPTS};
inline constexpr Option<int> ip_multicast_ttl{IPPROTO_IP, IP_MULTICAST_TTL};
inline constexpr Option<bool> ip_multicast_loop{IPPROTO_IP, IP_MULTICAST_LOOP};
inline constexpr Option<bool> ip_multicast_all{IPPROTO_IP, IP_MULTICAST_ALL};
inline constexpr WritableOption<MulticastInterface> ip_multicast_interface{IPPROTO_IP,
                                                                           IP_MULTICAST_IF};
inline constexpr WritableOption<GroupMembership> ip_join_group{IPPROTO_IP, MCAST_JOIN_GROUP};
inline constexpr WritableOption<GroupMembership> ip_leave_group{IPPROTO_IP, MCAST_LEAVE_GROUP};
inline constexpr WritableOption<SourceMembership> ip_join_source{IPPROTO_IP,
                                                                 MCAST_JOIN_SOURCE_GROUP};
inline constexpr WritableOption<SourceMembership> ip_leave_source{IPPROTO_IP,
                                                                  MCAST_LEAVE_SOURCE_GROUP};
inline constexpr WritableOption<SourceFilter> ip_source_filter{IPPROTO_IP, MCAST_MSFILTER};
inline constexpr WritableOption<SourceMembership> ip_block_source{IPPROTO_IP, MCAST_BLOCK_SOURCE};
inline constexpr WritableOption<SourceMembership> ip_unblock_source{IPPROTO_IP,
                                                                    MCAST_UNBLOCK_SOURCE};

// IPv6: ipv6(7)
/// Off: the socket serves IPv4 too, as ::ffff:a.b.c.d. Set before binding.
inline constexpr Option<bool> ipv6_only{IPPROTO_IPV6, IPV6_V6ONLY};
inline constexpr Option<int> ipv6_hop_limit{IPPROTO_IPV6, IPV6_UNICAST_HOPS};
inline constexpr Option<int> ipv6_min_hop_limit{IPPROTO_IPV6, IPV6_MINHOPCOUNT};
inline constexpr Option<int> ipv6_traffic_class{IPPROTO_IPV6, IPV6_TCLASS};
inline constexpr Option<int> ipv6_mtu{IPPROTO_IPV6, IPV6_MTU};
inline constexpr Option<int> ipv6_mtu_discover{IPPROTO_IPV6, IPV6_MTU_DISCOVER};
inline constexpr Option<bool> ipv6_dont_fragment{IPPROTO_IPV6, IPV6_DONTFRAG};
inline constexpr Option<bool> ipv6_free_bind{IPPROTO_IPV6, IPV6_FREEBIND};
inline constexpr Option<bool> ipv6_transparent{IPPROTO_IPV6, IPV6_TRANSPARENT};
inline constexpr Option<int> ipv6_address_preferences{IPPROTO_IPV6, IPV6_ADDR_PREFERENCES};
inline constexpr Option<bool> ipv6_auto_flow_label{IPPROTO_IPV6, IPV6_AUTOFLOWLABEL};
inline constexpr Option<bool> ipv6_packet_info{IPPROTO_IPV6, IPV6_RECVPKTINFO};
inline constexpr Option<bool> ipv6_receive_hop_limit{IPPROTO_IPV6, IPV6_RECVHOPLIMIT};
inline constexpr Option<bool> ipv6_receive_traffic_class{IPPROTO_IPV6, IPV6_RECVTCLASS};
inline constexpr Option<bool> ipv6_receive_error{IPPROTO_IPV6, IPV6_RECVERR};
inline constexpr Option<bool> ipv6_receive_original_destination{IPPROTO_IPV6, IPV6_RECVORIGDSTADDR};
/// The extension headers of every packet sent, each as on the wire (RFC 8200); empty: none. All but
/// the routing header are privileged. `ipv6_first_destination_options` go before the routing
/// header.
inline constexpr Option<std::vector<std::byte>> ipv6_hop_options{IPPROTO_IPV6, IPV6_HOPOPTS};
inline constexpr Option<std::vector<std::byte>> ipv6_first_destination_options{IPPROTO_IPV6,
                                                                               IPV6_RTHDRDSTOPTS};
inline constexpr Option<std::vector<std::byte>> ipv6_routing_header{IPPROTO_IPV6, IPV6_RTHDR};
inline constexpr Option<std::vector<std::byte>> ipv6_destination_options{IPPROTO_IPV6,
                                                                         IPV6_DSTOPTS};
inline constexpr Option<bool> ipv6_receive_hop_options{IPPROTO_IPV6, IPV6_RECVHOPOPTS};
inline constexpr Option<bool> ipv6_receive_routing_header{IPPROTO_IPV6, IPV6_RECVRTHDR};
inline constexpr Option<bool> ipv6_receive_destination_options{IPPROTO_IPV6, IPV6_RECVDSTOPTS};
// Of <linux/in6.h>, which does not go together with <netinet/in.h>: IPV6_FLOWINFO and …_SEND.
inline constexpr Option<bool> ipv6_receive_flow_info{IPPROTO_IPV6, 11};
/// Send the flow_info of the address that is sent or connected to (Ipv6Options).
inline constexpr Option<bool> ipv6_send_flow_info{IPPROTO_IPV6, 33};
inline constexpr Option<int> ipv6_multicast_hop_limit{IPPROTO_IPV6, IPV6_MULTICAST_HOPS};
inline constexpr Option<bool> ipv6_multicast_loop{IPPROTO_IPV6, IPV6_MULTICAST_LOOP};
inline constexpr Option<bool> ipv6_multicast_all{IPPROTO_IPV6, IPV6_MULTICAST_ALL};
inline constexpr Option<int> ipv6_multicast_interface_index{IPPROTO_IPV6, IPV6_MULTICAST_IF};
inline constexpr WritableOption<GroupMembership> ipv6_join_group{IPPROTO_IPV6, MCAST_JOIN_GROUP};
inline constexpr WritableOption<GroupMembership> ipv6_leave_group{IPPROTO_IPV6, MCAST_LEAVE_GROUP};
inline constexpr WritableOption<SourceMembership> ipv6_join_source{IPPROTO_IPV6,
                                                                   MCAST_JOIN_SOURCE_GROUP};
inline constexpr WritableOption<SourceMembership> ipv6_leave_source{IPPROTO_IPV6,
                                                                    MCAST_LEAVE_SOURCE_GROUP};
inline constexpr WritableOption<SourceFilter> ipv6_source_filter{IPPROTO_IPV6, MCAST_MSFILTER};
inline constexpr WritableOption<SourceMembership> ipv6_block_source{IPPROTO_IPV6,
                                                                    MCAST_BLOCK_SOURCE};
inline constexpr WritableOption<SourceMembership> ipv6_unblock_source{IPPROTO_IPV6,
                                                                      MCAST_UNBLOCK_SOURCE};

// TCP: tcp(7)
inline constexpr Option<bool> tcp_no_delay{IPPROTO_TCP, TCP_NODELAY};
inline constexpr Option<bool> tcp_cork{IPPROTO_TCP, TCP_CORK};
inline constexpr Option<bool> tcp_quick_ack{IPPROTO_TCP, TCP_QUICKACK};
inline constexpr Option<std::chrono::seconds> tcp_keep_idle{IPPROTO_TCP, TCP_KEEPIDLE};
inline constexpr Option<std::chrono::seconds> tcp_keep_interval{IPPROTO_TCP, TCP_KEEPINTVL};
inline constexpr Option<int> tcp_keep_count{IPPROTO_TCP, TCP_KEEPCNT};
/// How long sent bytes may stay unacknowledged before the connection is given up; 0: the system's.
inline constexpr Option<std::chrono::milliseconds> tcp_user_timeout{IPPROTO_TCP, TCP_USER_TIMEOUT};
inline constexpr Option<std::chrono::seconds> tcp_defer_accept{IPPROTO_TCP, TCP_DEFER_ACCEPT};
inline constexpr Option<std::chrono::seconds> tcp_fin_wait{IPPROTO_TCP, TCP_LINGER2};
inline constexpr Option<int> tcp_syn_count{IPPROTO_TCP, TCP_SYNCNT};
inline constexpr Option<int> tcp_max_segment_bytes{IPPROTO_TCP, TCP_MAXSEG};
inline constexpr Option<int> tcp_window_clamp_bytes{IPPROTO_TCP, TCP_WINDOW_CLAMP};
inline constexpr Option<int> tcp_not_sent_low_water_bytes{IPPROTO_TCP, TCP_NOTSENT_LOWAT};
inline constexpr Option<std::string> tcp_congestion{IPPROTO_TCP, TCP_CONGESTION};
/// Of a listener: how many connections may wait that began with data.
inline constexpr Option<int> tcp_fast_open{IPPROTO_TCP, TCP_FASTOPEN};
inline constexpr Option<bool> tcp_fast_open_connect{IPPROTO_TCP, TCP_FASTOPEN_CONNECT};
inline constexpr Option<bool> tcp_fast_open_no_cookie{IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE};
inline constexpr Option<bool> tcp_thin_linear_timeouts{IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS};
inline constexpr Option<std::chrono::microseconds> tcp_transmit_delay{IPPROTO_TCP, TCP_TX_DELAY};
inline constexpr Option<bool> tcp_bytes_left{IPPROTO_TCP, TCP_INQ};
inline constexpr ReadableOption<tcp_info> tcp_information{IPPROTO_TCP, TCP_INFO};

// UDP: udp(7)
inline constexpr Option<bool> udp_cork{IPPROTO_UDP, UDP_CORK};
inline constexpr Option<int> udp_segment_bytes{IPPROTO_UDP, UDP_SEGMENT};
/// Many messages of one size may arrive as one: Ancillary::segment_bytes.
inline constexpr Option<bool> udp_receive_offload{IPPROTO_UDP, UDP_GRO};
inline constexpr Option<bool> udp_no_checksum{SOL_SOCKET, SO_NO_CHECK};

// Raw sockets: raw(7), ip(7), ipv6(7)
/// A bit for each type of ICMP message that shall not come.
inline constexpr Option<std::uint32_t> icmp_filter{IPPROTO_RAW, 1};  // ICMP_FILTER
/// Whether fragments that one sends stay fragments when the firewall tracks connections.
inline constexpr Option<bool> ip_no_defragment{IPPROTO_IP, IP_NODEFRAG};
/// Take packets with a router alert that are on their way through this machine; they go no further.
inline constexpr WritableOption<bool> ip_router_alert{IPPROTO_IP, IP_ROUTER_ALERT};
/// The same for those with this value in it; -1: no more.
inline constexpr WritableOption<int> ipv6_router_alert{IPPROTO_IPV6, IPV6_ROUTER_ALERT};

}  // namespace option
}  // namespace parley::os
