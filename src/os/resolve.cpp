// Names to addresses and back, by the C library's resolver.
#include <netdb.h>

#include <array>
#include <memory>

#include <parley/os/address.hpp>

namespace parley::os {
namespace {

#ifdef AI_IDN
constexpr int ai_idn = AI_IDN;
constexpr int ni_idn = NI_IDN;
#endif

auto nearest_error(int code) -> Error {
  switch (code) {
    case EAI_SYSTEM:
      return last_error();
    case EAI_AGAIN:
      return Error::timed_out;
    case EAI_FAIL:
      return Error::io;
    case EAI_MEMORY:
      return Error::out_of_memory;
    case EAI_NONAME:
    case EAI_SERVICE:
#ifdef EAI_NODATA
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
#endif
      return Error::not_found;
    default:
      return Error::invalid;
  }
}

struct Entries {
  void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
};
using List = std::unique_ptr<addrinfo, Entries>;

auto flags_of(const ResolveOptions& options) -> std::expected<int, ResolveError> {
  int flags = (options.for_binding ? AI_PASSIVE : 0) | (options.numeric_host ? AI_NUMERICHOST : 0) |
              (options.numeric_service ? AI_NUMERICSERV : 0) |
              (options.v4_mapped ? AI_V4MAPPED : 0) | (options.all ? AI_ALL : 0) |
              (options.configured_families_only ? AI_ADDRCONFIG : 0);
  if (options.internationalized) {
#ifdef AI_IDN
    flags |= ai_idn;
#else
    return std::unexpected(ResolveError(EAI_BADFLAGS));
#endif
  }
  return flags;
}

auto look_up(const std::string& host, const std::string& service, const ResolveOptions& options,
             int more_flags) -> std::expected<List, ResolveError> {
  // The C library would look up what stands before a zero byte.
  if (host.contains('\0') || service.contains('\0')) {
    return std::unexpected(ResolveError(EAI_NONAME));
  }
  addrinfo hints{};
  hints.ai_family = static_cast<int>(options.family);
  hints.ai_socktype = static_cast<int>(options.type);
  hints.ai_flags = PARLEY_TRY(flags_of(options)) | more_flags;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                               service.empty() ? nullptr : service.c_str(), &hints, &found);
  if (code != 0) return std::unexpected(ResolveError(code));
  return List(found);
}

auto flags_of(const HostNameOptions& options) -> std::expected<int, ResolveError> {
  int flags = (options.numeric_host ? NI_NUMERICHOST : 0) |
              (options.numeric_service ? NI_NUMERICSERV : 0) |
              (options.name_required ? NI_NAMEREQD : 0) | (options.without_domain ? NI_NOFQDN : 0) |
              (options.datagram ? NI_DGRAM : 0);
  if (options.internationalized) {
#ifdef AI_IDN
    flags |= ni_idn;
#else
    return std::unexpected(ResolveError(EAI_BADFLAGS));
#endif
  }
  return flags;
}

}  // namespace

ResolveError::ResolveError(int code) noexcept : code_(code), error_(nearest_error(code)) {}

auto ResolveError::text() const -> std::string {
  return code_ == EAI_SYSTEM ? message(error_) : gai_strerror(code_);
}

auto resolve(const std::string& host, const std::string& service, ResolveOptions options)
    -> std::expected<std::vector<Address>, ResolveError> {
  const List found = PARLEY_TRY(look_up(host, service, options, 0));
  std::vector<Address> addresses;
  for (const addrinfo* entry = found.get(); entry != nullptr; entry = entry->ai_next) {
    if (const auto address = Address::from_sockaddr(entry->ai_addr, entry->ai_addrlen)) {
      addresses.push_back(*address);
    }
  }
  return addresses;
}

auto canonical_name(const std::string& host, ResolveOptions options)
    -> std::expected<std::string, ResolveError> {
  const List found = PARLEY_TRY(look_up(host, "", options, AI_CANONNAME));
  return found->ai_canonname == nullptr ? host : std::string(found->ai_canonname);
}

auto host_name(const Address& address, HostNameOptions options)
    -> std::expected<HostName, ResolveError> {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> service{};
  const int code = getnameinfo(address.data(), address.size_bytes(), host.data(), host.size(),
                               service.data(), service.size(), PARLEY_TRY(flags_of(options)));
  if (code != 0) return std::unexpected(ResolveError(code));
  return HostName{.host = host.data(), .service = service.data()};
}

}  // namespace parley::os
