// Ancillary data: what travels over a socket beside the bytes. Descriptors, credentials, a pidfd,
// a security label, timestamps, and where a packet came in.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <parley/os/address.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::os {

/// How many descriptors one message of the kernel's can carry: SCM_MAX_FD. Sending splits above it.
inline constexpr std::size_t descriptors_per_message = 253;

/// Who a process is: SCM_CREDENTIALS, SO_PEERCRED. unix(7)
struct Credentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;

  auto operator==(const Credentials&) const noexcept -> bool = default;
};

/// CLOCK_REALTIME for the kernel's own timestamps; whatever its clock shows for a network card's.
using Timestamp = std::chrono::sys_time<std::chrono::nanoseconds>;

/// Where a packet came in, or where it shall go out. IP_PKTINFO, IPV6_PKTINFO; ip(7), ipv6(7)
struct PacketInfo {
  unsigned interface_index = 0;  ///< Sending: 0 lets the routing table choose.
  Address local = {};            ///< Ours. Sending: the source address; its port does not count.
  Address destination = {};      ///< Receiving: that of the packet, perhaps a broadcast's.
};

/// A failure that the network reported, or a notice of something sent, from the error queue.
/// IP_RECVERR and struct sock_extended_err in ip(7).
struct ExtendedError {
  Error error = {};         ///< ee_errno. ENOMSG for a timestamp of something sent.
  std::uint8_t origin = 0;  ///< SO_EE_ORIGIN_…: local, ICMP, ICMPv6, timestamping, zero copy.
  std::uint8_t type = 0;    ///< The ICMP type.
  std::uint8_t code = 0;    ///< The ICMP code; for zero copy, whether it was copied after all.
  std::uint32_t info = 0;   ///< The path's MTU for EMSGSIZE; for zero copy, the first send.
  std::uint32_t data = 0;   ///< For a timestamp, which send; for zero copy, the last send.
  Address offender;         ///< Who reported it, where the network did.
};

/// What stands between an IPv6 packet's header and its data, each part as on the wire (RFC 8200),
/// or empty. ipv6(7)
struct ExtensionHeaders {
  std::vector<std::byte> hop_options = {};          ///< IPV6_HOPOPTS. Sending is privileged.
  std::vector<std::byte> routing_header = {};       ///< IPV6_RTHDR
  std::vector<std::byte> destination_options = {};  ///< IPV6_DSTOPTS. Sending is privileged.
};

/// A control message that has no type here, as the kernel gave it or shall get it. cmsg(3)
struct ControlMessage {
  int level = 0;
  int type = 0;
  std::vector<std::byte> data = {};
};

/// What a message brought beside its bytes. Each part comes only where the option named with it is
/// set (socket_options.hpp), but for the descriptors, which come when they were sent.
struct Ancillary {
  /// SCM_RIGHTS, in the order in which they were sent. New numbers, close-on-exec, for the sender's
  /// own open descriptions: offset and status flags are shared with it.
  std::vector<OwnedFd> descriptors;

  std::optional<Credentials> credentials;  ///< `pass_credentials`; the kernel vouches for them.
  OwnedFd pidfd;                           ///< `pass_pidfd`: the sender; else not open.
  /// `pass_security`, `ip_pass_security`, where the kernel has labels.
  std::optional<std::string> security_label;

  std::optional<Timestamp> timestamp;           ///< `timestamp_ns`, or software `timestamping`.
  std::optional<Timestamp> hardware_timestamp;  ///< `timestamping`, by the network card.

  std::optional<PacketInfo> packet_info;        ///< `ip_packet_info`, `ipv6_packet_info`
  std::optional<int> hop_limit;                 ///< `ip_receive_ttl`, `ipv6_receive_hop_limit`
  std::optional<int> traffic_class;             ///< `ip_receive_tos`, `ipv6_receive_traffic_class`
  std::optional<Address> original_destination;  ///< `ip_receive_original_destination`, `ipv6_…`
  std::vector<std::byte> ip_options;            ///< `ip_receive_options`: as they came.
  std::vector<std::byte> ip_reply_options;      ///< `ip_receive_reply_options`: for the answer.
  /// `ipv6_receive_hop_options`, `…_routing_header`, `…_destination_options`. Of two of one kind
  /// the second is among the others; of more than a kilobyte altogether the receive fails.
  ExtensionHeaders extension_headers;
  std::optional<std::uint32_t> flow_info;       ///< `ipv6_receive_flow_info`: as in Ipv6Options.
  std::optional<int> segment_bytes;             ///< `udp_receive_offload`: messages of this size.
  std::optional<std::uint32_t> dropped_count;   ///< `receive_queue_overflow`: lost so far.
  std::optional<std::uint32_t> mark;            ///< `receive_mark`
  std::optional<int> bytes_left;                ///< `tcp_bytes_left`: not yet received.
  std::optional<ExtendedError> extended_error;  ///< Of a receive from the error queue.

  /// Everything else, among it what carries one of these types with an unexpected size.
  std::vector<ControlMessage> others;
};

/// What to send beside the bytes.
struct Attachments {
  /// Any number; they stay the caller's. Over a local socket only.
  std::span<const BorrowedFd> descriptors = {};

  /// One's own pid, and a uid and a gid each of which is the real, effective or saved one; anything
  /// else needs privilege: `not_permitted` (and ESRCH for a pid that does not exist). Receivers
  /// with `pass_credentials` get the sender's own where none are given. Over a local socket only.
  std::optional<Credentials> credentials = {};

  std::optional<PacketInfo> packet_info = {};  ///< Source address and interface of this packet.
  std::optional<int> hop_limit = {};           ///< 1 to 255 (IPv6: 0 to 255).
  std::optional<int> traffic_class = {};       ///< 0 to 255.
  std::optional<std::uint16_t> segment_bytes =
      {};  ///< UDP_SEGMENT: cut into messages of this size.

  std::span<const std::byte> ip_options = {};           ///< IPv4, instead of the socket's own.
  const ExtensionHeaders* extension_headers = nullptr;  ///< IPv6, instead of the socket's own.
  std::optional<std::uint32_t> flow_info = {};          ///< IPv6: as in Ipv6Options.

  std::span<const ControlMessage> others = {};  ///< Passed on as they are.
};

}  // namespace parley::os
