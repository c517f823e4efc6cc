// A handle on a queue: its latched table, and the operations on it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <parley/message_queue.hpp>

#include "objects/latched_object.hpp"
#include "objects/message_table.hpp"

namespace parley {

class MessageQueue::State : public LatchedObject<MessageTable> {
 public:
  static auto of(shm::Segment segment) -> Result<std::shared_ptr<State>>;

  auto send(std::span<const std::byte> message, MessageLabel label, Deadline deadline)
      -> Result<void>;
  auto receive(std::span<std::byte> into, const ReceiveOptions& options, Deadline deadline)
      -> Result<Received>;
  auto peek(std::span<std::byte> into, const ReceiveOptions& options,
            std::optional<std::size_t> position) -> Result<Received>;

  /// A slot that this participant holds, and what its state said when it got it.
  struct Holding {
    std::uint32_t slot;
    std::uint64_t word;
    std::span<std::byte> bytes;
    Received about;
  };
  auto take(Selection selection, Deadline deadline) -> Result<Holding>;
  auto reserve(std::size_t size_bytes, Deadline deadline) -> Result<Holding>;

  // `not_permitted` where it is not this participant's.
  auto publish(const Holding& holding, MessageLabel label, Deadline deadline) -> Result<void>;
  auto acknowledge(const Holding& holding) -> Result<void>;
  auto give_back(const Holding& holding) -> Result<void>;
  /// Also where the latch is not to be had: it is then done by the next call.
  void abandon(const Holding& holding, shm::MessageKind kind) noexcept;

  auto limit(const MessageQueueLimits& limits) -> Result<void>;
  auto remove() -> Result<void>;

  /// Runs `look` under the latch, in a queue whose dead are buried. `removed` once the queue is.
  template <class Look>
  auto look(Look look) -> decltype(look(std::declval<const MessageTable&>())) {
    Locked locked(*this);
    PARLEY_TRY(begin(locked, Deadline::now()));
    auto seen = look(table());
    PARLEY_TRY(locked.close());
    return seen;
  }
  [[nodiscard]] auto memory_bytes() const noexcept -> std::size_t;

 private:
  using LatchedObject::LatchedObject;

  auto begin(Locked& locked, Deadline deadline) -> Result<void>;
  auto end(Locked& locked) -> Result<void>;

  /// Runs `attempt` under the latch, with memory for what it needs. Where it would have to wait,
  /// the call lines up and waits: the slot that it is then granted, else nothing.
  template <class Attempt>
  auto call(const MessageTable::Wish& wish, Deadline deadline, Attempt attempt)
      -> Result<std::optional<std::uint32_t>>;
  auto wait_in_line(std::uint32_t index, Deadline deadline) -> Result<std::optional<std::uint32_t>>;
  auto collect(std::uint32_t index, Deadline deadline) -> Result<std::optional<std::uint32_t>>;

  /// For a slot that was granted; it is free again where there is no memory for it.
  auto furnish(std::uint32_t slot, Deadline deadline) -> Result<void>;
  auto fill(std::uint32_t slot, std::span<const std::byte> message, MessageLabel label,
            Deadline deadline) -> Result<void>;
  auto copy_out(std::uint32_t slot, std::span<std::byte> into, Deadline deadline)
      -> Result<Received>;
  /// Error{} where the slot's words make sense.
  auto describe(std::uint32_t slot, Received& about) const -> Error;
  auto holding(std::uint32_t slot, shm::MessageKind kind) const -> Result<Holding>;
  template <class Do>
  auto with_holding(const Holding& holding, Deadline deadline, Do act) -> Result<void>;
  template <class Do>
  auto with_memory(const Holding& holding, Deadline deadline, Do act) -> Result<void>;

  auto back(MessageMark mark, Deadline deadline) -> Result<void>;
  auto trim() -> Result<void>;

  bool unsettled_ = false;  ///< There is something for MessageTable::settle.
};

}  // namespace parley
