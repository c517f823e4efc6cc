#include <doctest/doctest.h>

#include <linux/bpf.h>
#include <linux/filter.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <parley/os/socket.hpp>

#include "support/descriptors.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::skip;
using parley::test::text_of;

namespace {

/// Keeps what begins with 'a', of that at most `kept_bytes`.
auto only_a(std::uint32_t kept_bytes) -> std::array<sock_filter, 4> {
  return {sock_filter BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
          sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'a', 0, 1),
          sock_filter BPF_STMT(BPF_RET | BPF_K, kept_bytes),
          sock_filter BPF_STMT(BPF_RET | BPF_K, 0)};
}

auto returns(std::uint32_t value) -> std::array<sock_filter, 1> {
  return {sock_filter BPF_STMT(BPF_RET | BPF_K, value)};
}

/// An extended program that returns `value`; not open where this process may not load any.
auto extended_program(std::int32_t value) -> OwnedFd {
  const std::array<bpf_insn, 2> program{
      bpf_insn{
          .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = value},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insn_cnt = program.size();
  attributes.insns = reinterpret_cast<std::uintptr_t>(program.data());
  attributes.license = reinterpret_cast<std::uintptr_t>("GPL");
  return OwnedFd::from_number(
      static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes))));
}

/// Two connected sockets whose second one filters.
struct Datagrams {
  Datagrams() {
    auto pair = Socket::pair(SocketType::datagram).value();
    sender = std::move(pair.first);
    receiver = std::move(pair.second);
  }

  void send(std::initializer_list<std::string_view> texts) {
    for (const auto text : texts) REQUIRE(sender->send(bytes_of(text), Deadline::now()));
  }

  /// All that comes through, each with a space behind it.
  auto receive() -> std::string {
    std::string all;
    std::array<std::byte, 16> buffer{};
    while (const auto received = receiver->receive(buffer, Deadline::now())) {
      all += text_of(std::span(buffer).first(received->size_bytes)) + " ";
    }
    return all;
  }

  std::optional<Socket> sender;
  std::optional<Socket> receiver;
};

/// Two UDP sockets at one port, and what each of them got of `count` messages.
struct Sharers {
  Sharers() {
    for (Socket& socket : sockets) REQUIRE(socket.set(option::reuse_port, true));
    REQUIRE(sockets[0].bind(Address::loopback_ipv4(0)));
    where = sockets[0].local_address().value();
    REQUIRE(sockets[1].bind(where));
  }

  auto counts_of(int count) -> std::array<int, 2> {
    for (int index = 0; index < count; ++index) {
      auto client = Socket::create(Family::ipv4, SocketType::datagram).value();
      REQUIRE(client.send_to(bytes_of("x"), where, Deadline::now()));
    }
    std::array<int, 2> counts{};
    while (counts[0] + counts[1] < count) {
      for (std::size_t index = 0; index < 2; ++index) {
        std::array<std::byte, 8> buffer{};
        while (sockets.at(index).receive(buffer, Deadline::now())) ++counts.at(index);
      }
    }
    return counts;
  }

  std::array<Socket, 2> sockets{Socket::create(Family::ipv4, SocketType::datagram).value(),
                                Socket::create(Family::ipv4, SocketType::datagram).value()};
  Address where;
};

}  // namespace

TEST_CASE("a filter drops what its program does not keep, and cuts what it keeps in part") {
  Datagrams pair;
  REQUIRE(pair.receiver->set(option::attach_filter, only_a(2)));
  pair.send({"abc", "bcd", "a"});
  CHECK(pair.receive() == "ab a ");
  REQUIRE(pair.receiver->set(option::attach_filter, returns(0)));  // takes the other's place
  pair.send({"abc", "bcd"});
  CHECK(pair.receive().empty());
  REQUIRE(pair.receiver->set(option::detach_filter, {}));
  pair.send({"bcd"});
  CHECK(pair.receive() == "bcd ");
  CHECK(pair.receiver->set(option::detach_filter, {}).error() == Error::not_found);
}

TEST_CASE("the program of a filter is read back, and there is none without a filter") {
  Datagrams pair;
  CHECK(pair.receiver->get(option::attached_filter).value().empty());
  const auto program = only_a(7);
  REQUIRE(pair.receiver->set(option::attach_filter, program));
  const auto told = pair.receiver->get(option::attached_filter).value();
  REQUIRE(told.size() == program.size());
  for (std::size_t index = 0; index < program.size(); ++index) {
    CHECK(told[index].code == program.at(index).code);
    CHECK(told[index].k == program.at(index).k);
  }
}

TEST_CASE("a filter that is no program, or too long a one, is refused and the old one stays") {
  Datagrams pair;
  REQUIRE(pair.receiver->set(option::attach_filter, only_a(2)));
  const std::array<sock_filter, 1> endless{sock_filter BPF_STMT(BPF_LD | BPF_IMM, 0)};
  CHECK(pair.receiver->set(option::attach_filter, endless).error() == Error::invalid);
  CHECK(pair.receiver->set(option::attach_filter, {}).error() == Error::invalid);
  // As a 16-bit count it would be one.
  const std::vector<sock_filter> too_long(65537, returns(0)[0]);
  CHECK(pair.receiver->set(option::attach_filter, too_long).error() == Error::invalid);
  CHECK(static_cast<int>(pair.receiver->set(option::attach_bpf, pair.sender->fd()).error()) != 0);
  pair.send({"abc", "bcd"});
  CHECK(pair.receive() == "ab ");
}

TEST_CASE("a locked filter is neither changed, detached nor unlocked") {
  Datagrams pair;
  REQUIRE(pair.receiver->set(option::attach_filter, only_a(2)));
  CHECK_FALSE(pair.receiver->get(option::lock_filter).value());
  REQUIRE(pair.receiver->set(option::lock_filter, true));
  CHECK(pair.receiver->get(option::lock_filter).value());
  CHECK(pair.receiver->set(option::attach_filter, returns(0)).error() == Error::not_permitted);
  CHECK(pair.receiver->set(option::detach_filter, {}).error() == Error::not_permitted);
  CHECK(pair.receiver->set(option::lock_filter, false).error() == Error::not_permitted);
  pair.send({"abc", "bcd"});
  CHECK(pair.receive() == "ab ");
}

TEST_CASE("an extended program filters like a classic one") {
  const OwnedFd drops_all = extended_program(0);
  if (!drops_all.is_open()) return skip("this process may not load BPF programs");
  Datagrams pair;
  REQUIRE(pair.receiver->set(option::attach_bpf, drops_all));
  pair.send({"abc"});
  CHECK(pair.receive().empty());
  REQUIRE(pair.receiver->set(option::detach_filter, {}));
  pair.send({"abc"});
  CHECK(pair.receive() == "abc ");
}

TEST_CASE("a program chooses among the sockets that share a port, in the order of binding") {
  Sharers sharers;
  REQUIRE(sharers.sockets[0].set(option::attach_reuse_port_filter, returns(1)));
  CHECK(sharers.counts_of(16) == std::array{0, 16});
  REQUIRE(sharers.sockets[1].set(option::attach_reuse_port_filter, returns(0)));
  CHECK(sharers.counts_of(16) == std::array{16, 0});
  REQUIRE(sharers.sockets[0].set(option::detach_reuse_port_filter, {}));
  CHECK(sharers.sockets[0].set(option::detach_reuse_port_filter, {}).error() == Error::not_found);
  CHECK(sharers.counts_of(64)[1] > 0);  // by chance all to one: once in 2^63
  const OwnedFd first = extended_program(0);
  if (!first.is_open()) return skip("this process may not load BPF programs");
  REQUIRE(sharers.sockets[1].set(option::attach_reuse_port_bpf, first));
  CHECK(sharers.counts_of(16) == std::array{16, 0});
}
