// The receiving half of Socket.
#include <poll.h>

#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <optional>
#include <vector>

#include <parley/os/socket.hpp>

#include "os/control.hpp"
#include "os/socket_wait.hpp"
#include "os/sys.hpp"

namespace parley::os {
namespace {

using Message = std::expected<ReceivedMessage, ReceiveError>;

/// Room for the control data of any one message.
struct ControlBuffer {
  alignas(cmsghdr) std::array<std::byte, 2304> bytes;
};

/// Where one message shall go, with all that comes beside it. Allocates only where there are areas.
class Place {
 public:
  explicit Place(const Incoming& message) : max_descriptors_(message.max_descriptors) {
    single_ = {.iov_base = message.into.data(), .iov_len = message.into.size()};
    capacity_bytes_ = single_.iov_len;
    if (message.areas.empty()) return;
    several_.reserve(message.areas.size() + 1);
    several_.push_back(single_);
    several_.insert(several_.end(), message.areas.begin(), message.areas.end());
    for (const iovec& area : message.areas) capacity_bytes_ += area.iov_len;
  }
  Place(const Place&) = delete;
  auto operator=(const Place&) -> Place& = delete;

  [[nodiscard]] auto capacity_bytes() const -> std::size_t { return capacity_bytes_; }

  /// For one call of the kernel, which writes into it.
  auto header() -> msghdr {
    const std::span<iovec> areas =
        several_.empty() ? std::span<iovec>(&single_, 1) : std::span<iovec>(several_);
    msghdr header{};
    header.msg_name = &name_;
    header.msg_namelen = sizeof(name_);
    header.msg_iov = areas.data();
    // The counts' types differ between C libraries.
    header.msg_iovlen = static_cast<decltype(header.msg_iovlen)>(areas.size());
    header.msg_control = control_.bytes.data();
    header.msg_controllen = static_cast<decltype(header.msg_controllen)>(
        control_capacity_bytes(std::min(max_descriptors_, descriptors_per_message)));
    return header;
  }

  /// What the kernel put here, checked.
  [[nodiscard]] auto take(const msghdr& header, std::size_t size_bytes, const Socket& socket,
                          ReceiveOptions options) const -> Message;

 private:
  std::size_t max_descriptors_;
  iovec single_{};
  std::vector<iovec> several_;
  std::size_t capacity_bytes_ = 0;
  sockaddr_storage name_{};
  ControlBuffer control_;  // not zeroed: the kernel says how much of it it wrote
};

auto failure_with(Error error, std::size_t message_bytes) -> std::unexpected<ReceiveError> {
  ReceiveError why(error);
  why.message_bytes = message_bytes;
  return std::unexpected(why);
}

auto flags_of(ReceiveOptions options, bool is_stream) -> int {
  // MSG_TRUNC tells the whole length of a message, but throws a stream's bytes away.
  const bool tells_length = !is_stream && !options.error_queue;
  return MSG_CMSG_CLOEXEC | MSG_DONTWAIT | (tells_length ? MSG_TRUNC : 0) |
         (options.peek ? MSG_PEEK : 0) | (options.out_of_band ? MSG_OOB : 0) |
         (options.error_queue ? MSG_ERRQUEUE : 0);
}

auto sender_of(const msghdr& header, const sockaddr_storage& storage, const Socket& socket)
    -> Address {
  if (header.msg_namelen == 0) {
    const bool is_message = socket.type() != SocketType::stream;
    return socket.family() == Family::local && is_message ? Address::unnamed() : Address();
  }
  const auto* raw = reinterpret_cast<const sockaddr*>(&storage);
  return Address::from_sockaddr(raw, header.msg_namelen).value_or(Address());
}

auto Place::take(const msghdr& header, std::size_t size_bytes, const Socket& socket,
                 ReceiveOptions options) const -> Message {
  // First of all every descriptor gets its owner.
  auto ancillary = parse_control(std::span(control_.bytes).first(header.msg_controllen));
  if (!ancillary) return failure_with(ancillary.error(), size_bytes);
  const bool is_cut = (header.msg_flags & MSG_CTRUNC) != 0;
  if (is_cut || ancillary->descriptors.size() > max_descriptors_) {
    return failure_with(Error::no_buffer_space, size_bytes);
  }
  if (size_bytes > capacity_bytes_) return failure_with(Error::message_too_long, size_bytes);
  ReceivedMessage message;
  message.size_bytes = size_bytes;
  message.end_of_record = (header.msg_flags & MSG_EOR) != 0;
  message.out_of_band = (header.msg_flags & MSG_OOB) != 0;
  message.from = sender_of(header, name_, socket);
  message.ancillary = *std::move(ancillary);
  const bool is_stream = socket.type() == SocketType::stream;
  const bool can_end =
      is_stream || (socket.type() == SocketType::seqpacket && socket.family() == Family::local &&
                    header.msg_controllen == 0);
  message.ended = size_bytes == 0 && can_end && !options.error_queue;
  return message;
}

auto the_end() -> ReceivedMessage {
  ReceivedMessage end;
  end.ended = true;
  return end;
}

/// Makes one call of the kernel until it brings something; nothing where nothing will come any
/// more.
template <class Attempt>
auto when_arrived(const Socket& socket, Deadline deadline, ReceiveOptions options, Attempt attempt)
    -> Result<std::optional<std::size_t>> {
  // The kernel would take no notice of these and receive what is ordinary.
  if ((options.error_queue && socket.family() == Family::local) ||
      (options.out_of_band && socket.type() != SocketType::stream)) {
    return failure(Error::not_supported);
  }
  const int what = options.error_queue ? POLLERR : options.out_of_band ? POLLPRI : POLLIN;
  SocketWait arrival(socket.fd(), static_cast<short>(what | (options.error_queue ? 0 : POLLRDHUP)));
  bool nothing_will_come = false;
  bool waited = false;
  for (;;) {
    const auto received = attempt();
    if (received) return static_cast<std::size_t>(*received);
    const Error error = received.error();
    if (error == Error::interrupted) continue;
    // No urgent byte yet is the same error as none to come.
    const bool not_urgent_yet = options.out_of_band && error == Error::invalid && !waited;
    if (error != Error::would_block && !not_urgent_yet) return failure(error);
    if (nothing_will_come) return std::nullopt;
    const short ready = PARLEY_TRY(arrival.wait(deadline));
    waited = true;
    // A socket of datagrams that was shut down for receiving blocks for ever and is ready for ever.
    nothing_will_come = (ready & POLLRDHUP) != 0;
  }
}

}  // namespace

auto Socket::receive_message(const Incoming& message, Deadline deadline, ReceiveOptions options)
    -> Message {
  Place place(message);
  const bool is_stream = type_ == SocketType::stream;
  if (is_stream && place.capacity_bytes() == 0 && !options.error_queue) {
    return std::unexpected(Error::invalid);
  }
  msghdr header{};
  const auto size_bytes = PARLEY_TRY(when_arrived(*this, deadline, options, [&] {
    header = place.header();
    return sys::call<::recvmsg>(fd_.number(), &header, flags_of(options, is_stream));
  }));
  if (!size_bytes) return the_end();
  return place.take(header, *size_bytes, *this, options);
}

auto Socket::receive_batch(std::span<const Incoming> places, Deadline deadline,
                           ReceiveOptions options) -> Result<std::vector<Message>> {
  if (type_ == SocketType::stream) return failure(Error::invalid);
  std::deque<Place> into(places.begin(), places.end());
  std::vector<mmsghdr> headers(places.size());
  const auto count = PARLEY_TRY(when_arrived(*this, deadline, options, [&] {
    std::ranges::transform(into, headers.begin(), [](Place& place) {
      return mmsghdr{.msg_hdr = place.header(), .msg_len = 0};
    });
    return sys::call<::recvmmsg>(fd_.number(), headers.data(),
                                 static_cast<unsigned>(headers.size()), flags_of(options, false),
                                 static_cast<timespec*>(nullptr));
  }));
  std::vector<Message> messages;
  messages.reserve(count.value_or(1));
  if (!count) messages.emplace_back(the_end());
  for (std::size_t index = 0; index < count.value_or(0); ++index) {
    const mmsghdr& header = headers[index];
    messages.push_back(into[index].take(header.msg_hdr, header.msg_len, *this, options));
    // Linux shows the end of a seqpacket socket in all places that are left.
    if (messages.back() && messages.back()->ended) break;
  }
  return messages;
}

auto Socket::receive_from(std::span<std::byte> into, Deadline deadline, ReceiveOptions options)
    -> std::expected<ReceivedFrom, ReceiveError> {
  return PARLEY_TRY(receive_message({.into = into, .max_descriptors = 0}, deadline, options));
}

auto Socket::receive(std::span<std::byte> into, Deadline deadline, ReceiveOptions options)
    -> std::expected<Received, ReceiveError> {
  return PARLEY_TRY(receive_message({.into = into, .max_descriptors = 0}, deadline, options));
}

auto Socket::receive_split(std::span<std::byte> into, std::size_t descriptor_count,
                           Deadline deadline) -> Message {
  std::vector<OwnedFd> descriptors;
  std::size_t done_bytes = 0;
  for (;;) {
    auto received = receive_message({.into = into.subspan(done_bytes),
                                     .max_descriptors = descriptor_count - descriptors.size()},
                                    deadline);
    if (!received)
      return failure_with(received.error(), done_bytes + received.error().message_bytes);
    std::ranges::move(received->ancillary.descriptors, std::back_inserter(descriptors));
    done_bytes += received->size_bytes;
    const bool is_full = type_ == SocketType::stream ? done_bytes == into.size() : done_bytes > 0;
    if (received->ended || is_full || descriptors.size() >= descriptor_count) {
      received->size_bytes = done_bytes;
      received->ancillary.descriptors = std::move(descriptors);
      return received;
    }
  }
}

auto Socket::receive_all(std::span<std::byte> into, Deadline deadline)
    -> std::expected<std::size_t, ReceiveError> {
  if (type_ != SocketType::stream) return std::unexpected(Error::invalid);
  std::size_t done_bytes = 0;
  while (done_bytes < into.size()) {
    const auto received = receive(into.subspan(done_bytes), deadline);
    if (!received)
      return failure_with(received.error(), done_bytes + received.error().message_bytes);
    if (received->ended) break;
    done_bytes += received->size_bytes;
  }
  return done_bytes;
}

auto Socket::next_message_bytes(Deadline deadline) -> Result<std::optional<std::size_t>> {
  if (type_ == SocketType::stream) return failure(Error::invalid);
  const auto looked = receive({}, deadline, {.peek = true});
  if (looked && looked->ended) return std::nullopt;
  if (looked) return 0;
  // It does not fit, and its descriptors are not welcome: either way its length is told.
  const Error error = looked.error();
  if (error != Error::message_too_long && error != Error::no_buffer_space) return failure(error);
  return looked.error().message_bytes;
}

}  // namespace parley::os
