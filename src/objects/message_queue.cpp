#include <parley/message_queue.hpp>

#include <algorithm>
#include <utility>

#include "objects/message_queue_state.hpp"

namespace parley {
namespace {

auto label_of(const MessageOptions& options) -> MessageLabel {
  return {.tag = options.tag, .priority = options.priority};
}

/// A word of `last_send` or `last_receive`.
auto time_of(std::uint64_t word) -> std::optional<std::chrono::sys_seconds> {
  if (word == 0) return std::nullopt;
  return std::chrono::sys_seconds(std::chrono::seconds(shm::low_half(word)));
}

auto make(std::string_view name, MessageQueueOptions options) -> Result<shm::Segment> {
  constexpr std::uint64_t message_bytes_unless_told = std::uint64_t{1} << 20U;
  if (options.message_bytes == 0) {
    options.message_bytes =
        static_cast<std::uint32_t>(std::min(options.bytes, message_bytes_unless_told));
  }
  const bool sound =
      options.messages >= 1 && options.messages <= shm::messages_at_most &&
      options.message_bytes >= 1 && options.message_bytes <= shm::message_bytes_at_most &&
      options.bytes >= options.message_bytes && options.bytes <= shm::queue_bytes_at_most &&
      options.waiters >= 1 && options.waiters <= 0xffff && options.redeliveries < 0xffff &&
      options.participants < shm::places_at_most;
  if (!sound) return failure(Error::invalid);
  const shm::MessageQueueShape shape{.messages = options.messages,
                                     .message_bytes = options.message_bytes,
                                     .bytes = options.bytes,
                                     .waiters = options.waiters,
                                     .place_count = options.participants + 1};
  const auto backed = MessageTable::backed_at_first(shape);
  return shm::Segment::create({.name = name, .mode = options.mode},
                              {.kind = shm::ObjectKind::message_queue,
                               .body_version = shm::message_queue_version,
                               .participants = options.participants,
                               .body_bytes = shape.body_bytes(),
                               .backed = backed},
                              [&](std::span<std::byte> body) {
                                MessageTable::create(body, shape,
                                                     {.redeliveries = options.redeliveries,
                                                      .dead_letter_tag = options.dead_letter_tag});
                              });
}

}  // namespace

MessageQueue::MessageQueue(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
MessageQueue::MessageQueue(MessageQueue&&) noexcept = default;
auto MessageQueue::operator=(MessageQueue&&) noexcept -> MessageQueue& = default;
MessageQueue::~MessageQueue() = default;

auto MessageQueue::create(const MessageQueueOptions& options) -> Result<MessageQueue> {
  return MessageQueue(PARLEY_TRY(State::of(PARLEY_TRY(make({}, options)))));
}

auto MessageQueue::create(std::string_view name, const MessageQueueOptions& options)
    -> Result<MessageQueue> {
  if (name.empty()) return failure(Error::invalid);
  auto state = PARLEY_TRY(State::of(PARLEY_TRY(make(name, options))));
  PARLEY_TRY(state->segment().publish(name));
  return MessageQueue(std::move(state));
}

auto MessageQueue::open(std::string_view name) -> Result<MessageQueue> {
  return MessageQueue(PARLEY_TRY(State::of(PARLEY_TRY(
      shm::Segment::open(name, shm::ObjectKind::message_queue, shm::message_queue_version)))));
}

auto MessageQueue::open_or_create(std::string_view name, const MessageQueueOptions& options)
    -> Result<MessageQueue> {
  return shm::open_or_create([&] { return open(name); }, [&] { return create(name, options); });
}

auto MessageQueue::adopt(os::OwnedFd fd) -> Result<MessageQueue> {
  return MessageQueue(PARLEY_TRY(State::of(PARLEY_TRY(shm::Segment::adopt(
      std::move(fd), shm::ObjectKind::message_queue, shm::message_queue_version)))));
}

auto MessageQueue::unlink(std::string_view name) -> Result<void> {
  return shm::Segment::unlink(name);
}

auto MessageQueue::descriptor() const noexcept -> os::BorrowedFd {
  return state_->descriptor();
}

auto MessageQueue::close_descriptor() -> Result<void> {
  return state_->close_descriptor();
}

auto MessageQueue::message_bytes_at_most() const noexcept -> std::size_t {
  return state_->table().shape().message_bytes;
}

void MessageQueue::set_wait_strategy(WaitStrategy strategy) noexcept {
  state_->set_wait_strategy(strategy);
}

auto MessageQueue::send(std::span<const std::byte> message, const MessageOptions& options,
                        Deadline deadline) -> Result<void> {
  return state_->send(message, label_of(options), deadline);
}

auto MessageQueue::receive(std::span<std::byte> into, const ReceiveOptions& options,
                           Deadline deadline) -> Result<Received> {
  return state_->receive(into, options, deadline);
}

auto MessageQueue::peek(std::span<std::byte> into, const ReceiveOptions& options)
    -> Result<Received> {
  return state_->peek(into, options, std::nullopt);
}

auto MessageQueue::peek_at(std::size_t position, std::span<std::byte> into,
                           const ReceiveOptions& options) -> Result<Received> {
  return state_->peek(into, options, position);
}

auto MessageQueue::take(Selection selection, Deadline deadline) -> Result<TakenMessage> {
  const auto holding = PARLEY_TRY(state_->take(selection, deadline));
  TakenMessage message;
  message.state_ = state_;
  message.bytes_ = holding.bytes;
  message.about_ = holding.about;
  message.slot_ = holding.slot;
  message.word_ = holding.word;
  return message;
}

auto MessageQueue::reserve(std::size_t size_bytes, Deadline deadline) -> Result<ReservedMessage> {
  const auto holding = PARLEY_TRY(state_->reserve(size_bytes, deadline));
  ReservedMessage message;
  message.state_ = state_;
  message.bytes_ = holding.bytes;
  message.slot_ = holding.slot;
  message.word_ = holding.word;
  return message;
}

auto MessageQueue::status() -> Result<MessageQueueStatus> {
  return state_->look([&](const MessageTable& table) -> Result<MessageQueueStatus> {
    const auto waiting = PARLEY_TRY(table.waiting());
    const auto held = PARLEY_TRY(table.held());
    const auto& body = table.body();
    const auto sent = body.last_send.load_relaxed();
    const auto received = body.last_receive.load_relaxed();
    const auto change = body.last_change.load_relaxed();
    return MessageQueueStatus{
        .participants = state_->participants(),
        .messages = table.messages(),
        .bytes = table.bytes(),
        .taken = held.taken,
        .reserved = held.reserved,
        .messages_at_most = table.limit().messages,
        .bytes_at_most = table.limit().bytes,
        .message_bytes_at_most = table.shape().message_bytes,
        .memory_bytes = state_->memory_bytes(),
        .receivers_waiting = waiting.receivers,
        .senders_waiting = waiting.senders,
        .last_sender = static_cast<pid_t>(shm::high_half(sent)),
        .last_receiver = static_cast<pid_t>(shm::high_half(received)),
        .last_send = time_of(sent),
        .last_receive = time_of(received),
        .last_change = std::chrono::sys_seconds(std::chrono::seconds(change))};
  });
}

auto MessageQueue::depths() -> Result<std::vector<TagDepth>> {
  return state_->look([](const MessageTable& table) { return table.depths(); });
}

auto MessageQueue::limit(const MessageQueueLimits& limits) -> Result<void> {
  return state_->limit(limits);
}

auto MessageQueue::remove() -> Result<void> {
  return state_->remove();
}

TakenMessage::TakenMessage(TakenMessage&& other) noexcept = default;
ReservedMessage::ReservedMessage(ReservedMessage&& other) noexcept = default;

auto TakenMessage::operator=(TakenMessage&& other) noexcept -> TakenMessage& {
  std::swap(state_, other.state_);
  std::swap(bytes_, other.bytes_);
  std::swap(about_, other.about_);
  std::swap(slot_, other.slot_);
  std::swap(word_, other.word_);
  return *this;
}

auto ReservedMessage::operator=(ReservedMessage&& other) noexcept -> ReservedMessage& {
  std::swap(state_, other.state_);
  std::swap(bytes_, other.bytes_);
  std::swap(slot_, other.slot_);
  std::swap(word_, other.word_);
  return *this;
}

TakenMessage::~TakenMessage() {
  if (state_ == nullptr) return;
  state_->abandon({.slot = slot_, .word = word_, .bytes = {}, .about = {}}, shm::message_returned);
}

ReservedMessage::~ReservedMessage() {
  if (state_ == nullptr) return;
  state_->abandon({.slot = slot_, .word = word_, .bytes = {}, .about = {}}, shm::message_finished);
}

auto TakenMessage::acknowledge() -> Result<void> {
  if (state_ == nullptr) return failure(Error::invalid);
  PARLEY_TRY(state_->acknowledge({.slot = slot_, .word = word_, .bytes = {}, .about = {}}));
  bytes_ = {};
  state_.reset();
  return {};
}

auto TakenMessage::give_back() -> Result<void> {
  if (state_ == nullptr) return failure(Error::invalid);
  PARLEY_TRY(state_->give_back({.slot = slot_, .word = word_, .bytes = {}, .about = {}}));
  bytes_ = {};
  state_.reset();
  return {};
}

auto ReservedMessage::publish(const MessageOptions& options) -> Result<void> {
  if (state_ == nullptr) return failure(Error::invalid);
  PARLEY_TRY(state_->publish({.slot = slot_, .word = word_, .bytes = {}, .about = {}},
                             label_of(options), Deadline::now()));
  bytes_ = {};
  state_.reset();
  return {};
}

}  // namespace parley
