// Socket addresses: local paths and names, IPv4 and IPv6; and how names become addresses.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <parley/error.hpp>

namespace parley::os {

/// Which kind of address, and so which kind of socket. address_families(7)
enum class Family : sa_family_t {
  unspecified = AF_UNSPEC,
  local = AF_UNIX,
  ipv4 = AF_INET,
  ipv6 = AF_INET6,
};

/// What a socket carries. socket(2)
enum class SocketType : int {
  stream = SOCK_STREAM,        ///< Bytes in order, connected, without borders. TCP.
  datagram = SOCK_DGRAM,       ///< Messages; over a network they may be lost or reordered. UDP.
  seqpacket = SOCK_SEQPACKET,  ///< Messages in order, connected. Local only.
  raw = SOCK_RAW,              ///< What lies below UDP and TCP. Privileged.
};

using Ipv4Bytes = std::array<std::uint8_t, 4>;
using Ipv6Bytes = std::array<std::uint8_t, 16>;

/// The parts of an IPv6 address that mostly stay 0. ipv6(7)
struct Ipv6Options {
  std::uint32_t scope_id = 0;   ///< The interface's index, for link-local addresses.
  std::uint32_t flow_info = 0;  ///< In host byte order; the low 20 bits are the flow label.
};

/// Where a socket is. A value: copied, compared, printed.
class Address {
 public:
  /// No address: what a kernel reports for a peer that has none. Family `unspecified`.
  constexpr Address() noexcept = default;

  /// A socket in the file system. `name_too_long` over 107 bytes; `invalid` if empty or if it holds
  /// a zero byte. unix(7)
  static auto local(std::string_view path) -> Result<Address>;

  /// A name in Linux's abstract namespace, which belongs to the network namespace, knows no
  /// permissions, and is free again with the last descriptor. Any bytes; `name_too_long` over 107.
  static auto abstract(std::string_view name) -> Result<Address>;

  /// A local socket without a name. Binding to it lets the kernel choose an abstract one.
  static auto unnamed() noexcept -> Address;

  static auto ipv4(Ipv4Bytes bytes, std::uint16_t port) noexcept -> Address;
  static auto ipv6(Ipv6Bytes bytes, std::uint16_t port, Ipv6Options options = {}) noexcept
      -> Address;

  /// Every address of this machine: for binding. Port 0 lets the kernel choose.
  static auto any_ipv4(std::uint16_t port) noexcept -> Address;
  static auto any_ipv6(std::uint16_t port) noexcept -> Address;

  /// This machine itself, 127.0.0.1 and ::1.
  static auto loopback_ipv4(std::uint16_t port) noexcept -> Address;
  static auto loopback_ipv6(std::uint16_t port) noexcept -> Address;

  /// Copies what a C call filled in. `invalid` if the length is too short for its family or longer
  /// than any address, `EAFNOSUPPORT` for a family that is not one of `Family`.
  static auto from_sockaddr(const sockaddr* address, socklen_t size_bytes) -> Result<Address>;

  [[nodiscard]] auto family() const noexcept -> Family {
    return static_cast<Family>(storage_.ss_family);
  }

  /// Each is there only for an address of that kind.
  [[nodiscard]] auto path() const noexcept -> std::optional<std::string_view>;
  [[nodiscard]] auto abstract_name() const noexcept -> std::optional<std::string_view>;
  [[nodiscard]] auto is_unnamed() const noexcept -> bool;
  [[nodiscard]] auto ipv4_bytes() const noexcept -> std::optional<Ipv4Bytes>;
  [[nodiscard]] auto ipv6_bytes() const noexcept -> std::optional<Ipv6Bytes>;
  [[nodiscard]] auto ipv6_options() const noexcept -> std::optional<Ipv6Options>;
  [[nodiscard]] auto port() const noexcept -> std::optional<std::uint16_t>;

  /// "/run/it", "@name" (bytes that do not print as \xNN), "127.0.0.1:80", "[fe80::1%2]:80",
  /// "(unnamed)", "(none)". For a person: a path and an abstract name can look alike.
  [[nodiscard]] auto text() const -> std::string;

  /// For the C calls.
  [[nodiscard]] auto data() const noexcept -> const sockaddr* {
    return reinterpret_cast<const sockaddr*>(&storage_);
  }
  [[nodiscard]] auto size_bytes() const noexcept -> socklen_t { return size_bytes_; }

  /// The same place. The flow of an IPv6 address is no part of the place.
  auto operator==(const Address& other) const noexcept -> bool;

 private:
  [[nodiscard]] auto local_name() const noexcept -> std::string_view;

  sockaddr_storage storage_{};
  socklen_t size_bytes_ = sizeof(sa_family_t);
};

/// Why a name was not resolved: getaddrinfo's own code, and the errno that comes nearest.
class ResolveError {
 public:
  explicit ResolveError(int code) noexcept;

  /// An EAI_ value of <netdb.h>.
  [[nodiscard]] auto code() const noexcept -> int { return code_; }
  /// What gai_strerror(3) says of it.
  [[nodiscard]] auto text() const -> std::string;

  /// `not_found` for a name or service that does not exist, `timed_out` when no name server
  /// answered, `io` when one failed, the errno itself for EAI_SYSTEM, else `invalid` or
  /// `out_of_memory`.
  // So that PARLEY_TRY returns it as an Error.
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Error() const noexcept { return error_; }

 private:
  int code_;
  Error error_;
};

struct ResolveOptions {
  Family family = Family::unspecified;    ///< `unspecified`: both IPv4 and IPv6.
  SocketType type = SocketType::stream;   ///< Decides which services there are.
  bool for_binding = false;               ///< AI_PASSIVE: an empty host is any, not loopback.
  bool numeric_host = false;              ///< AI_NUMERICHOST: never ask a name server.
  bool numeric_service = false;           ///< AI_NUMERICSERV: the service is a number.
  bool v4_mapped = false;                 ///< AI_V4MAPPED: under ipv6, IPv4 as ::ffff:a.b.c.d.
  bool all = false;                       ///< AI_ALL: with `v4_mapped`, both kinds.
  bool configured_families_only = false;  ///< AI_ADDRCONFIG: only what an interface here has.
  bool internationalized = false;         ///< AI_IDN: encode the host's name. glibc only.
};

/// The addresses of a host and a service, best first; try each in turn. An empty host is this
/// machine, an empty service is port 0; both empty is `not_found`.
///
/// The resolver takes its time limits from resolv.conf(5) and no deadline can be put on it: a name
/// may take many seconds. A numeric host never waits. getaddrinfo(3)
auto resolve(const std::string& host, const std::string& service, ResolveOptions options = {})
    -> std::expected<std::vector<Address>, ResolveError>;

/// The name that the host goes by officially (AI_CANONNAME). Waits as `resolve` does.
auto canonical_name(const std::string& host, ResolveOptions options = {})
    -> std::expected<std::string, ResolveError>;

struct HostName {
  std::string host;
  std::string service;
};

struct HostNameOptions {
  bool numeric_host = false;       ///< NI_NUMERICHOST: never ask a name server.
  bool numeric_service = false;    ///< NI_NUMERICSERV
  bool name_required = false;      ///< NI_NAMEREQD: `not_found` rather than a number.
  bool without_domain = false;     ///< NI_NOFQDN: of local hosts only the first label.
  bool datagram = false;           ///< NI_DGRAM: the UDP service of that port.
  bool internationalized = false;  ///< NI_IDN: decode the name. glibc only.
};

/// The name of an IPv4 or IPv6 address and of its port; the numbers where they have none. Waits as
/// `resolve` does. getnameinfo(3)
auto host_name(const Address& address, HostNameOptions options = {})
    -> std::expected<HostName, ResolveError>;

/// The index by which addresses and options name a network interface: "eth0" to 2 and back.
/// ENODEV where there is none, ENXIO on the way back. if_nametoindex(3)
auto interface_index(const std::string& name) -> Result<unsigned>;
auto interface_name(unsigned index) -> Result<std::string>;

}  // namespace parley::os
