#include <parley/os/address.hpp>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "os/sys.hpp"

namespace parley::os {
namespace {

constexpr std::size_t name_offset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t longest_name_bytes = sizeof(sockaddr_un::sun_path) - 1;

/// A sockaddr of some family as the bytes of a general one, and back.
template <class Specific>
auto as(const sockaddr_storage& storage) noexcept -> Specific {
  Specific specific{};
  std::memcpy(&specific, &storage, sizeof(specific));
  return specific;
}

template <class Specific>
auto from(const Specific& specific) -> Address {
  const auto* general = reinterpret_cast<const sockaddr*>(&specific);
  return *Address::from_sockaddr(general, sizeof(specific));
}

auto from_local_name(std::string_view name, std::size_t offset, std::size_t size_bytes) -> Address {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(name, std::next(std::begin(address.sun_path), static_cast<long>(offset)));
  const auto* general = reinterpret_cast<const sockaddr*>(&address);
  return *Address::from_sockaddr(general, static_cast<socklen_t>(name_offset + size_bytes));
}

auto shortest_bytes(sa_family_t family) noexcept -> std::optional<std::size_t> {
  switch (family) {
    case AF_UNSPEC:
    case AF_UNIX:
      return sizeof(sa_family_t);
    case AF_INET:
      return sizeof(sockaddr_in);
    case AF_INET6:
      return sizeof(sockaddr_in6);
    default:
      return std::nullopt;
  }
}

auto numeric_text(int family, const void* bytes) -> std::string {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  return inet_ntop(family, bytes, buffer.data(), buffer.size());
}

auto printable(std::string_view name) -> std::string {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char character : name) {
    if (character >= ' ' && character <= '~') {
      text += character;
    } else {
      const auto value = static_cast<unsigned char>(character);
      text += {'\\', 'x', digits[value >> 4U], digits[value & 0xfU]};
    }
  }
  return text;
}

// The C library's two calls report failure as 0 and as a null pointer.
auto index_of(const char* name) -> int {
  const unsigned index = if_nametoindex(name);
  return index == 0 ? -1 : static_cast<int>(index);
}

}  // namespace

auto Address::local(std::string_view path) -> Result<Address> {
  if (path.empty() || path.contains('\0')) return failure(Error::invalid);
  if (path.size() > longest_name_bytes) return failure(Error::name_too_long);
  return from_local_name(path, 0, path.size() + 1);
}

auto Address::abstract(std::string_view name) -> Result<Address> {
  if (name.size() > longest_name_bytes) return failure(Error::name_too_long);
  return from_local_name(name, 1, name.size() + 1);
}

auto Address::unnamed() noexcept -> Address {
  return from_local_name({}, 0, 0);
}

auto Address::ipv4(Ipv4Bytes bytes, std::uint16_t port) noexcept -> Address {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr = std::bit_cast<in_addr>(bytes);
  return from(address);
}

auto Address::ipv6(Ipv6Bytes bytes, std::uint16_t port, Ipv6Options options) noexcept -> Address {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = std::bit_cast<in6_addr>(bytes);
  address.sin6_scope_id = options.scope_id;
  address.sin6_flowinfo = htonl(options.flow_info);
  return from(address);
}

auto Address::any_ipv4(std::uint16_t port) noexcept -> Address {
  return ipv4({}, port);
}

auto Address::any_ipv6(std::uint16_t port) noexcept -> Address {
  return ipv6({}, port);
}

auto Address::loopback_ipv4(std::uint16_t port) noexcept -> Address {
  return ipv4({127, 0, 0, 1}, port);
}

auto Address::loopback_ipv6(std::uint16_t port) noexcept -> Address {
  Ipv6Bytes bytes{};
  bytes.back() = 1;
  return ipv6(bytes, port);
}

auto Address::from_sockaddr(const sockaddr* address, socklen_t size_bytes) -> Result<Address> {
  Address result;
  if (size_bytes == 0) return result;
  if (size_bytes < sizeof(sa_family_t) || size_bytes > sizeof(sockaddr_storage)) {
    return failure(Error::invalid);
  }
  std::memcpy(&result.storage_, address, size_bytes);
  const auto shortest = shortest_bytes(result.storage_.ss_family);
  if (!shortest) return failure(static_cast<Error>(EAFNOSUPPORT));
  if (size_bytes < *shortest) return failure(Error::invalid);
  result.size_bytes_ = size_bytes;
  return result;
}

auto Address::local_name() const noexcept -> std::string_view {
  if (family() != Family::local || size_bytes_ <= name_offset) return {};
  const auto* start = reinterpret_cast<const char*>(&storage_) + name_offset;
  return {start, size_bytes_ - name_offset};
}

auto Address::path() const noexcept -> std::optional<std::string_view> {
  const std::string_view name = local_name();
  if (name.empty() || name.front() == '\0') return std::nullopt;
  return name.substr(0, name.find('\0'));
}

auto Address::abstract_name() const noexcept -> std::optional<std::string_view> {
  const std::string_view name = local_name();
  if (name.empty() || name.front() != '\0') return std::nullopt;
  return name.substr(1);
}

auto Address::is_unnamed() const noexcept -> bool {
  return family() == Family::local && local_name().empty();
}

auto Address::ipv4_bytes() const noexcept -> std::optional<Ipv4Bytes> {
  if (family() != Family::ipv4) return std::nullopt;
  return std::bit_cast<Ipv4Bytes>(as<sockaddr_in>(storage_).sin_addr);
}

auto Address::ipv6_bytes() const noexcept -> std::optional<Ipv6Bytes> {
  if (family() != Family::ipv6) return std::nullopt;
  return std::bit_cast<Ipv6Bytes>(as<sockaddr_in6>(storage_).sin6_addr);
}

auto Address::ipv6_options() const noexcept -> std::optional<Ipv6Options> {
  if (family() != Family::ipv6) return std::nullopt;
  const auto address = as<sockaddr_in6>(storage_);
  return Ipv6Options{.scope_id = address.sin6_scope_id, .flow_info = ntohl(address.sin6_flowinfo)};
}

auto Address::port() const noexcept -> std::optional<std::uint16_t> {
  if (family() == Family::ipv4) return ntohs(as<sockaddr_in>(storage_).sin_port);
  if (family() == Family::ipv6) return ntohs(as<sockaddr_in6>(storage_).sin6_port);
  return std::nullopt;
}

auto Address::text() const -> std::string {
  if (const auto name = path()) return std::string(*name);
  if (const auto name = abstract_name()) return "@" + printable(*name);
  if (is_unnamed()) return "(unnamed)";
  if (const auto bytes = ipv4_bytes()) {
    return numeric_text(AF_INET, bytes->data()) + ":" + std::to_string(*port());
  }
  if (const auto bytes = ipv6_bytes()) {
    const std::uint32_t scope = ipv6_options()->scope_id;
    return "[" + numeric_text(AF_INET6, bytes->data()) +
           (scope == 0 ? "" : "%" + std::to_string(scope)) + "]:" + std::to_string(*port());
  }
  return "(none)";
}

auto Address::operator==(const Address& other) const noexcept -> bool {
  if (family() != other.family()) return false;
  if (family() == Family::local) {
    return path() == other.path() && abstract_name() == other.abstract_name();
  }
  return port() == other.port() && ipv4_bytes() == other.ipv4_bytes() &&
         ipv6_bytes() == other.ipv6_bytes() &&
         ipv6_options().value_or(Ipv6Options{}).scope_id ==
             other.ipv6_options().value_or(Ipv6Options{}).scope_id;
}

auto interface_index(const std::string& name) -> Result<unsigned> {
  return static_cast<unsigned>(PARLEY_TRY(sys::call<index_of>(name.c_str())));
}

auto interface_name(unsigned index) -> Result<std::string> {
  std::array<char, IF_NAMESIZE> name{};
  return PARLEY_TRY(sys::call<::if_indextoname>(index, name.data()));
}

}  // namespace parley::os
