// The calls that wait for an object, in the order in which they came: what is done with their
// records under the object's latch.
//
// Owners      a record in the line: the latch's holder; its state: by exchange, the holder and the
//             call, and whoever makes one that sleeps look again. A free record, once it is taken
//             under the latch, and a decided one: the call.
// Invariants  I1 a record is linked if and only if its state is undecided or cancelled; both change
//                in one transaction, which the state itself decides.
// Edges       DECIDE  the exchange of a record's state by the latch's holder -> the call that
//             waits: what it waited for is done, or will be by whoever takes the latch over.
// Crash       A call that dies while it waits leaves its record to `bury`. A holder that dies after
//             a decision may not have woken whom it decided: see `wake_decided`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include <parley/error.hpp>

#include "objects/wake_list.hpp"
#include "shm/backed_parts.hpp"
#include "shm/layout/waiting_line.hpp"
#include "shm/transaction.hpp"

namespace parley {

/// Who calls: a participant's place, and its process as it knows itself.
struct Caller {
  std::uint32_t place;
  std::uint32_t process;
};

class WaitingLine {
 public:
  using Words = std::span<shm::Atomic<std::uint64_t>>;
  class Walk;

  /// A record is a Waiter with words of the object's own behind it; all of these are parts of the
  /// journal's body.
  WaitingLine(const shm::JournalPlace& journal, shm::LineEnds& ends,
              const shm::BackedParts& records) noexcept
      : journal_(journal), ends_(ends), records_(records) {}

  [[nodiscard]] auto is_empty() const noexcept -> bool {
    return ends_.first.load_relaxed() == 0;  // we hold the latch
  }
  /// Records that have memory, free or not.
  [[nodiscard]] auto count() const noexcept -> std::uint32_t { return records_.count(); }
  /// `index` must be below `count()`.
  [[nodiscard]] auto record(std::uint32_t index) const noexcept -> shm::Waiter& {
    auto* const at = journal_.body.data() + records_.shape().end_of(index);
    return *std::launder(reinterpret_cast<shm::Waiter*>(at));
  }
  /// The object's own words of a record of this line.
  [[nodiscard]] auto words(shm::Waiter& record) const noexcept -> Words {
    auto* const behind = reinterpret_cast<std::byte*>(&record) + sizeof(shm::Waiter);
    return {std::launder(reinterpret_cast<shm::Atomic<std::uint64_t>*>(behind)),
            (records_.shape().each_bytes - sizeof(shm::Waiter)) / sizeof(std::uint64_t)};
  }

  /// The index of a free record, whose own words the caller then writes. `no_space`: all that have
  /// memory are taken.
  [[nodiscard]] auto free_record() const -> Result<std::uint32_t>;

  /// Has memory for more records, if there are more. `no_space` where there is none.
  auto back_more(const shm::Segment& segment) const -> Result<void>;

  /// Where the records end that have memory: an offset in the body.
  [[nodiscard]] auto backed_end() const noexcept -> std::size_t {
    return records_.shape().end_of(count());
  }

  /// Puts a free record at the end of the line.
  auto append(std::uint32_t index, Caller caller, std::uint32_t request) -> Result<void>;

  /// Decides everybody's wait.
  auto turn_away(std::uint64_t decided, WakeList& wakes) -> Result<void>;

  /// Wakes all whose wait was decided and who have not seen it.
  void wake_decided(WakeList& wakes) const noexcept;

  /// Has one who sleeps look again. Needs no latch.
  void rouse_one() const noexcept;

  /// Takes a dead participant's calls out of the line and frees their records.
  auto bury(std::uint32_t place) -> Result<void>;

 private:
  shm::JournalPlace journal_;
  shm::LineEnds& ends_;
  shm::BackedParts records_;
};

/// A way along the line, from the first on, under the latch.
class WaitingLine::Walk {
 public:
  explicit Walk(const WaitingLine& line) noexcept : line_(line) { restart(); }

  void restart() noexcept {
    before_ = 0;
    at_ = line_.ends_.first.load_relaxed();
    steps_ = 0;
  }

  [[nodiscard]] auto is_at_end() const noexcept -> bool { return at_ == 0; }

  /// The record where we are. `corrupt`: the line names one that does not exist, or has no end.
  auto here() -> Result<shm::Waiter*>;

  void advance() noexcept;

  /// Takes the record where we are out of the line, frees it, and steps on to the next: its call
  /// gave up, or is dead.
  auto free_here() -> Result<void>;

  /// Commits what the transaction has collected, takes the record where we are out of the line and
  /// decides its wait, all at once, and steps on to the next. False, and nothing has happened and
  /// we are where we were: its state is not `seen` any more, since the call has meanwhile gone to
  /// sleep or given up. The transaction is spent either way.
  auto decide_here(shm::Transaction& transaction, std::uint64_t seen, std::uint64_t decided,
                   WakeList& wakes) -> Result<bool>;

 private:
  [[nodiscard]] auto index() const noexcept -> std::uint32_t {
    return static_cast<std::uint32_t>(at_ - 1);
  }
  /// What is behind the record where we are.
  auto unlink(shm::Transaction& transaction) -> std::uint64_t;

  const WaitingLine& line_;
  std::uint64_t before_ = 0;
  std::uint64_t at_ = 0;
  std::size_t steps_ = 0;
};

}  // namespace parley
