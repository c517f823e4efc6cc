// Local and network sockets: connections, found by a path or a port, and datagrams.
#include <parley/os/socket.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "tour/mechanisms.hpp"

namespace parley::cli {
namespace {

constexpr std::size_t message_bytes = 64 << 10;
constexpr std::size_t stream_chunk_bytes = 256 << 10;

/// What both have in common once there is a socket on each side.
class SocketMechanism : public BufferedMechanism {
 public:
  auto send(std::size_t count_bytes) -> Result<void> override {
    PARLEY_TRY(socket_->send(message(count_bytes), Deadline::never()));
    return {};
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    return message(PARLEY_TRY(socket_->receive(buffer(), Deadline::never())).size_bytes);
  }

 protected:
  using BufferedMechanism::BufferedMechanism;

  /// A message must fit into the buffer of the socket that sends it, which differs by system.
  auto limit_messages(const os::SocketBase& socket) -> Result<void> {
    const int send_buffer_bytes = PARLEY_TRY(socket.get(os::option::send_buffer_bytes));
    resize(std::min(message_bytes, static_cast<std::size_t>(send_buffer_bytes) / 2));
    return {};
  }

  std::optional<os::Socket> socket_;
};

/// The receiver listens, the sender connects.
class Connection : public SocketMechanism {
 public:
  auto join(Side side) -> Result<void> override {
    if (side == Side::sender) {
      socket_ = PARLEY_TRY(os::Socket::create(address_.family(), listener_->type()));
      PARLEY_TRY(socket_->connect(address_, Deadline::never()));
    } else {
      socket_ = PARLEY_TRY(listener_->accept(Deadline::never()));
    }
    listener_.reset();
    return {};
  }

 protected:
  using SocketMechanism::SocketMechanism;

  std::optional<os::Listener> listener_;
  os::Address address_;
};

template <os::SocketType type>
class LocalConnection : public Connection {
 public:
  LocalConnection() : Connection(stream_chunk_bytes) {}

  auto make(Leftovers& leftovers) -> Result<void> override {
    const std::string path = PARLEY_TRY(leftovers.make_directory()) + "/socket";
    address_ = PARLEY_TRY(os::Address::local(path));
    listener_ = PARLEY_TRY(os::Listener::create(address_, {.type = type}));
    return type == os::SocketType::stream ? Result<void>() : limit_messages(*listener_);
  }
};

class TcpConnection : public Connection {
 public:
  TcpConnection() : Connection(stream_chunk_bytes) {}

  auto make(Leftovers&) -> Result<void> override {
    listener_ = PARLEY_TRY(os::Listener::create(os::Address::loopback_ipv4(0)));
    address_ = PARLEY_TRY(listener_->local_address());
    return {};
  }

  auto join(Side side) -> Result<void> override {
    PARLEY_TRY(Connection::join(side));
    return socket_->set(os::option::tcp_no_delay, true);  // a message waits for no other one
  }
};

/// Each side has a path, and sends to the other's.
class LocalDatagrams : public SocketMechanism {
 public:
  LocalDatagrams() : SocketMechanism(message_bytes) {}

  auto make(Leftovers& leftovers) -> Result<void> override {
    const std::string directory = PARLEY_TRY(leftovers.make_directory());
    PARLEY_TRY(make_end(sender_, directory + "/sender"));
    PARLEY_TRY(make_end(receiver_, directory + "/receiver"));
    return limit_messages(*sender_.socket);
  }

  auto join(Side side) -> Result<void> override {
    auto& own = side == Side::sender ? sender_ : receiver_;
    auto& other = side == Side::sender ? receiver_ : sender_;
    socket_ = std::move(own.socket);
    PARLEY_TRY(socket_->connect(other.address, Deadline::never()));
    other.socket.reset();
    return {};
  }

 private:
  struct End {
    std::optional<os::Socket> socket;
    os::Address address;
  };

  static auto make_end(End& end, const std::string& path) -> Result<void> {
    end.address = PARLEY_TRY(os::Address::local(path));
    end.socket = PARLEY_TRY(os::Socket::create(os::Family::local, os::SocketType::datagram));
    PARLEY_TRY(end.socket->bind(end.address));
    return {};
  }

  End sender_;
  End receiver_;
};

/// Messages of 64 bytes with a descriptor each. The file itself is not sent: its descriptor is, and
/// the receiver reads the file.
class PassedDescriptor : public SocketMechanism {
 public:
  PassedDescriptor() : SocketMechanism(64) {}

  auto make(Leftovers&) -> Result<void> override {
    pair_ = PARLEY_TRY(os::Socket::pair(os::SocketType::seqpacket));
    return {};
  }

  auto join(Side side) -> Result<void> override {
    socket_ = std::move(side == Side::sender ? pair_->first : pair_->second);
    pair_.reset();
    return {};
  }

  auto send_file(Source& source) -> Result<void> override {
    passed_ = PARLEY_TRY(os::duplicate(source.fd()));
    const auto size_bytes = PARLEY_TRY(room()).size();
    return send(size_bytes);
  }

  auto receive_file(Copy& copy) -> Result<void> override {
    PARLEY_TRY(receive());
    std::vector<std::byte> chunk(stream_chunk_bytes);
    Source source(passed_, copy.expected_bytes());
    while (!copy.is_complete()) {
      copy.take(std::span(chunk).first(PARLEY_TRY(source.read(chunk))));
    }
    return {};
  }

  auto send(std::size_t count_bytes) -> Result<void> override {
    const os::BorrowedFd descriptor = passed_;
    os::Outgoing outgoing;
    outgoing.bytes = message(count_bytes);
    outgoing.attachments.descriptors = std::span(&descriptor, 1);
    PARLEY_TRY(socket_->send_message(outgoing, Deadline::never()));
    return {};
  }

  auto receive() -> Result<std::span<const std::byte>> override {
    os::Incoming incoming;
    incoming.into = buffer();
    incoming.max_descriptors = 1;
    auto received = PARLEY_TRY(socket_->receive_message(incoming, Deadline::never()));
    if (received.ended) return std::span<const std::byte>();
    if (received.ancillary.descriptors.size() != 1) return failure(Error::corrupt);
    passed_ = std::move(received.ancillary.descriptors.front());
    return message(received.size_bytes);
  }

 private:
  std::optional<std::pair<os::Socket, os::Socket>> pair_;
  os::OwnedFd passed_;  ///< Of the file; the last one that came.
};

}  // namespace

auto local_stream() -> std::unique_ptr<Mechanism> {
  return std::make_unique<LocalConnection<os::SocketType::stream>>();
}
auto local_seqpacket() -> std::unique_ptr<Mechanism> {
  return std::make_unique<LocalConnection<os::SocketType::seqpacket>>();
}
auto local_datagrams() -> std::unique_ptr<Mechanism> {
  return std::make_unique<LocalDatagrams>();
}
auto passed_descriptor() -> std::unique_ptr<Mechanism> {
  return std::make_unique<PassedDescriptor>();
}
auto tcp_connection() -> std::unique_ptr<Mechanism> {
  return std::make_unique<TcpConnection>();
}

}  // namespace parley::cli
