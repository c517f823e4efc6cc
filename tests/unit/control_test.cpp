#include "os/control.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <ctime>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "support/descriptors.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::bytes_of;
using parley::test::open_descriptors;

namespace {

/// A control message as the kernel lays it out, or with a length that lies.
auto raw_message(int level, int type, std::span<const std::byte> data, long length_is_off_by = 0)
    -> std::vector<std::byte> {
  std::vector<std::byte> bytes(CMSG_SPACE(data.size()));
  cmsghdr header{};
  header.cmsg_len =
      static_cast<std::size_t>(static_cast<long>(CMSG_LEN(data.size())) + length_is_off_by);
  header.cmsg_level = level;
  header.cmsg_type = type;
  std::memcpy(bytes.data(), &header, sizeof(header));
  if (!data.empty()) std::memcpy(&bytes.at(CMSG_LEN(0)), data.data(), data.size());
  return bytes;
}

template <class Value>
auto bytes_of_value(const Value& value) -> std::span<const std::byte> {
  return std::as_bytes(std::span(&value, 1));
}

/// SCM_RIGHTS with `count` descriptors that are really open, as a receive would find them.
auto rights(std::size_t count) -> std::vector<std::byte> {
  std::vector<int> numbers(count);
  for (int& number : numbers) number = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return raw_message(SOL_SOCKET, SCM_RIGHTS, std::as_bytes(std::span(numbers)));
}

auto joined(std::vector<std::byte> one, const std::vector<std::byte>& other)
    -> std::vector<std::byte> {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

}  // namespace

TEST_CASE("what is built is what is parsed, and descriptors have one owner") {
  const auto before = open_descriptors();
  {
    const std::vector<std::byte> buffer =
        joined(rights(3), raw_message(SOL_SOCKET, SCM_CREDENTIALS,
                                      bytes_of_value(ucred{.pid = 5, .uid = 6, .gid = 7})));
    const auto parsed = parse_control(buffer).value();
    CHECK(parsed.descriptors.size() == 3);
    CHECK(parsed.credentials == Credentials{.pid = 5, .uid = 6, .gid = 7});
    CHECK(open_descriptors() == before + 3);
  }
  CHECK(open_descriptors() == before);
  const Credentials who{.pid = 1, .uid = 2, .gid = 3};
  CHECK(parse_control(build_control({.credentials = who}, {}, Family::local)).value().credentials ==
        who);
  CHECK(build_control({}, {}, Family::local).empty());
  CHECK(parse_control({}).value().descriptors.empty());
}

TEST_CASE("a length that does not fit the buffer is corrupt and closes what came before it") {
  const auto before = open_descriptors();
  const auto bad_length = [](long off_by) {
    return raw_message(SOL_SOCKET, SCM_CREDENTIALS, bytes_of("12345678"), off_by);
  };
  for (const long off_by : {1L, 8L, 1L << 40, -9L, -static_cast<long>(CMSG_LEN(8))}) {
    CAPTURE(off_by);
    CHECK(parse_control(joined(rights(2), bad_length(off_by))).error() == Error::corrupt);
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("a last message without its padding, and a tail too short for a header, are taken") {
  auto buffer = raw_message(77, 1, bytes_of("abc"));
  buffer.resize(CMSG_LEN(3));
  CHECK(parse_control(buffer).value().others.size() == 1);
  buffer = raw_message(77, 1, bytes_of("abc"));
  buffer.resize(buffer.size() + sizeof(cmsghdr) - 1);
  CHECK(parse_control(buffer).value().others.size() == 1);
}

TEST_CASE("an unknown control message and a known one of a wrong size are handed on as they are") {
  const auto unknown = parse_control(raw_message(77, 88, bytes_of("data"))).value();
  REQUIRE(unknown.others.size() == 1);
  CHECK(unknown.others.front().level == 77);
  CHECK(unknown.others.front().type == 88);
  CHECK(unknown.others.front().data.size() == 4);
  const std::array<std::pair<int, int>, 13> known{{{SOL_SOCKET, SCM_CREDENTIALS},
                                                   {SOL_SOCKET, SCM_RIGHTS},
                                                   {SOL_SOCKET, 4},  // SCM_PIDFD
                                                   {SOL_SOCKET, SCM_TIMESTAMPNS},
                                                   {SOL_SOCKET, SCM_TIMESTAMPING},
                                                   {SOL_SOCKET, SO_RXQ_OVFL},
                                                   {IPPROTO_IP, IP_PKTINFO},
                                                   {IPPROTO_IP, IP_TTL},
                                                   {IPPROTO_IP, IP_RECVERR},
                                                   {IPPROTO_IPV6, IPV6_PKTINFO},
                                                   {IPPROTO_IPV6, IPV6_HOPLIMIT},
                                                   {IPPROTO_IPV6, 11},    // IPV6_FLOWINFO
                                                   {IPPROTO_UDP, 104}}};  // UDP_GRO
  for (const auto& [level, type] : known) {
    CAPTURE(level);
    CAPTURE(type);
    const auto parsed = parse_control(raw_message(level, type, bytes_of("1234567"))).value();
    CHECK(parsed.others.size() == 1);
    CHECK(parsed.descriptors.empty());
  }
}

TEST_CASE("a pidfd that the kernel could not make is no descriptor but an unknown message") {
  const int no_pidfd = -ESRCH;
  const auto parsed = parse_control(raw_message(SOL_SOCKET, 4, bytes_of_value(no_pidfd))).value();
  CHECK_FALSE(parsed.pidfd.is_open());
  CHECK(parsed.others.size() == 1);
}

TEST_CASE("timestamps, a label, a count and a mark come as what they are") {
  const timespec time{.tv_sec = 12, .tv_nsec = 34};
  const Timestamp expected(std::chrono::seconds(12) + std::chrono::nanoseconds(34));
  CHECK(parse_control(raw_message(SOL_SOCKET, SCM_TIMESTAMPNS, bytes_of_value(time)))
            .value()
            .timestamp == expected);
  scm_timestamping times{};
  times.ts[2] = time;
  const auto parsed =
      parse_control(raw_message(SOL_SOCKET, SCM_TIMESTAMPING, bytes_of_value(times))).value();
  CHECK_FALSE(parsed.timestamp.has_value());
  CHECK(parsed.hardware_timestamp == expected);
  using namespace std::string_view_literals;
  for (const auto label : {"a_label\0"sv, "a_label"sv}) {
    CHECK(parse_control(raw_message(SOL_SOCKET, 3, bytes_of(label))).value().security_label ==
          "a_label");
  }
  const std::uint32_t count = 9;
  CHECK(parse_control(raw_message(SOL_SOCKET, SO_RXQ_OVFL, bytes_of_value(count)))
            .value()
            .dropped_count == 9);
  CHECK(parse_control(raw_message(SOL_SOCKET, SO_MARK, bytes_of_value(count))).value().mark == 9);
  const int size = 1400;
  CHECK(parse_control(raw_message(IPPROTO_UDP, 104, bytes_of_value(size))).value().segment_bytes ==
        1400);
}

TEST_CASE("headers of IP come as what they are, and a second one of a kind is not lost") {
  const auto text = [](const std::vector<std::byte>& bytes) {
    return parley::test::text_of(bytes);
  };
  const auto ipv4 = parse_control(joined(raw_message(IPPROTO_IP, IP_RECVOPTS, bytes_of("came")),
                                         raw_message(IPPROTO_IP, IP_RETOPTS, bytes_of("back"))))
                        .value();
  CHECK(text(ipv4.ip_options) == "came");
  CHECK(text(ipv4.ip_reply_options) == "back");
  const std::uint32_t flow = htonl(0x12345);
  auto control = raw_message(IPPROTO_IPV6, 11, bytes_of_value(flow));  // IPV6_FLOWINFO
  control = joined(control, raw_message(IPPROTO_IPV6, IPV6_HOPOPTS, bytes_of("hop")));
  control = joined(control, raw_message(IPPROTO_IPV6, IPV6_DSTOPTS, bytes_of("before")));
  control = joined(control, raw_message(IPPROTO_IPV6, IPV6_RTHDR, bytes_of("route")));
  control = joined(control, raw_message(IPPROTO_IPV6, IPV6_DSTOPTS, bytes_of("behind")));
  const auto ipv6 = parse_control(control).value();
  CHECK(ipv6.flow_info == 0x12345U);
  CHECK(text(ipv6.extension_headers.hop_options) == "hop");
  CHECK(text(ipv6.extension_headers.routing_header) == "route");
  CHECK(text(ipv6.extension_headers.destination_options) == "before");
  REQUIRE(ipv6.others.size() == 1);
  CHECK(text(ipv6.others.front().data) == "behind");
  CHECK(parse_control(raw_message(IPPROTO_IP, 3, bytes_of("label"))).value().security_label ==
        "label");
}
