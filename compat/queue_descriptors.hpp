// The descriptors of this process that are queues: what each of them is open for.
//
// A message queue descriptor is the descriptor of the queue's file, and the handle's own, so its
// number is nobody else's while it is open, exec(2) closes it, and a child of fork(2) has it too.
// A call holds its queue by a count, so one that another thread closes stays until the call ends.
//
// A program may close it by close(2), too. Nothing tells us then: it is found out by the next
// mq_open(3), or where a call looks at the file. (Until then the number stands for the queue.)
#pragma once

#include <mqueue.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include <parley/message_queue.hpp>

#include "posix_names.hpp"

namespace parley::compat {

/// A page of memory that a process shares with its children of fork(2), and that exec(2) ends.
class SharedFlags {
 public:
  static auto create() -> Result<SharedFlags>;
  SharedFlags(SharedFlags&& other) noexcept : word_(std::exchange(other.word_, nullptr)) {}
  SharedFlags(const SharedFlags&) = delete;
  auto operator=(const SharedFlags&) -> SharedFlags& = delete;
  auto operator=(SharedFlags&&) -> SharedFlags& = delete;
  ~SharedFlags();

  [[nodiscard]] auto get() const noexcept -> int { return word_->load(std::memory_order_relaxed); }
  auto exchange(int flags) const noexcept -> int { return word_->exchange(flags); }

 private:
  explicit SharedFlags(std::atomic<int>* word) noexcept : word_(word) {}

  std::atomic<int>* word_;
};

/// An open message queue description, as this process has it.
struct OpenQueue {
  MessageQueue queue;
  FileNumbers file;
  bool may_receive;
  bool may_send;
  long messages_at_most;
  SharedFlags flags;  ///< O_NONBLOCK, or nothing.
};

class QueueDescriptors {
 private:
  struct Slot {
    /// How many calls use it; above, whether new ones may, and whether there is a queue in it.
    std::atomic<std::uint64_t> word{0};
    std::optional<OpenQueue> open;
  };

 public:
  /// A queue that is used: it stays until this goes.
  class Use {
   public:
    explicit Use(Slot& slot) noexcept;
    Use(Use&& other) noexcept
        : slot_(std::exchange(other.slot_, nullptr)), process_(other.process_) {}
    Use(const Use&) = delete;
    auto operator=(const Use&) -> Use& = delete;
    auto operator=(Use&&) -> Use& = delete;
    ~Use() {
      if (slot_ != nullptr) leave();
    }

    auto operator->() const noexcept -> OpenQueue* { return &*slot_->open; }

   private:
    void leave() noexcept;

    Slot* slot_;
    std::uint32_t process_;
  };

  /// Nothing where the number is none of a queue's.
  auto use(mqd_t number) noexcept -> std::optional<Use>;
  /// The same, for calls that take a system call's time: also nothing if it was closed behind us.
  auto use_checked(mqd_t number) noexcept -> std::optional<Use>;

  // Under `Opening`:

  /// Takes in what was opened; its number.
  auto add(OpenQueue&& open) -> Result<mqd_t>;
  /// Closes it. False where the number is none of a queue's, or not any more.
  auto close(mqd_t number) -> bool;
  /// Forgets those that the program closed by close(2).
  void sweep();

  /// In a child of fork(2): the other threads' calls are not there.
  void forget_calls() noexcept;

 private:
  static constexpr std::uint64_t is_open = std::uint64_t{1} << 63U;
  static constexpr std::uint64_t is_whole = std::uint64_t{1} << 62U;
  static constexpr std::uint64_t is_ending = std::uint64_t{1} << 61U;

  static void end_if_unused(Slot& slot) noexcept;
  auto slot_of(mqd_t number) noexcept -> Slot*;

  std::array<std::atomic<Slot*>, 65536> slots_{};
  mqd_t end_ = 0;  ///< No number from here on was ever a queue's.
};

/// This process's.
auto queue_descriptors() noexcept -> QueueDescriptors&;

}  // namespace parley::compat
