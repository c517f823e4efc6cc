#include <parley/os/address.hpp>

#include <doctest/doctest.h>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <cerrno>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace parley::os;
using parley::Error;
using parley::Result;

TEST_CASE("a local path is kept, and one that is empty, too long or holds a zero byte is refused") {
  const auto address = Address::local("/run/some.socket").value();
  CHECK(address.family() == Family::local);
  CHECK(address.path() == "/run/some.socket");
  CHECK_FALSE(address.abstract_name().has_value());
  CHECK_FALSE(address.port().has_value());
  CHECK_FALSE(address.is_unnamed());
  CHECK(address.text() == "/run/some.socket");
  CHECK(Address::local(std::string(107, 'p')).value().path() == std::string(107, 'p'));
  CHECK(Address::local(std::string(108, 'p')).error() == Error::name_too_long);
  CHECK(Address::local("").error() == Error::invalid);
  CHECK(Address::local(std::string_view("a\0b", 3)).error() == Error::invalid);
}

TEST_CASE("an abstract name is any bytes, also none, and its length is part of it") {
  const std::string_view bytes("a\0b\n", 4);
  const auto address = Address::abstract(bytes).value();
  CHECK(address.abstract_name() == bytes);
  CHECK_FALSE(address.path().has_value());
  CHECK(address.text() == "@a\\x00b\\x0a");
  CHECK(address != Address::abstract(std::string_view("a\0b\n\0", 5)).value());
  CHECK(Address::abstract("").value().abstract_name() == "");
  CHECK_FALSE(Address::abstract("").value().is_unnamed());
  CHECK(Address::abstract(std::string(107, 'n')).value().abstract_name()->size() == 107);
  CHECK(Address::abstract(std::string(108, 'n')).error() == Error::name_too_long);
}

TEST_CASE("no address, an unnamed one and an empty path are three things") {
  CHECK(Address().family() == Family::unspecified);
  CHECK(Address().text() == "(none)");
  CHECK(Address::unnamed().is_unnamed());
  CHECK(Address::unnamed().text() == "(unnamed)");
  CHECK(Address::unnamed() != Address());
  CHECK(Address::unnamed() == Address::unnamed());
}

TEST_CASE("IPv4 and IPv6 addresses tell their parts and print as one writes them") {
  const auto four = Address::ipv4({192, 0, 2, 7}, 8080);
  CHECK(four.ipv4_bytes() == Ipv4Bytes{192, 0, 2, 7});
  CHECK(four.port() == 8080);
  CHECK(four.text() == "192.0.2.7:8080");
  CHECK_FALSE(four.ipv6_bytes().has_value());

  Ipv6Bytes bytes{0xfe, 0x80};
  bytes.back() = 1;
  const auto six = Address::ipv6(bytes, 443, {.scope_id = 2, .flow_info = 0xabcde});
  CHECK(six.ipv6_bytes() == bytes);
  CHECK(six.port() == 443);
  CHECK(six.ipv6_options()->scope_id == 2);
  CHECK(six.ipv6_options()->flow_info == 0xabcde);
  CHECK(six.text() == "[fe80::1%2]:443");
  CHECK(six == Address::ipv6(bytes, 443, {.scope_id = 2}));
  CHECK(six != Address::ipv6(bytes, 443, {.scope_id = 3}));
  CHECK(six != Address::ipv6(bytes, 444, {.scope_id = 2}));
  CHECK(Address::any_ipv4(1).text() == "0.0.0.0:1");
  CHECK(Address::any_ipv6(1).text() == "[::]:1");
  CHECK(Address::loopback_ipv4(1).text() == "127.0.0.1:1");
  CHECK(Address::loopback_ipv6(1).text() == "[::1]:1");
}

TEST_CASE("a raw address is taken only with a length that fits its family") {
  const auto take = [](const auto& raw, std::size_t size) {
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw),
                                  static_cast<socklen_t>(size));
  };
  sockaddr_in four{};
  four.sin_family = AF_INET;
  CHECK(take(four, sizeof(four)).value() == Address::any_ipv4(0));
  CHECK(take(four, sizeof(four) - 1).error() == Error::invalid);
  CHECK(take(four, 1).error() == Error::invalid);
  CHECK(take(four, 0).value() == Address());
  CHECK(take(four, sizeof(sockaddr_storage) + 1).error() == Error::invalid);
  four.sin_family = AF_PACKET;
  CHECK(static_cast<int>(take(four, sizeof(four)).error()) == EAFNOSUPPORT);
  // A path that fills the whole field has no zero byte at its end.
  sockaddr_un full{};
  full.sun_family = AF_UNIX;
  std::ranges::fill(full.sun_path, 'f');
  CHECK(take(full, sizeof(full)).value().path() == std::string(sizeof(full.sun_path), 'f'));
}

TEST_CASE("numeric hosts and services resolve without asking anybody") {
  const auto four = resolve("127.0.0.1", "80", {.numeric_host = true, .numeric_service = true});
  REQUIRE(four.has_value());
  CHECK(four->size() == 1);
  CHECK(four->front() == Address::loopback_ipv4(80));
  const auto six = resolve("fe80::1%1", "7", {.type = SocketType::datagram, .numeric_host = true});
  REQUIRE(six.has_value());
  CHECK(six->front().ipv6_options()->scope_id == 1);
  CHECK(resolve("", "80", {.family = Family::ipv4, .for_binding = true}).value().front() ==
        Address::any_ipv4(80));
  CHECK(resolve("", "80", {.family = Family::ipv4}).value().front() == Address::loopback_ipv4(80));
  CHECK(resolve("127.0.0.1", "9", {.family = Family::ipv6, .numeric_host = true, .v4_mapped = true})
            .value()
            .front()
            .text() == "[::ffff:127.0.0.1]:9");
}

TEST_CASE("what does not resolve says why, as the resolver's code and as an error") {
  const auto name = resolve("not-a-number", "80", {.numeric_host = true});
  REQUIRE_FALSE(name.has_value());
  CHECK(name.error().code() == EAI_NONAME);
  CHECK(name.error() == Error::not_found);
  CHECK(name.error().text() == gai_strerror(EAI_NONAME));
  CHECK(resolve("127.0.0.1", "no-such-service").error() == Error::not_found);
  CHECK(resolve("", "").error() == Error::not_found);
  CHECK(resolve(std::string("127.0.0.1\0.evil", 15), "80").error() == Error::not_found);
  CHECK(resolve("127.0.0.1", "80", {.family = Family::ipv6, .numeric_host = true}).error() ==
        Error::not_found);
  CHECK(canonical_name("", {}).error() == Error::not_found);
  // It converts to what any function that yields an Error returns.
  const auto through = []() -> Result<int> {
    PARLEY_TRY(resolve("not-a-number", "80", {.numeric_host = true}));
    return 0;
  };
  CHECK(through().error() == Error::not_found);
}

TEST_CASE("an address gives its numbers back, and a name only where it has one") {
  const auto numbers =
      host_name(Address::loopback_ipv4(4242), {.numeric_host = true, .numeric_service = true});
  REQUIRE(numbers.has_value());
  CHECK(numbers->host == "127.0.0.1");
  CHECK(numbers->service == "4242");
  CHECK(canonical_name("127.0.0.1", {.numeric_host = true}).value() == "127.0.0.1");
  CHECK_FALSE(host_name(Address(), {.numeric_host = true}).has_value());
}

TEST_CASE("interfaces have an index and a name") {
  const auto index = interface_index("lo").value();
  CHECK(interface_name(index).value() == "lo");
  CHECK(static_cast<int>(interface_index("no-such-if").error()) == ENODEV);
  CHECK(static_cast<int>(interface_name(0x7fffffff).error()) == ENXIO);
}
