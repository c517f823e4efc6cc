#include <parley/os/ancillary.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <parley/os/pipe.hpp>
#include <parley/os/socket.hpp>

#include "support/descriptors.hpp"
#include "support/skip.hpp"
#include "support/temp_dir.hpp"

using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::open_descriptors;
using parley::test::skip;
using parley::test::TempDir;
using parley::test::text_of;

namespace {

auto pair_of(SocketType type) -> std::pair<Socket, Socket> {
  return Socket::pair(type).value();
}

auto inode_of(BorrowedFd fd) -> ino_t {
  struct stat status{};
  REQUIRE(fstat(fd.number(), &status) == 0);
  return status.st_ino;
}

/// That many different files, to tell them apart by inode after the journey.
struct Files {
  explicit Files(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string path = directory / std::to_string(i);
      owned.push_back(OwnedFd::from_number(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
      REQUIRE(owned.back().is_open());
      borrowed.emplace_back(owned.back());
    }
  }

  void check_same(std::span<const OwnedFd> received) const {
    REQUIRE(received.size() == owned.size());
    for (std::size_t i = 0; i < owned.size(); ++i) {
      CHECK(inode_of(received[i]) == inode_of(owned[i]));
      CHECK(received[i].number() != owned[i].number());
      CHECK(closes_on_exec(received[i]).value());
    }
  }

  TempDir directory;
  std::vector<OwnedFd> owned;
  std::vector<BorrowedFd> borrowed;
};

/// Lowers RLIMIT_NOFILE for the length of a test.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit lower{.rlim_cur = limit, .rlim_max = before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  auto operator=(const DescriptorLimit&) -> DescriptorLimit& = delete;
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("a descriptor arrives as a new number for the same open file") {
  for (const auto type : {SocketType::stream, SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = pair_of(type);
    const Files files(2);
    REQUIRE(lseek(files.owned[0].number(), 42, SEEK_SET) == 42);
    REQUIRE(
        one.send_message({.bytes = bytes_of("two"), .attachments = {.descriptors = files.borrowed}},
                         Deadline::now()));
    std::array<std::byte, 8> buffer{};
    const auto message = other.receive_message({.into = buffer}, Deadline::now()).value();
    CHECK(message.size_bytes == 3);
    files.check_same(message.ancillary.descriptors);
    CHECK(lseek(message.ancillary.descriptors[0].number(), 0, SEEK_CUR) == 42);
  }
}

TEST_CASE("a message with descriptors and no bytes is a message, not the end") {
  for (const auto type : {SocketType::seqpacket, SocketType::datagram}) {
    CAPTURE(static_cast<int>(type));
    auto [one, other] = pair_of(type);
    const Files files(1);
    REQUIRE(one.send_message({.attachments = {.descriptors = files.borrowed}}, Deadline::now()));
    CHECK(other.next_message_bytes(Deadline::now()).value() == std::size_t{0});
    const auto message = other.receive_message({}, Deadline::now()).value();
    CHECK(message.size_bytes == 0);
    CHECK_FALSE(message.ended);
    files.check_same(message.ancillary.descriptors);
  }
}

TEST_CASE("a stream needs a byte for each message of descriptors, or nothing is sent") {
  auto [one, other] = pair_of(SocketType::stream);
  const Files files(254);
  const auto sent = one.send_message(
      {.attachments = {.descriptors = std::span(files.borrowed).first(1)}}, Deadline::now());
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error() == Error::invalid);
  CHECK(one.send_message({.bytes = bytes_of("1"), .attachments = {.descriptors = files.borrowed}},
                         Deadline::now())
            .error() == Error::invalid);
  CHECK(one.send_message({.attachments = {.credentials = Credentials{.pid = getpid()}}},
                         Deadline::now())
            .error() == Error::invalid);
  CHECK(other.bytes_waiting().value() == 0);
}

TEST_CASE("more than 253 descriptors in one send arrive split, in order, all of them") {
  for (const std::size_t count : {253U, 254U, 506U, 600U}) {
    for (const auto type : {SocketType::stream, SocketType::seqpacket, SocketType::datagram}) {
      CAPTURE(count);
      CAPTURE(static_cast<int>(type));
      auto [one, other] = pair_of(type);
      const Files files(count);
      REQUIRE(one.send_message(
          {.bytes = bytes_of("payload"), .attachments = {.descriptors = files.borrowed}},
          Deadline::now()));
      std::array<std::byte, 16> buffer{};
      const auto message = other.receive_split(buffer, count, Deadline::now()).value();
      CHECK(text_of(std::span(buffer).first(message.size_bytes)) == "payload");
      files.check_same(message.ancillary.descriptors);
      CHECK(other.receive(buffer, Deadline::now()).error() == Error::would_block);
    }
  }
}

TEST_CASE("the messages of a split send are as the contract says") {
  const Files files(600);
  std::array<std::byte, 16> buffer{};
  const auto look = [&](Socket& socket) {
    const auto message = socket.receive_message({.into = buffer}, Deadline::now()).value();
    return std::pair(message.size_bytes, message.ancillary.descriptors.size());
  };
  using Sizes = std::pair<std::size_t, std::size_t>;
  const Outgoing outgoing{.bytes = bytes_of("payload"),
                          .attachments = {.descriptors = files.borrowed}};
  auto [packets, packet_peer] = pair_of(SocketType::seqpacket);
  REQUIRE(packets.send_message(outgoing, Deadline::now()));
  CHECK(look(packet_peer) == Sizes(0, 253));
  CHECK(look(packet_peer) == Sizes(0, 253));
  CHECK(look(packet_peer) == Sizes(7, 94));
  auto [stream, stream_peer] = pair_of(SocketType::stream);
  REQUIRE(stream.send_message(outgoing, Deadline::now()));
  CHECK(look(stream_peer) == Sizes(1, 253));
  CHECK(look(stream_peer) == Sizes(1, 253));
  CHECK(look(stream_peer) == Sizes(5, 94));
}

TEST_CASE("a split send that fails part-way says how many descriptors had gone") {
  auto receiver = Socket::create(Family::local, SocketType::datagram).value();
  const auto where = receiver.autobind().value();
  auto sender = Socket::create(Family::local, SocketType::datagram).value();
  std::size_t room = 0;
  while (sender.send_to({}, where, Deadline::now())) ++room;
  std::array<std::byte, 1> buffer{};
  for (int i = 0; i < 2; ++i) REQUIRE(receiver.receive(buffer, Deadline::now()));
  const Files files(600);
  const auto sent = sender.send_message(
      {.bytes = bytes_of("x"), .to = &where, .attachments = {.descriptors = files.borrowed}},
      Deadline::now());
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error() == Error::would_block);
  CHECK(sent.error().descriptors_sent == 506);
  CHECK(sent.error().bytes_sent == 0);
}

TEST_CASE("collecting ends early, with what there is, when the peer ends") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const Files files(3);
  REQUIRE(one.send_message({.attachments = {.descriptors = files.borrowed}}, Deadline::now()));
  static_cast<void>(std::move(one).into_fd());
  const auto message = other.receive_split({}, 300, Deadline::never()).value();
  CHECK(message.ended);
  files.check_same(message.ancillary.descriptors);
}

TEST_CASE("collecting that runs out of time closes what had come") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const auto before = open_descriptors();
  {
    const Files files(3);
    REQUIRE(one.send_message({.attachments = {.descriptors = files.borrowed}}, Deadline::now()));
  }
  CHECK(other.receive_split({}, 300, Deadline::now()).error() == Error::would_block);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a control buffer that is too small closes every descriptor and says so") {
  const Files files(253);
  for (const auto type : {SocketType::stream, SocketType::seqpacket, SocketType::datagram}) {
    // One more than welcome, and so many that the kernel itself cuts the control data.
    for (const std::size_t count : {2U, 253U}) {
      CAPTURE(static_cast<int>(type));
      CAPTURE(count);
      auto [one, other] = pair_of(type);
      const auto fds = std::span(files.borrowed).first(count);
      REQUIRE(one.send_message({.bytes = bytes_of("data"), .attachments = {.descriptors = fds}},
                               Deadline::now()));
      const auto before = open_descriptors();
      std::array<std::byte, 8> buffer{};
      const auto received =
          other.receive_message({.into = buffer, .max_descriptors = 1}, Deadline::now());
      REQUIRE_FALSE(received.has_value());
      CHECK(received.error() == Error::no_buffer_space);
      CHECK(received.error().message_bytes == 4);
      CHECK(text_of(std::span(buffer).first(4)) == "data");
      CHECK(open_descriptors() == before);
      CHECK(other.receive(buffer, Deadline::now()).error() == Error::would_block);
    }
  }
}

TEST_CASE("a plain receive of a message with descriptors closes them and says so") {
  auto [one, other] = pair_of(SocketType::stream);
  const Files files(3);
  REQUIRE(one.send_message({.bytes = bytes_of("x"), .attachments = {.descriptors = files.borrowed}},
                           Deadline::now()));
  const auto before = open_descriptors();
  std::array<std::byte, 8> buffer{};
  CHECK(other.receive(buffer, Deadline::now()).error() == Error::no_buffer_space);
  CHECK(open_descriptors() == before);
}

TEST_CASE("descriptors that come with a message longer than the buffer are closed with it") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const Files files(3);
  REQUIRE(one.send_message(
      {.bytes = bytes_of("too long"), .attachments = {.descriptors = files.borrowed}},
      Deadline::now()));
  const auto before = open_descriptors();
  std::array<std::byte, 3> buffer{};
  const auto received = other.receive_message({.into = buffer}, Deadline::now());
  REQUIRE_FALSE(received.has_value());
  CHECK(received.error() == Error::message_too_long);
  CHECK(received.error().message_bytes == 8);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a receiver that runs out of descriptors gets an error and leaks none") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const Files files(10);
  REQUIRE(one.send_message({.bytes = bytes_of("x"), .attachments = {.descriptors = files.borrowed}},
                           Deadline::now()));
  REQUIRE(one.send(bytes_of("next"), Deadline::now()));
  const auto before = open_descriptors();
  std::array<std::byte, 8> buffer{};
  const auto receive_short_of_descriptors = [&] {
    // Room for the first few of them only.
    const int next_free = duplicate(other.fd()).value().number();
    const DescriptorLimit limit(static_cast<rlim_t>(next_free) + 4);
    return other.receive_message({.into = buffer}, Deadline::now());
  };
  const auto received = receive_short_of_descriptors();
  REQUIRE_FALSE(received.has_value());
  CHECK(received.error() == Error::no_buffer_space);
  CHECK(open_descriptors() == before);
  CHECK(other.receive(buffer, Deadline::now()).value().size_bytes == 4);
}

TEST_CASE("a descriptor in flight keeps its file open although everybody closed it") {
  auto [one, other] = pair_of(SocketType::stream);
  auto pipe = Pipe::create().value();
  {
    const OwnedFd writer = std::move(pipe.writer).into_fd();
    const std::array<BorrowedFd, 1> fds{writer};
    REQUIRE(one.send_message({.bytes = bytes_of("w"), .attachments = {.descriptors = fds}},
                             Deadline::now()));
  }
  std::array<std::byte, 8> buffer{};
  CHECK(pipe.reader.read(buffer, Deadline::now()).error() == Error::would_block);
  auto message = other.receive_message({.into = buffer}, Deadline::now()).value();
  auto writer = PipeWriter::adopt(std::move(message.ancillary.descriptors.at(0))).value();
  REQUIRE(writer.write(bytes_of("alive"), Deadline::now()));
  CHECK(pipe.reader.read(buffer, Deadline::now()).value() == 5);
  static_cast<void>(std::move(writer).into_fd());
  CHECK(pipe.reader.read(buffer, Deadline::now()).value() == 0);
}

TEST_CASE("a descriptor that nobody received is closed with the socket") {
  auto pipe = Pipe::create().value();
  {
    auto [one, other] = pair_of(SocketType::seqpacket);
    const OwnedFd writer = std::move(pipe.writer).into_fd();
    const std::array<BorrowedFd, 1> fds{writer};
    REQUIRE(one.send_message({.attachments = {.descriptors = fds}}, Deadline::now()));
  }
  std::array<std::byte, 8> buffer{};
  CHECK(pipe.reader.read(buffer, Deadline::never()).value() == 0);
}

TEST_CASE("peeking at a message duplicates its descriptors and leaves them there") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const Files files(2);
  REQUIRE(one.send_message({.bytes = bytes_of("x"), .attachments = {.descriptors = files.borrowed}},
                           Deadline::now()));
  std::array<std::byte, 8> buffer{};
  const auto before = open_descriptors();
  const auto looked =
      other.receive_message({.into = buffer}, Deadline::now(), {.peek = true}).value();
  const auto taken = other.receive_message({.into = buffer}, Deadline::now()).value();
  files.check_same(looked.ancillary.descriptors);
  files.check_same(taken.ancillary.descriptors);
  CHECK(open_descriptors() == before + 4);
}

TEST_CASE("a stream read does not run over the border of a message with descriptors") {
  auto [one, other] = pair_of(SocketType::stream);
  const Files files(1);
  REQUIRE(one.send(bytes_of("before "), Deadline::now()));
  REQUIRE(
      one.send_message({.bytes = bytes_of("with "), .attachments = {.descriptors = files.borrowed}},
                       Deadline::now()));
  REQUIRE(one.send(bytes_of("after"), Deadline::now()));
  std::array<std::byte, 100> buffer{};
  const auto first = other.receive_message({.into = buffer}, Deadline::now()).value();
  CHECK(text_of(std::span(buffer).first(first.size_bytes)) == "before with ");
  files.check_same(first.ancillary.descriptors);
  const auto second = other.receive_message({.into = buffer}, Deadline::now()).value();
  CHECK(text_of(std::span(buffer).first(second.size_bytes)) == "after");
  CHECK(second.ancillary.descriptors.empty());
}

TEST_CASE("one message carries several control messages") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  REQUIRE(other.set(option::pass_credentials, true));
  const bool has_pidfd = other.set(option::pass_pidfd, true).has_value();
  const Files files(2);
  const Credentials mine{.pid = getpid(), .uid = getuid(), .gid = getgid()};
  REQUIRE(one.send_message(
      {.bytes = bytes_of("x"), .attachments = {.descriptors = files.borrowed, .credentials = mine}},
      Deadline::now()));
  std::array<std::byte, 8> buffer{};
  const auto message = other.receive_message({.into = buffer}, Deadline::now()).value();
  files.check_same(message.ancillary.descriptors);
  CHECK(message.ancillary.credentials == mine);
  CHECK(message.ancillary.pidfd.is_open() == has_pidfd);
  CHECK(message.ancillary.timestamp.has_value());
  CHECK(message.ancillary.others.empty());
}

TEST_CASE("a plain receive takes no offence at credentials and a pidfd that were asked for") {
  auto [one, other] = pair_of(SocketType::stream);
  REQUIRE(other.set(option::pass_credentials, true));
  const bool has_pidfd = other.set(option::pass_pidfd, true).has_value();
  CAPTURE(has_pidfd);
  REQUIRE(one.send(bytes_of("x"), Deadline::now()));
  const auto before = open_descriptors();
  std::array<std::byte, 8> buffer{};
  CHECK(other.receive(buffer, Deadline::now()).value().size_bytes == 1);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a raw control message that has no type here is passed on as it is") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  REQUIRE(other.set(option::pass_credentials, true));
  const Credentials mine{.pid = getpid(), .uid = getuid(), .gid = getgid()};
  const auto raw = std::as_bytes(std::span(&mine, 1));  // laid out as struct ucred
  const ControlMessage message{
      .level = SOL_SOCKET, .type = SCM_CREDENTIALS, .data = {raw.begin(), raw.end()}};
  REQUIRE(one.send_message({.attachments = {.others = {&message, 1}}}, Deadline::now()));
  CHECK(other.receive_message({}, Deadline::now()).value().ancillary.credentials == mine);
}

TEST_CASE("sending a descriptor that is not open fails and nothing arrives") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  const std::array<BorrowedFd, 1> fds{BorrowedFd::from_number(-1)};
  CHECK(one.send_message({.attachments = {.descriptors = fds}}, Deadline::now()).error() ==
        Error::bad_descriptor);
  CHECK(other.receive_message({}, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("a receiver that takes no descriptors makes sending them fail") {
  auto [one, other] = pair_of(SocketType::seqpacket);
  if (!other.set(option::pass_descriptors, false)) {
    skip("this kernel cannot refuse descriptors (before Linux 6.16)");
    return;
  }
  const std::array<BorrowedFd, 1> fds{one.fd()};
  CHECK(one.send_message({.attachments = {.descriptors = fds}}, Deadline::now()).error() ==
        Error::not_permitted);
}
