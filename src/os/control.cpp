#include "os/control.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <ctime>

// Of Linux 6.5; older headers lack it.
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#ifndef SCM_SECURITY
#define SCM_SECURITY 0x03
#endif

// Of <linux/in6.h>, which does not go together with <netinet/in.h>.
#ifndef IPV6_FLOWINFO
#define IPV6_FLOWINFO 11
#endif

namespace parley::os {
namespace {

/// The buffer that is being built, one control message after the other.
class ControlBuilder {
 public:
  void add(int level, int type, std::span<const std::byte> data) {
    const std::size_t start = bytes_.size();
    bytes_.resize(start + CMSG_SPACE(data.size()));
    cmsghdr header{};
    // Its type differs between C libraries.
    header.cmsg_len = static_cast<decltype(header.cmsg_len)>(CMSG_LEN(data.size()));
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memcpy(&bytes_.at(start), &header, sizeof(header));
    if (!data.empty()) std::memcpy(&bytes_.at(start + CMSG_LEN(0)), data.data(), data.size());
  }

  template <class Value>
  void add_value(int level, int type, const Value& value) {
    add(level, type, std::as_bytes(std::span(&value, 1)));
  }

  /// What is empty is not there.
  void add_part(int level, int type, std::span<const std::byte> data) {
    if (!data.empty()) add(level, type, data);
  }

  auto take() && -> std::vector<std::byte> { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

void add_packet_info(ControlBuilder& builder, const PacketInfo& info, Family family) {
  if (family == Family::ipv6) {
    in6_pktinfo raw{};
    raw.ipi6_ifindex = info.interface_index;
    raw.ipi6_addr = std::bit_cast<in6_addr>(info.local.ipv6_bytes().value_or(Ipv6Bytes{}));
    builder.add_value(IPPROTO_IPV6, IPV6_PKTINFO, raw);
  } else {
    in_pktinfo raw{};
    raw.ipi_ifindex = static_cast<int>(info.interface_index);
    raw.ipi_spec_dst = std::bit_cast<in_addr>(info.local.ipv4_bytes().value_or(Ipv4Bytes{}));
    builder.add_value(IPPROTO_IP, IP_PKTINFO, raw);
  }
}

/// The data of one control message as a value of exactly that size, else nothing.
template <class Value>
auto value_of(std::span<const std::byte> data) -> std::optional<Value> {
  if (data.size() != sizeof(Value)) return std::nullopt;
  Value value{};
  std::memcpy(&value, data.data(), sizeof(value));
  return value;
}

auto to_timestamp(const timespec& time) -> Timestamp {
  return Timestamp(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

/// Moves a value into its place; whether there was one.
template <class Place, class Value>
auto store(Place& place, const std::optional<Value>& value) -> bool {
  if (!value) return false;
  place = static_cast<typename Place::value_type>(*value);
  return true;
}

/// The same for bytes, unless there are some already.
auto store_first(std::vector<std::byte>& place, std::span<const std::byte> data) -> bool {
  if (!place.empty()) return false;
  place.assign(data.begin(), data.end());
  return true;
}

auto take_descriptors(std::span<const std::byte> data, std::vector<OwnedFd>& into) -> bool {
  if (data.size() % sizeof(int) != 0) return false;
  for (; !data.empty(); data = data.subspan(sizeof(int))) {
    into.push_back(OwnedFd::from_number(*value_of<int>(data.first(sizeof(int)))));
  }
  return true;
}

auto take_label(std::span<const std::byte> data, Ancillary& into) -> bool {
  std::string label(reinterpret_cast<const char*>(data.data()), data.size());
  while (label.ends_with('\0')) label.pop_back();  // some modules count the end, others do not
  into.security_label = std::move(label);
  return true;
}

auto take_timestamps(std::span<const std::byte> data, Ancillary& into) -> bool {
  const auto times = value_of<scm_timestamping>(data);
  if (!times) return false;
  const auto is_set = [](const timespec& time) { return time.tv_sec != 0 || time.tv_nsec != 0; };
  if (is_set(times->ts[0])) into.timestamp = to_timestamp(times->ts[0]);
  if (is_set(times->ts[2])) into.hardware_timestamp = to_timestamp(times->ts[2]);
  return true;
}

auto take_socket_level(int type, std::span<const std::byte> data, Ancillary& into) -> bool {
  switch (type) {
    case SCM_RIGHTS:
      return take_descriptors(data, into.descriptors);
    case SCM_PIDFD:
      // Instead of a descriptor it may be minus the errno of why there is none.
      if (const auto number = value_of<int>(data); number.value_or(-1) >= 0) {
        into.pidfd = OwnedFd::from_number(*number);
        return true;
      }
      return false;
    case SCM_CREDENTIALS:
      if (const auto raw = value_of<ucred>(data)) {
        into.credentials = {.pid = raw->pid, .uid = raw->uid, .gid = raw->gid};
        return true;
      }
      return false;
    case SCM_SECURITY:
      return take_label(data, into);
    case SCM_TIMESTAMPNS:
      if (const auto time = value_of<timespec>(data)) {
        into.timestamp = to_timestamp(*time);
        return true;
      }
      return false;
    case SCM_TIMESTAMPING:
      return take_timestamps(data, into);
    case SO_RXQ_OVFL:
      return store(into.dropped_count, value_of<std::uint32_t>(data));
    case SO_MARK:
      return store(into.mark, value_of<std::uint32_t>(data));
    default:
      return false;
  }
}

/// An extended error is followed by the address of who reported it.
template <class Offender>
auto take_extended_error(std::span<const std::byte> data, Ancillary& into) -> bool {
  struct Raw {
    sock_extended_err error;
    Offender offender;
  };
  const auto raw = value_of<Raw>(data);
  if (!raw) return false;
  into.extended_error = {.error = static_cast<Error>(raw->error.ee_errno),
                         .origin = raw->error.ee_origin,
                         .type = raw->error.ee_type,
                         .code = raw->error.ee_code,
                         .info = raw->error.ee_info,
                         .data = raw->error.ee_data,
                         .offender = {}};
  const auto* address = reinterpret_cast<const sockaddr*>(&raw->offender);
  const auto offender = Address::from_sockaddr(address, sizeof(raw->offender));
  if (offender && offender->family() != Family::unspecified) {
    into.extended_error->offender = *offender;
  }
  return true;
}

template <class Raw>
auto take_destination(std::span<const std::byte> data, Ancillary& into) -> bool {
  const auto raw = value_of<Raw>(data);
  if (!raw) return false;
  const auto address =
      Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&*raw), sizeof(*raw));
  if (!address) return false;
  into.original_destination = *address;
  return true;
}

auto take_ip_level(int type, std::span<const std::byte> data, Ancillary& into) -> bool {
  switch (type) {
    case IP_PKTINFO:
      if (const auto raw = value_of<in_pktinfo>(data)) {
        into.packet_info = {
            .interface_index = static_cast<unsigned>(raw->ipi_ifindex),
            .local = Address::ipv4(std::bit_cast<Ipv4Bytes>(raw->ipi_spec_dst), 0),
            .destination = Address::ipv4(std::bit_cast<Ipv4Bytes>(raw->ipi_addr), 0)};
        return true;
      }
      return false;
    case IP_TTL:
      return store(into.hop_limit, value_of<int>(data));
    case IP_TOS:
      return store(into.traffic_class, value_of<std::uint8_t>(data));
    case IP_ORIGDSTADDR:
      return take_destination<sockaddr_in>(data, into);
    case IP_RECVERR:
      return take_extended_error<sockaddr_in>(data, into);
    case IP_RECVOPTS:
      return store_first(into.ip_options, data);
    case IP_RETOPTS:
      return store_first(into.ip_reply_options, data);
    case SCM_SECURITY:
      return take_label(data, into);
    default:
      return false;
  }
}

auto take_ipv6_level(int type, std::span<const std::byte> data, Ancillary& into) -> bool {
  switch (type) {
    case IPV6_PKTINFO:
      if (const auto raw = value_of<in6_pktinfo>(data)) {
        const Address destination = Address::ipv6(std::bit_cast<Ipv6Bytes>(raw->ipi6_addr), 0);
        into.packet_info = {
            .interface_index = raw->ipi6_ifindex, .local = destination, .destination = destination};
        return true;
      }
      return false;
    case IPV6_HOPLIMIT:
      return store(into.hop_limit, value_of<int>(data));
    case IPV6_TCLASS:
      return store(into.traffic_class, value_of<int>(data));
    case IPV6_ORIGDSTADDR:
      return take_destination<sockaddr_in6>(data, into);
    case IPV6_RECVERR:
      return take_extended_error<sockaddr_in6>(data, into);
    case IPV6_HOPOPTS:
      return store_first(into.extension_headers.hop_options, data);
    case IPV6_RTHDR:
      return store_first(into.extension_headers.routing_header, data);
    case IPV6_DSTOPTS:
      return store_first(into.extension_headers.destination_options, data);
    case IPV6_FLOWINFO:
      if (const auto raw = value_of<std::uint32_t>(data)) {
        into.flow_info = ntohl(*raw);
        return true;
      }
      return false;
    default:
      return false;
  }
}

/// Whether it was a kind that Ancillary has a place for, of the right size.
auto take_known(const cmsghdr& header, std::span<const std::byte> data, Ancillary& into) -> bool {
  switch (header.cmsg_level) {
    case SOL_SOCKET:
      return take_socket_level(header.cmsg_type, data, into);
    case IPPROTO_IP:
      return take_ip_level(header.cmsg_type, data, into);
    case IPPROTO_IPV6:
      return take_ipv6_level(header.cmsg_type, data, into);
    case IPPROTO_UDP:
      return header.cmsg_type == UDP_GRO && store(into.segment_bytes, value_of<int>(data));
    case IPPROTO_TCP:
      return header.cmsg_type == TCP_CM_INQ && store(into.bytes_left, value_of<int>(data));
    default:
      return false;
  }
}

}  // namespace

auto control_capacity_bytes(std::size_t descriptor_count) noexcept -> std::size_t {
  return CMSG_SPACE(descriptor_count * sizeof(int)) + metadata_bytes;
}

auto build_control(const Attachments& attachments, std::span<const BorrowedFd> descriptors,
                   Family family) -> std::vector<std::byte> {
  ControlBuilder builder;
  if (!descriptors.empty()) {
    std::vector<int> numbers;
    numbers.reserve(descriptors.size());
    for (const BorrowedFd fd : descriptors) numbers.push_back(fd.number());
    builder.add(SOL_SOCKET, SCM_RIGHTS, std::as_bytes(std::span(numbers)));
  }
  if (const auto& who = attachments.credentials) {
    builder.add_value(SOL_SOCKET, SCM_CREDENTIALS,
                      ucred{.pid = who->pid, .uid = who->uid, .gid = who->gid});
  }
  if (attachments.packet_info) add_packet_info(builder, *attachments.packet_info, family);
  const bool is_ipv6 = family == Family::ipv6;
  if (attachments.hop_limit) {
    builder.add_value(is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, is_ipv6 ? IPV6_HOPLIMIT : IP_TTL,
                      *attachments.hop_limit);
  }
  if (attachments.traffic_class) {
    builder.add_value(is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, is_ipv6 ? IPV6_TCLASS : IP_TOS,
                      *attachments.traffic_class);
  }
  if (attachments.segment_bytes) {
    builder.add_value(IPPROTO_UDP, UDP_SEGMENT, *attachments.segment_bytes);
  }
  builder.add_part(IPPROTO_IP, IP_RETOPTS, attachments.ip_options);
  if (const auto* headers = attachments.extension_headers) {
    builder.add_part(IPPROTO_IPV6, IPV6_HOPOPTS, headers->hop_options);
    builder.add_part(IPPROTO_IPV6, IPV6_RTHDR, headers->routing_header);
    builder.add_part(IPPROTO_IPV6, IPV6_DSTOPTS, headers->destination_options);
  }
  if (attachments.flow_info) {
    builder.add_value(IPPROTO_IPV6, IPV6_FLOWINFO, htonl(*attachments.flow_info));
  }
  for (const ControlMessage& other : attachments.others) {
    builder.add(other.level, other.type, other.data);
  }
  return std::move(builder).take();
}

auto parse_control(std::span<const std::byte> control) -> Result<Ancillary> {
  Ancillary ancillary;
  while (control.size() >= sizeof(cmsghdr)) {
    cmsghdr header{};
    std::memcpy(&header, control.data(), sizeof(header));
    if (header.cmsg_len < CMSG_LEN(0) || header.cmsg_len > control.size()) {
      return failure(Error::corrupt);
    }
    const auto data = control.subspan(CMSG_LEN(0), header.cmsg_len - CMSG_LEN(0));
    if (!take_known(header, data, ancillary)) {
      ancillary.others.push_back({.level = header.cmsg_level,
                                  .type = header.cmsg_type,
                                  .data = {data.begin(), data.end()}});
    }
    // The last one may lack its padding.
    control = control.subspan(std::min(control.size(), std::size_t{CMSG_ALIGN(header.cmsg_len)}));
  }
  return ancillary;
}

}  // namespace parley::os
