// The sending half of Socket.
#include <poll.h>

#include <algorithm>
#include <array>
#include <deque>
#include <vector>

#include <parley/os/socket.hpp>

#include "os/control.hpp"
#include "os/socket_wait.hpp"
#include "os/sys.hpp"
#include "os/wait.hpp"

namespace parley::os {
namespace {

using Sent = std::expected<void, SendError>;

auto flags_of(SendOptions options) -> int {
  return MSG_NOSIGNAL | MSG_DONTWAIT | (options.more ? MSG_MORE : 0) |
         (options.end_of_record ? MSG_EOR : 0) | (options.out_of_band ? MSG_OOB : 0) |
         (options.dont_route ? MSG_DONTROUTE : 0) | (options.confirm ? MSG_CONFIRM : 0) |
         (options.zero_copy ? MSG_ZEROCOPY : 0);
}

/// What is left to send of `bytes` and `areas`. Allocates only where there are areas.
class Unsent {
 public:
  Unsent(std::span<const std::byte> bytes, std::span<const iovec> areas) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): iovec serves both directions.
    const iovec first{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    single_ = {first};
    rest_ = single_;
    if (areas.empty()) return;
    several_.reserve(areas.size() + 1);
    if (!bytes.empty()) several_.push_back(first);
    several_.insert(several_.end(), areas.begin(), areas.end());
    rest_ = several_;
  }
  Unsent(const Unsent&) = delete;
  auto operator=(const Unsent&) -> Unsent& = delete;

  [[nodiscard]] auto size_bytes() const -> std::size_t {
    std::size_t size = 0;
    for (const iovec& area : rest_) size += area.iov_len;
    return size;
  }

  [[nodiscard]] auto areas() const -> std::span<iovec> { return rest_; }

  /// The next byte alone.
  auto first_byte() -> std::array<iovec, 1> {
    while (rest_.front().iov_len == 0) rest_ = rest_.subspan(1);
    return {iovec{.iov_base = rest_.front().iov_base, .iov_len = 1}};
  }

  void consume(std::size_t count_bytes) {
    while (count_bytes > 0) {
      iovec& area = rest_.front();
      const std::size_t step = std::min(count_bytes, area.iov_len);
      area.iov_base = static_cast<std::byte*>(area.iov_base) + step;
      area.iov_len -= step;
      count_bytes -= step;
      if (area.iov_len == 0 && rest_.size() > 1) rest_ = rest_.subspan(1);
    }
  }

 private:
  std::array<iovec, 1> single_{};
  std::vector<iovec> several_;
  std::span<iovec> rest_;
};

/// Waits until a local datagram socket that we are not connected to has room in its queue. Our own
/// socket cannot be polled for that; one that is connected to it can.
auto wait_for_receiver(const Address& to, Deadline deadline) -> Result<void> {
  auto watcher = PARLEY_TRY(Socket::create(Family::local, SocketType::datagram));
  PARLEY_TRY(watcher.connect(to, deadline));
  PARLEY_TRY(wait_ready(watcher.fd(), POLLOUT, deadline));
  return {};
}

/// One sendmsg(2) or sendmmsg(2), when there is room for it; `to` is whom it goes to first.
template <class Attempt>
auto send_once(const Socket& socket, const Address* to, Deadline deadline, Attempt attempt)
    -> Result<std::size_t> {
  SocketWait room(socket.fd(), POLLOUT);
  for (;;) {
    const auto sent = attempt();
    if (sent) return static_cast<std::size_t>(*sent);
    if (sent.error() == Error::would_block) {
      PARLEY_TRY(room.wait(deadline));
      if (to != nullptr && socket.family() == Family::local) {
        PARLEY_TRY(wait_for_receiver(*to, deadline));
      }
    } else if (sent.error() != Error::interrupted) {
      return failure(sent.error());
    }
  }
}

auto needs_local_socket(const Attachments& attachments) -> bool {
  return !attachments.descriptors.empty() || attachments.credentials;
}

auto header_for(const Address* to, std::span<iovec> areas, std::span<std::byte> control) -> msghdr {
  msghdr message{};
  if (to != nullptr) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): msghdr serves both directions.
    message.msg_name = const_cast<sockaddr*>(to->data());
    message.msg_namelen = to->size_bytes();
  }
  // The counts' types differ between C libraries.
  message.msg_iov = areas.data();
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(areas.size());
  if (!control.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = static_cast<decltype(message.msg_controllen)>(control.size());
  }
  return message;
}

}  // namespace

auto Socket::send_message(const Outgoing& message, Deadline deadline, SendOptions options) -> Sent {
  const Attachments& attachments = message.attachments;
  const auto all = attachments.descriptors;
  const bool is_stream = type_ == SocketType::stream;
  const bool is_local_only = needs_local_socket(attachments);
  const std::size_t message_count = std::max(
      std::size_t{1}, (all.size() + descriptors_per_message - 1) / descriptors_per_message);
  Unsent unsent(message.bytes, message.areas);
  if (is_local_only && family_ != Family::local) return std::unexpected(Error::invalid);
  if (is_stream && is_local_only && unsent.size_bytes() < message_count) {
    return std::unexpected(Error::invalid);
  }

  SendError progress(Error{});
  for (std::size_t index = 0; index < message_count; ++index) {
    const bool is_last = index + 1 == message_count;
    const auto chunk =
        all.subspan(index * descriptors_per_message)
            .first(std::min(descriptors_per_message, all.size() - index * descriptors_per_message));
    auto control = build_control(attachments, chunk, family_);
    std::size_t todo = is_last ? unsent.size_bytes() : is_stream ? 1 : 0;
    std::array<iovec, 1> one{};
    if (!is_last && is_stream) one = unsent.first_byte();
    do {
      const std::span<iovec> areas = is_last ? unsent.areas() : std::span<iovec>(one);
      msghdr header = header_for(message.to, areas, control);
      const auto sent = send_once(*this, message.to, deadline, [&] {
        return sys::call<::sendmsg>(fd_.number(), &header, flags_of(options));
      });
      if (!sent) {
        progress.error = sent.error();
        return std::unexpected(progress);
      }
      if (!control.empty()) progress.descriptors_sent += chunk.size();
      control.clear();  // what follows of a stream goes without
      progress.bytes_sent += *sent;
      unsent.consume(*sent);
      todo -= *sent;
    } while (todo > 0);
  }
  return {};
}

auto Socket::send_batch(std::span<const Outgoing> messages, Deadline deadline, SendOptions options)
    -> Sent {
  if (type_ == SocketType::stream) return std::unexpected(Error::invalid);
  // In deques, as the headers point at them.
  std::deque<Unsent> contents;
  std::deque<std::vector<std::byte>> controls;
  std::vector<mmsghdr> headers;
  headers.reserve(messages.size());
  for (const Outgoing& message : messages) {
    const auto& attachments = message.attachments;
    const bool is_misplaced = needs_local_socket(attachments) && family_ != Family::local;
    if (is_misplaced || attachments.descriptors.size() > descriptors_per_message) {
      return std::unexpected(Error::invalid);
    }
    const auto areas = contents.emplace_back(message.bytes, message.areas).areas();
    auto& control =
        controls.emplace_back(build_control(attachments, attachments.descriptors, family_));
    headers.push_back({.msg_hdr = header_for(message.to, areas, control), .msg_len = 0});
  }

  SendError progress(Error{});
  while (progress.messages_sent < messages.size()) {
    const auto rest = std::span(headers).subspan(progress.messages_sent);
    const auto sent = send_once(*this, messages[progress.messages_sent].to, deadline, [&] {
      return sys::call<::sendmmsg>(fd_.number(), rest.data(), static_cast<unsigned>(rest.size()),
                                   flags_of(options));
    });
    if (!sent) {
      progress.error = sent.error();
      return std::unexpected(progress);
    }
    for (const mmsghdr& header : rest.first(*sent)) {
      progress.bytes_sent += header.msg_len;
      progress.descriptors_sent += messages[progress.messages_sent].attachments.descriptors.size();
      ++progress.messages_sent;
    }
  }
  return {};
}

auto Socket::send(std::span<const std::byte> bytes, Deadline deadline, SendOptions options)
    -> Sent {
  return send_message({.bytes = bytes}, deadline, options);
}

auto Socket::send_to(std::span<const std::byte> bytes, const Address& to, Deadline deadline,
                     SendOptions options) -> Sent {
  return send_message({.bytes = bytes, .to = &to}, deadline, options);
}

}  // namespace parley::os
