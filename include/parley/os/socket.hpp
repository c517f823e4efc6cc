// Sockets: local and network, streams and messages, with ancillary data; and listeners.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/os/address.hpp>
#include <parley/os/ancillary.hpp>
#include <parley/os/descriptor.hpp>
#include <parley/os/socket_options.hpp>

namespace parley::os {

/// What the system allows for sockets. socket(7), listen(2), unix(7)
struct SocketLimits {
  std::size_t backlog;            ///< somaxconn: connections that wait to be accepted.
  std::size_t waiting_datagrams;  ///< max_dgram_qlen, for one local receiver.
  /// rmem_max and wmem_max for `receive_buffer_bytes` and `send_buffer_bytes`, and optmem_max for
  /// one message's ancillary data. None where this network namespace does not show them.
  std::optional<std::size_t> receive_buffer_bytes;
  std::optional<std::size_t> send_buffer_bytes;
  std::optional<std::size_t> ancillary_bytes;
  /// rmem_default and wmem_default: what a new socket has, but for TCP.
  std::optional<std::size_t> default_receive_buffer_bytes;
  std::optional<std::size_t> default_send_buffer_bytes;
};

auto socket_limits() -> Result<SocketLimits>;

/// Why a send failed, and what had gone out before.
struct SendError {
  // So that PARLEY_TRY turns an Error of a lower call into one of these, and this into an Error.
  // NOLINTNEXTLINE(google-explicit-constructor)
  SendError(Error why) noexcept : error(why) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Error() const noexcept { return error; }

  Error error;
  std::size_t bytes_sent = 0;
  std::size_t descriptors_sent = 0;
  std::size_t messages_sent = 0;  ///< Of a batch: its first ones, whole.
};

/// Why a receive failed, and what it took from the socket all the same.
struct ReceiveError {
  // NOLINTNEXTLINE(google-explicit-constructor)
  ReceiveError(Error why) noexcept : error(why) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Error() const noexcept { return error; }

  Error error;
  /// How long the message was that did not fit; of a stream, how many bytes are in the buffer.
  std::size_t message_bytes = 0;
};

/// Flags of send(2). MSG_NOSIGNAL is always set.
struct SendOptions {
  bool more = false;           ///< MSG_MORE: hold it back until the next send. TCP, UDP.
  bool end_of_record = false;  ///< MSG_EOR
  bool out_of_band = false;    ///< MSG_OOB: the last byte is urgent. TCP, local streams.
  bool dont_route = false;     ///< MSG_DONTROUTE: only to hosts on a network of ours.
  bool confirm = false;        ///< MSG_CONFIRM: the peer has answered; spares an ARP probe.
  /// MSG_ZEROCOPY: the bytes may not change until the error queue says that they are sent. Without
  /// `option::zero_copy` it is an ordinary send.
  bool zero_copy = false;
};

/// Flags of recv(2).
struct ReceiveOptions {
  bool peek = false;         ///< MSG_PEEK: leave it there. Descriptors are duplicated each time.
  bool out_of_band = false;  ///< MSG_OOB: the urgent byte alone, of a stream.
  bool error_queue = false;  ///< MSG_ERRQUEUE: a report of the network; see ExtendedError.
};

/// A message to send: `bytes`, then `areas`, gathered into one.
struct Outgoing {
  std::span<const std::byte> bytes = {};
  std::span<const iovec> areas = {};
  const Address* to = nullptr;  ///< Null: the peer that it is connected to.
  Attachments attachments = {};
};

/// Where to put a message: `into`, then `areas`; and how many descriptors are welcome.
struct Incoming {
  std::span<std::byte> into = {};
  std::span<const iovec> areas = {};
  std::size_t max_descriptors = descriptors_per_message;
};

/// What came of a receive.
struct Received {
  std::size_t size_bytes = 0;
  /// Nothing more will come: the peer has shut down or is gone (or this side was shut down for
  /// receiving). Never set for an empty message.
  bool ended = false;
  bool end_of_record = false;
  bool out_of_band = false;
};

struct ReceivedFrom : Received {
  Address from;  ///< Of a sender without a name: `is_unnamed()`. Of a stream: unspecified.
};

struct ReceivedMessage : ReceivedFrom {
  Ancillary ancillary;
};

/// shutdown(2)
enum class Direction : int {
  receiving = SHUT_RD,
  sending = SHUT_WR,
  both = SHUT_RDWR,
};

/// What to do where the path of a local address is taken.
enum class ExistingPath {
  refuse,  ///< `address_in_use`, whatever is there.
  /// Remove a socket that nobody has open any more; anything else is refused. Two processes that do
  /// this to one path at the same moment can take it from each other: hold a lock.
  replace_stale,
};

struct BindOptions {
  ExistingPath existing = ExistingPath::refuse;
  /// The permissions of the new path, less the umask. To connect or send needs write permission.
  mode_t mode = 0777;
};

/// What sockets and listeners can tell and set. Not used by itself.
class SocketBase {
 public:
  [[nodiscard]] auto fd() const noexcept -> BorrowedFd { return fd_; }

  /// The descriptor itself, to hand it on or to keep it elsewhere.
  [[nodiscard]] auto into_fd() && noexcept -> OwnedFd { return std::move(fd_); }

  [[nodiscard]] auto family() const noexcept -> Family { return family_; }
  [[nodiscard]] auto type() const noexcept -> SocketType { return type_; }

  /// getsockname(2). Without a name: unnamed, or any address and port 0.
  [[nodiscard]] auto local_address() const -> Result<Address>;

  /// `no_such_option` or `not_supported` where the kernel or this kind of socket lacks it;
  /// `invalid` or ENODEV for a value that it does not take; `not_permitted` for what needs
  /// privilege. getsockopt(2)
  template <class T>
  [[nodiscard]] auto get(const ReadableOption<T>& option) const -> Result<T>;
  template <class T>
  auto set(const WritableOption<T>& option, const std::type_identity_t<T>& value) -> Result<void>;

  /// Removes the path that `bind` gave it, so that nobody new finds it. `not_found` if it is gone,
  /// `exists` if something else has it by now, `invalid` if this object bound no path. Nothing does
  /// this by itself: a path outlives its socket.
  auto unlink() -> Result<void>;

 protected:
  /// The file that binding to a path made, to know it again.
  struct BoundFile {
    dev_t device = 0;
    ino_t inode = 0;

    auto operator==(const BoundFile&) const noexcept -> bool = default;
  };

  SocketBase(OwnedFd fd, Family family, SocketType type) noexcept
      : fd_(std::move(fd)), family_(family), type_(type) {}

  static auto file_at(const std::string& path) -> Result<BoundFile>;

  OwnedFd fd_;
  Family family_;
  SocketType type_;
  std::optional<BoundFile> bound_file_;
};

/// One end of a connection, or a socket that sends and receives messages. Close-on-exec and
/// O_NONBLOCK. One thread may send while another receives. socket(7), unix(7), ip(7)
///
/// A local seqpacket socket has `timestamp_ns` set: Linux reports its end just as it reports an
/// empty message, and only the message carries a timestamp.
class Socket : public SocketBase {
 public:
  /// `protocol` as in socket(2); 0 is the type's own. `EAFNOSUPPORT` where the machine lacks the
  /// family, `not_permitted` for raw sockets without privilege.
  static auto create(Family family, SocketType type, int protocol = 0) -> Result<Socket>;

  /// Two local sockets, unnamed and connected to each other. socketpair(2)
  static auto pair(SocketType type) -> Result<std::pair<Socket, Socket>>;

  /// Takes a received or inherited descriptor. `invalid` unless it is a socket of one of the
  /// families and types here that does not listen. Sets O_NONBLOCK, which everybody who shares the
  /// open description sees.
  static auto adopt(OwnedFd fd) -> Result<Socket>;

  /// Gives it a name of its own. `address_in_use`; `access_denied` for a directory that may not be
  /// written or a port below 1024. A local path stays when the socket goes: unlink it, or bind the
  /// next one with `replace_stale`. bind(2)
  auto bind(const Address& address, BindOptions options = {}) -> Result<void>;

  /// A local socket gets an abstract name, a network socket a free port, by the kernel's choice;
  /// the address is returned.
  auto autobind() -> Result<Address>;

  /// Connects, or for datagrams fixes the peer. `refused` if nobody listens there; `not_found` if
  /// there is no such path; EPROTOTYPE if what is there has another type. A local listener with a
  /// full backlog is waited for. connect(2)
  ///
  /// After `timed_out` or `would_block` a network socket goes on connecting: call it again to wait
  /// on. After any other error make a new socket.
  auto connect(const Address& to, Deadline deadline) -> Result<void>;

  /// A connected datagram socket receives from everybody again.
  auto disconnect() -> Result<void>;

  /// An IPv6 socket whose peer is ::ffff:a.b.c.d becomes one of IPv4, for a program that knows no
  /// other and shall be handed it. `not_connected`; EADDRNOTAVAIL for another peer. IPV6_ADDRFORM
  auto turn_into_ipv4() -> Result<void>;

  auto shutdown(Direction direction) -> Result<void>;

  /// Sends all of it. On a stream perhaps in several goes: the error says how much went out before.
  /// Of a message all or nothing: `message_too_long` over what the kind of socket can carry.
  /// `broken_pipe` (never SIGPIPE) or `connection_reset` when the peer is gone.
  auto send(std::span<const std::byte> bytes, Deadline deadline, SendOptions options = {})
      -> std::expected<void, SendError>;

  /// The same to a stated receiver, for unconnected datagrams. A local receiver whose queue is full
  /// is waited for.
  auto send_to(std::span<const std::byte> bytes, const Address& to, Deadline deadline,
               SendOptions options = {}) -> std::expected<void, SendError>;

  /// The same, gathered and with ancillary data. A receiver that gets a descriptor shares the open
  /// description; the sender may close its own at once.
  ///
  /// More than `descriptors_per_message` (253) descriptors go as several messages, in order. Over
  /// datagrams and seqpackets all but the last carry 253 descriptors and no bytes, the last the
  /// rest and all the bytes; over a stream all but the last carry one byte each, the last the
  /// rest. Credentials and the other attachments go with each of them. `receive_split` collects
  /// them. `invalid`, before anything is sent, for descriptors or credentials over a network, and
  /// for a stream with fewer bytes than messages (one descriptor needs one byte). ETOOMANYREFS if
  /// more than RLIMIT_NOFILE of this user's descriptors are in flight.
  ///
  /// If a message after the first fails, the earlier ones stay sent and the error counts them: the
  /// receiver waits for the rest, so send it, or close the connection.
  auto send_message(const Outgoing& message, Deadline deadline, SendOptions options = {})
      -> std::expected<void, SendError>;

  /// Sends messages in order with as few system calls as the kernel allows, up to 1024 in each. All
  /// of them, or the error says how many went out before; the one after them is what failed. Each
  /// is as in `send_message`, but carries at most 253 descriptors: `invalid`, before anything is
  /// sent, for more, and on a stream, whose bytes have no borders (gather them by `areas`).
  ///
  /// An error of an earlier packet that the network reports between two messages can get lost in
  /// the kernel; `option::ip_receive_error` keeps it. sendmmsg(2)
  auto send_batch(std::span<const Outgoing> messages, Deadline deadline, SendOptions options = {})
      -> std::expected<void, SendError>;

  /// Takes what is there of a stream, at least one byte and up to `into.size()`; or one message.
  /// A message longer than `into` is `message_too_long`: the error says how long it was, its
  /// beginning is in `into`, the rest is gone (`next_message_bytes` looks first). Descriptors that
  /// come with it are closed, and the call fails with `no_buffer_space`. An empty `into` on a
  /// stream is `invalid`.
  auto receive(std::span<std::byte> into, Deadline deadline, ReceiveOptions options = {})
      -> std::expected<Received, ReceiveError>;

  /// The same, and who sent it.
  auto receive_from(std::span<std::byte> into, Deadline deadline, ReceiveOptions options = {})
      -> std::expected<ReceivedFrom, ReceiveError>;

  /// The same with ancillary data, scattered. What a stream carried in one message with descriptors
  /// ends a receive: bytes sent later never come with them, though bytes sent before can.
  ///
  /// `no_buffer_space` if more descriptors came than `max_descriptors`, or more than this process
  /// may open, or more control data than there is room for: every descriptor that did arrive is
  /// closed, the bytes are in the buffer, the message is gone. `corrupt` if the control data makes
  /// no sense.
  auto receive_message(const Incoming& message, Deadline deadline, ReceiveOptions options = {})
      -> std::expected<ReceivedMessage, ReceiveError>;

  /// Waits for a message and takes all that are there by then, each into its place, as far as there
  /// are places: what came of each, in order, as `receive_message` tells it. One that did not fit
  /// its place or brought unwelcome descriptors is an error there; its descriptors are closed, and
  /// the others are whole. An end is the last. With `peek` every place shows the same message.
  /// `invalid` on a stream. recvmmsg(2)
  auto receive_batch(std::span<const Incoming> places, Deadline deadline,
                     ReceiveOptions options = {})
      -> Result<std::vector<std::expected<ReceivedMessage, ReceiveError>>>;

  /// Collects what one `send_message` with `descriptor_count` descriptors sent, however many
  /// messages it became: all the descriptors in order, the bytes, the last message's other parts.
  /// Ends early, with fewer descriptors, when the peer's data or the buffer does. On an error what
  /// had come is closed. Several senders to one datagram socket would mix.
  auto receive_split(std::span<std::byte> into, std::size_t descriptor_count, Deadline deadline)
      -> std::expected<ReceivedMessage, ReceiveError>;

  /// Receives until `into` is full or the stream ends; fewer bytes mean the end. On an error
  /// `message_bytes` are in `into`. `invalid` but on a stream.
  auto receive_all(std::span<std::byte> into, Deadline deadline)
      -> std::expected<std::size_t, ReceiveError>;

  /// Waits for a message and tells its length, and leaves it there; nothing at the end. `invalid`
  /// on a stream.
  auto next_message_bytes(Deadline deadline) -> Result<std::optional<std::size_t>>;

  /// Not yet received: all of a stream; of datagrams the first one, of a local seqpacket all.
  /// SIOCINQ, which is FIONREAD.
  [[nodiscard]] auto bytes_waiting() const -> Result<std::size_t>;

  /// Sent and not yet taken by the peer, with the kernel's own overhead on a local socket; over TCP
  /// not yet acknowledged. SIOCOUTQ
  [[nodiscard]] auto bytes_in_flight() const -> Result<std::size_t>;

  /// Whether the next byte of the stream is the urgent one. sockatmark(3)
  [[nodiscard]] auto at_urgent_mark() const -> Result<bool>;

  /// getpeername(2). `not_connected` without a peer.
  [[nodiscard]] auto peer_address() const -> Result<Address>;

  /// Who connected, listened or made the pair, as it was then. Local sockets only: for others (and
  /// for unconnected ones) the pid is 0 and the ids are -1. SO_PEERCRED
  [[nodiscard]] auto peer_credentials() const -> Result<Credentials>;

  /// The peer's supplementary groups, as they were then. ENODATA without a peer. SO_PEERGROUPS
  [[nodiscard]] auto peer_groups() const -> Result<std::vector<gid_t>>;

  /// A pidfd of the process that connected, listened or made the pair: readable once it is dead.
  /// `no_such_option` before Linux 6.5; ENODATA without a peer; ESRCH or EINVAL, by kernel, for one
  /// that is gone. SO_PEERPIDFD
  [[nodiscard]] auto peer_pidfd() const -> Result<OwnedFd>;

  /// The peer's label. `no_such_option` where no security module gives labels. SO_PEERSEC
  [[nodiscard]] auto peer_security_label() const -> Result<std::string>;

 private:
  using SocketBase::SocketBase;
  friend class Listener;
};

struct ListenOptions {
  SocketType type = SocketType::stream;
  /// How many connections may wait to be accepted; at most /proc/sys/net/core/somaxconn.
  int backlog = SOMAXCONN;
  BindOptions bind = {};
  /// A network listener may take a port whose earlier connections are still winding up.
  bool reuse_address = true;
};

/// A socket that accepts connections. Its descriptor is readable when one waits.
class Listener : public SocketBase {
 public:
  /// Makes, binds and listens. listen(2)
  static auto create(const Address& address, ListenOptions options = {}) -> Result<Listener>;

  /// Listens on a socket that is bound already, with whatever options were set on it.
  static auto listen(Socket socket, int backlog = SOMAXCONN) -> Result<Listener>;

  /// Takes a received or inherited descriptor. `invalid` unless it listens. Sets O_NONBLOCK.
  static auto adopt(OwnedFd fd) -> Result<Listener>;

  /// The next connection. One that its peer gave up while it waited is passed over. EMFILE and
  /// ENFILE leave it waiting. accept(2)
  auto accept(Deadline deadline) -> Result<Socket>;

  /// The same, and where it came from.
  auto accept_from(Deadline deadline) -> Result<std::pair<Socket, Address>>;

 private:
  using SocketBase::SocketBase;
  explicit Listener(Socket socket) noexcept : SocketBase(std::move(socket)) {}
};

}  // namespace parley::os
