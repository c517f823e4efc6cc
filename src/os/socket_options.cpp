#include <parley/os/socket_options.hpp>

#include <linux/filter.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include <parley/os/socket.hpp>

#include "os/sys.hpp"

namespace parley::os {
namespace {

/// How a value looks to the kernel: as itself, unless one of those below says otherwise.
template <class T>
struct Codec {
  using Raw = T;
  static auto encode(const T& value) -> Result<Raw> { return value; }
  static auto decode(const Raw& raw) -> T { return raw; }
};

template <>
struct Codec<bool> {
  using Raw = int;
  static auto encode(bool value) -> Result<Raw> { return value ? 1 : 0; }
  static auto decode(Raw raw) -> bool { return raw != 0; }
};

template <class Period>
struct Codec<std::chrono::duration<std::int64_t, Period>> {
  using Raw = int;
  using Duration = std::chrono::duration<std::int64_t, Period>;
  static auto encode(Duration value) -> Result<Raw> {
    if (value.count() < INT_MIN || value.count() > INT_MAX) return failure(Error::invalid);
    return static_cast<int>(value.count());
  }
  static auto decode(Raw raw) -> Duration { return Duration(raw); }
};

template <>
struct Codec<Linger> {
  using Raw = ::linger;
  static auto encode(const Linger& value) -> Result<Raw> {
    if (!value) return Raw{};
    return Raw{.l_onoff = 1, .l_linger = PARLEY_TRY(Codec<std::chrono::seconds>::encode(*value))};
  }
  static auto decode(const Raw& raw) -> Linger {
    if (raw.l_onoff == 0) return std::nullopt;
    return std::chrono::seconds(raw.l_linger);
  }
};

template <>
struct Codec<PortRange> {
  using Raw = std::uint32_t;
  static auto encode(PortRange value) -> Result<Raw> {
    return static_cast<Raw>(value.highest) << 16U | value.lowest;
  }
  static auto decode(Raw raw) -> PortRange {
    return {.lowest = static_cast<std::uint16_t>(raw & 0xffffU),
            .highest = static_cast<std::uint16_t>(raw >> 16U)};
  }
};

template <>
struct Codec<MulticastInterface> {
  using Raw = ip_mreqn;
  static auto encode(const MulticastInterface& value) -> Result<Raw> {
    Raw raw{};
    raw.imr_ifindex = static_cast<int>(value.index);
    return raw;
  }
};

auto to_storage(const Address& address) -> sockaddr_storage {
  sockaddr_storage storage{};
  std::memcpy(&storage, address.data(), address.size_bytes());
  return storage;
}

template <>
struct Codec<GroupMembership> {
  using Raw = group_req;
  static auto encode(const GroupMembership& value) -> Result<Raw> {
    Raw raw{};
    raw.gr_interface = value.interface_index;
    raw.gr_group = to_storage(value.group);
    return raw;
  }
};

template <>
struct Codec<SourceMembership> {
  using Raw = group_source_req;
  static auto encode(const SourceMembership& value) -> Result<Raw> {
    Raw raw{};
    raw.gsr_interface = value.interface_index;
    raw.gsr_group = to_storage(value.group);
    raw.gsr_source = to_storage(value.source);
    return raw;
  }
};

template <>
struct Codec<SourceFilter> {
  using Raw = std::vector<std::byte>;
  static auto encode(const SourceFilter& value) -> Result<Raw> {
    group_filter head{};
    head.gf_interface = value.interface_index;
    head.gf_group = to_storage(value.group);
    head.gf_fmode = value.excludes ? MCAST_EXCLUDE : MCAST_INCLUDE;
    head.gf_numsrc = static_cast<std::uint32_t>(value.sources.size());
    constexpr std::size_t head_bytes = offsetof(group_filter, gf_slist);
    Raw raw(head_bytes + value.sources.size() * sizeof(sockaddr_storage));
    std::memcpy(raw.data(), &head, head_bytes);
    std::size_t at = head_bytes;
    for (const Address& source : value.sources) {
      const sockaddr_storage storage = to_storage(source);
      std::memcpy(&raw.at(at), &storage, sizeof(storage));
      at += sizeof(storage);
    }
    return raw;
  }
};

template <>
struct Codec<std::span<const sock_filter>> {
  using Raw = sock_fprog;
  static auto encode(std::span<const sock_filter> value) -> Result<Raw> {
    if (value.size() > BPF_MAXINSNS) return failure(Error::invalid);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): the kernel only reads it.
    auto* const instructions = const_cast<sock_filter*>(value.data());
    return Raw{.len = static_cast<unsigned short>(value.size()), .filter = instructions};
  }
};

template <>
struct Codec<BorrowedFd> {
  using Raw = int;
  static auto encode(BorrowedFd value) -> Result<Raw> { return value.number(); }
};

template <>
struct Codec<NoValue> {
  using Raw = int;
  static auto encode(NoValue /*nothing*/) -> Result<Raw> { return 0; }
};

auto get_raw(BorrowedFd fd, int level, int name, void* into, socklen_t size_bytes)
    -> Result<socklen_t> {
  PARLEY_TRY(sys::call<::getsockopt>(fd.number(), level, name, into, &size_bytes));
  return size_bytes;
}

auto set_raw(BorrowedFd fd, int level, int name, const void* value, std::size_t size_bytes)
    -> Result<void> {
  PARLEY_TRY(
      sys::call<::setsockopt>(fd.number(), level, name, value, static_cast<socklen_t>(size_bytes)));
  return {};
}

auto get_text(BorrowedFd fd, int level, int name) -> Result<std::string> {
  std::array<char, 256> text{};
  const auto size = PARLEY_TRY(get_raw(fd, level, name, text.data(), text.size()));
  return std::string(text.begin(), std::find(text.begin(), text.begin() + size, '\0'));
}

auto get_bytes(BorrowedFd fd, int level, int name) -> Result<std::vector<std::byte>> {
  constexpr std::size_t longest_extension_header_bytes = 2048;
  std::vector<std::byte> bytes(longest_extension_header_bytes);
  const auto capacity_bytes = static_cast<socklen_t>(bytes.size());
  bytes.resize(PARLEY_TRY(get_raw(fd, level, name, bytes.data(), capacity_bytes)));
  return bytes;
}

/// This one option counts its length in instructions, both ways.
auto get_filter(BorrowedFd fd, int level, int name) -> Result<std::vector<sock_filter>> {
  std::vector<sock_filter> program(BPF_MAXINSNS);
  program.resize(PARLEY_TRY(get_raw(fd, level, name, program.data(), socklen_t{BPF_MAXINSNS})));
  return program;
}

}  // namespace

template <class T>
auto SocketBase::get(const ReadableOption<T>& option) const -> Result<T> {
  if constexpr (std::is_same_v<T, std::string>) {
    return get_text(fd_, option.level, option.name);
  } else if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
    return get_bytes(fd_, option.level, option.name);
  } else if constexpr (std::is_same_v<T, std::vector<sock_filter>>) {
    return get_filter(fd_, option.level, option.name);
  } else {
    typename Codec<T>::Raw raw{};
    PARLEY_TRY(get_raw(fd_, option.level, option.name, &raw, sizeof(raw)));
    return Codec<T>::decode(raw);
  }
}

template <class T>
auto SocketBase::set(const WritableOption<T>& option, const std::type_identity_t<T>& value)
    -> Result<void> {
  // What tells an empty message from the end may not be switched off.
  if (type_ == SocketType::seqpacket && option.level == SOL_SOCKET &&
      (option.name == SO_TIMESTAMPNS || option.name == SO_TIMESTAMP)) {
    return failure(Error::invalid);
  }
  if constexpr (std::is_same_v<T, std::string>) {
    return set_raw(fd_, option.level, option.name, value.data(), value.size());
  } else {
    const auto raw = PARLEY_TRY(Codec<T>::encode(value));
    if constexpr (std::is_same_v<typename Codec<T>::Raw, std::vector<std::byte>>) {
      return set_raw(fd_, option.level, option.name, raw.data(), raw.size());
    } else {
      return set_raw(fd_, option.level, option.name, &raw, sizeof(raw));
    }
  }
}

// The types that options have.
#define PARLEY_READABLE(T) \
  template auto SocketBase::get<T>(const ReadableOption<T>&) const -> Result<T>
#define PARLEY_WRITABLE(T)                                                                   \
  template auto SocketBase::set<T>(const WritableOption<T>&, const std::type_identity_t<T>&) \
      -> Result<void>

PARLEY_READABLE(bool);
PARLEY_READABLE(int);
PARLEY_READABLE(std::uint32_t);
PARLEY_READABLE(std::uint64_t);
PARLEY_READABLE(std::chrono::seconds);
PARLEY_READABLE(std::chrono::milliseconds);
PARLEY_READABLE(std::chrono::microseconds);
PARLEY_READABLE(std::string);
PARLEY_READABLE(Linger);
PARLEY_READABLE(PortRange);
PARLEY_READABLE(SocketMemory);
PARLEY_READABLE(std::vector<std::byte>);
PARLEY_READABLE(std::vector<sock_filter>);
PARLEY_READABLE(tcp_info);
PARLEY_WRITABLE(bool);
PARLEY_WRITABLE(int);
PARLEY_WRITABLE(std::uint32_t);
PARLEY_WRITABLE(std::uint64_t);
PARLEY_WRITABLE(std::chrono::seconds);
PARLEY_WRITABLE(std::chrono::milliseconds);
PARLEY_WRITABLE(std::chrono::microseconds);
PARLEY_WRITABLE(std::string);
PARLEY_WRITABLE(Linger);
PARLEY_WRITABLE(PortRange);
PARLEY_WRITABLE(MulticastInterface);
PARLEY_WRITABLE(GroupMembership);
PARLEY_WRITABLE(SourceMembership);
PARLEY_WRITABLE(SourceFilter);
PARLEY_WRITABLE(std::vector<std::byte>);
PARLEY_WRITABLE(std::span<const sock_filter>);
PARLEY_WRITABLE(BorrowedFd);
PARLEY_WRITABLE(NoValue);

#undef PARLEY_READABLE
#undef PARLEY_WRITABLE

}  // namespace parley::os
