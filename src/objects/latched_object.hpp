// A handle on an object that one latch guards: its segment, its table, how it is entered and left,
// and how its calls wait.
//
// The table is what is done under the latch. It has
//   static of(body, place_count) -> Result<Table>    checks that the body holds what it says
//   latch_words() -> shm::LatchWords&
//   recover() -> Result<void>         finishes what a dead holder of the latch had begun
//   bury(place) -> Result<void>       undoes and frees all that a dead participant left; `busy`
//                                     where its time was over: the rest is for the next
//   line() -> const WaitingLine&      of the calls that wait
//   somebody_waits() -> bool          whether `serve` may have something to do
//   serve(WakeList&) -> Result<void>  lets everybody proceed who can
//   wake_decided(WakeList&)           wakes all whose wait was decided and who have not seen it
// and, where something is to be done each time,
//   enter(), leave()                  after the latch was taken, before it is released
//   limit_by(TimeLimit&)              after the latch was taken: for the walks under it
// and, where serving may take long, `serve(WakeList&, TimeLimit&)`, which may break off, and
//   is_unserved() -> bool             whether it did, and nobody has finished it since
//   hand_on()                         has somebody who waits do so, without the latch
//
// Edges       DECIDE  see objects/waiting_line.hpp. UNSERVED  see objects/semaphore_table.hpp.
// Crash       A holder that dies between a change and `serve`, or between `serve` and the wake-ups,
//             leaves both to whoever takes the latch over; dead after its release, to whoever
//             buries it, also if somebody relied on it to go on serving.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <parley/deadline.hpp>
#include <parley/object.hpp>

#include "objects/spins.hpp"
#include "objects/time_limit.hpp"
#include "objects/waiting_line.hpp"
#include "objects/wake_list.hpp"
#include "os/keeper.hpp"
#include "shm/latch.hpp"
#include "shm/segment.hpp"
#include "shm/spin.hpp"

namespace parley {

template <class Table>
class LatchedObject {
 public:
  LatchedObject(shm::Segment segment, const Table& table) noexcept
      : segment_(std::move(segment)), table_(table) {}

  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd { return segment_.descriptor(); }
  auto close_descriptor() -> Result<void> { return segment_.close_descriptor(); }
  [[nodiscard]] auto segment() const noexcept -> const shm::Segment& { return segment_; }
  [[nodiscard]] auto table() noexcept -> Table& { return table_; }
  [[nodiscard]] auto table() const noexcept -> const Table& { return table_; }

  [[nodiscard]] auto spins() const noexcept -> std::uint32_t { return spins_; }
  void set_wait_strategy(WaitStrategy strategy) noexcept { spins_ = spins_of(strategy); }

  /// Participants that are alive, or not buried yet.
  [[nodiscard]] auto participants() const noexcept -> std::size_t;

  /// Who this process is in the object.
  [[nodiscard]] auto caller() const noexcept -> Caller {
    return {.place = segment_.place(), .process = segment_.process_id()};
  }

  /// For calls without a deadline of their own.
  static auto patient() -> Deadline { return Deadline::after(shm::patience); }

  /// The latch, once it was taken. When this goes, it is released, and then those are woken whose
  /// wait was decided.
  class Locked {
   public:
    explicit Locked(LatchedObject& object) noexcept : object_(object) {}
    Locked(const Locked&) = delete;
    auto operator=(const Locked&) -> Locked& = delete;
    ~Locked() {
      if (holds_) object_.unlock(*this);
    }

    /// Takes it and buries the dead. `busy` or the deadline's error where it is not to be had. An
    /// `heir` stands in place 0.
    auto take(Deadline deadline, bool heir = false) -> Result<void> {
      limit_ = TimeLimit(deadline);
      return object_.lock(deadline, heir, *this);
    }

    /// Serves those who wait, after a change. `corrupt` where the object was truncated meanwhile.
    auto close() -> Result<void> { return object_.close(*this); }

    /// For what is done under the latch.
    [[nodiscard]] auto limit() noexcept -> TimeLimit& { return limit_; }

    WakeList wakes;

   private:
    friend class LatchedObject;
    LatchedObject& object_;
    TimeLimit limit_{Deadline::now()};
    bool holds_ = false;
    bool waits_ = false;  ///< Its call waits in line, and looks again what is to be served.
  };

  /// Runs `act` under the latch, if that is free and nothing else is to be done there: nobody waits
  /// or is dead. Else nothing has happened. It is what a `Locked` would do, without the parts that
  /// are then not needed.
  template <class Act>
  auto run_at_once(Act act) -> bool;

  /// Sees to it that this process takes part, also in a child of fork(2). Taking the latch does.
  auto stand() -> Result<void> {
    if (segment_.is_current()) [[likely]]
      return {};
    return claim_place();
  }

  /// Puts a call in line by `enqueue`, under the latch: the index of its record. `no_space` where
  /// there is neither a record nor memory for one more; nothing has happened then.
  template <class Enqueue>
  auto line_up(Locked& locked, Enqueue enqueue) -> Result<std::uint32_t>;

  /// Returns what was decided of a call that was put in line, once it is: a state that is not
  /// undecided. The record is then the caller's, who reads it and makes it free. Or cancels it and
  /// fails, at the deadline or where waiting is impossible.
  auto wait_for(shm::Waiter& record, Deadline deadline) -> Result<std::uint64_t>;

  /// Sleeps until the word is woken or not what is expected, or somebody has died, who is then
  /// buried. For a loop that looks at the word again; it does so whatever this returns: the
  /// deadline's error, `interrupted`, or what makes waiting impossible.
  auto sleep(const std::uint32_t* futex_word, std::uint32_t expected, Deadline deadline)
      -> Result<void>;

  /// For a call that waits: buries the dead, if there are any, and serves who is unserved. Fails
  /// where that is not to be had by the deadline; somebody else is to do it then.
  auto tend_to_deaths(Deadline deadline) -> Result<void>;

  /// The same after each sleep of this object's that was not on its latch: what ended it may have
  /// been meant for one who sleeps on the latch.
  auto tend_after_sleep(Deadline deadline) -> Result<void> {
    latch().pass_the_bell_on();
    return tend_to_deaths(deadline);
  }

 private:
  [[nodiscard]] auto latch() const noexcept -> shm::Latch {
    return {segment_, table_.latch_words()};
  }
  [[nodiscard]] auto has_dead() const noexcept -> bool {
    return segment_.next_dead(0) < segment_.place_count();
  }
  [[nodiscard]] auto is_unserved() const noexcept -> bool {
    if constexpr (requires { table_.is_unserved(); }) return table_.is_unserved();
    return false;
  }
  [[gnu::noinline]] auto claim_place() -> Result<void>;
  auto lock(Deadline deadline, bool heir, Locked& locked) -> Result<void>;
  auto lock_slowly(Deadline deadline, bool heir) -> Result<bool>;
  void unlock(Locked& locked) noexcept;
  auto serve(Locked& locked) -> Result<void>;
  auto close(Locked& locked) -> Result<void>;
  auto catch_up(Locked& locked) -> Result<void>;
  auto await_decision(shm::Waiter& record, Deadline deadline) -> Result<std::uint64_t>;

  shm::Segment segment_;
  Table table_;
  std::uint32_t spins_ = spins_of(WaitStrategy::adaptive);
};

template <class Table>
auto LatchedObject<Table>::participants() const noexcept -> std::size_t {
  std::size_t count = 0;
  for (std::uint32_t at = 0; at < segment_.places_used(); ++at) {
    if (segment_.life(at).load_relaxed() != 0) ++count;
  }
  return count;
}

template <class Table>
auto LatchedObject<Table>::claim_place() -> Result<void> {
  return segment_.claim([this]() -> Result<void> {
    Locked locked(*this);
    PARLEY_TRY(locked.take(patient(), true));
    return locked.close();
  });
}

template <class Table>
[[gnu::always_inline]] inline auto LatchedObject<Table>::lock(Deadline deadline, bool heir,
                                                              Locked& locked) -> Result<void> {
  if (!segment_.is_current()) [[unlikely]]
    PARLEY_TRY(claim_place());
  bool orphaned = false;
  if (!latch().try_acquire()) [[unlikely]]
    orphaned = PARLEY_TRY(lock_slowly(deadline, heir));
  locked.holds_ = true;
  if constexpr (requires { table_.limit_by(locked.limit_); }) table_.limit_by(locked.limit_);
  if constexpr (requires { table_.enter(); }) table_.enter();
  if (orphaned || has_dead() || is_unserved()) [[unlikely]]
    return catch_up(locked);
  return {};
}

template <class Table>
template <class Act>
[[gnu::always_inline]] inline auto LatchedObject<Table>::run_at_once(Act act) -> bool {
  // Who has to serve takes the latch only once.
  if (table_.somebody_waits() || !segment_.is_current() || !latch().try_acquire()) [[unlikely]]
    return false;
  if constexpr (requires { table_.enter(); }) table_.enter();
  const bool runs = !table_.somebody_waits() && !has_dead() && !is_unserved();
  if (runs) [[likely]]
    act();
  if constexpr (requires { table_.leave(); }) table_.leave();
  latch().release();
  return runs;
}

/// Whether the latch was left by the dead.
template <class Table>
auto LatchedObject<Table>::lock_slowly(Deadline deadline, bool heir) -> Result<bool> {
  const auto found = latch().acquire_slowly(spins_, deadline.is_now() ? patient() : deadline, heir);
  if (found) return *found == shm::Latch::Found::left_by_the_dead;
  const bool impatient = deadline.is_now() && found.error() == Error::timed_out;
  return failure(impatient ? Error::busy : found.error());
}

template <class Table>
[[gnu::always_inline]] inline void LatchedObject<Table>::unlock(Locked& locked) noexcept {
  if constexpr (requires { table_.leave(); }) table_.leave();
  latch().release();
  locked.wakes.wake_all();
  if constexpr (requires { table_.hand_on(); }) {
    if (!locked.waits_ && is_unserved()) [[unlikely]]
      table_.hand_on();
  }
}

template <class Table>
inline auto LatchedObject<Table>::serve(Locked& locked) -> Result<void> {
  if constexpr (requires { table_.is_unserved(); }) {
    return table_.serve(locked.wakes, locked.limit_);
  } else {
    return table_.serve(locked.wakes);
  }
}

template <class Table>
inline auto LatchedObject<Table>::close(Locked& locked) -> Result<void> {
  if (table_.somebody_waits()) PARLEY_TRY(serve(locked));
  return segment_.is_lost() ? failure(Error::corrupt) : Result<void>();
}

/// Does what the dead, or who had no time any more, have left to be done.
template <class Table>
auto LatchedObject<Table>::catch_up(Locked& locked) -> Result<void> {
  PARLEY_TRY(table_.recover());
  const auto end = segment_.place_count();
  auto at = segment_.next_dead(0);
  while (at < end) {
    if (at == segment_.place()) return failure(Error::corrupt);
    os::await_stillness();
    const auto buried = table_.bury(at);
    if (!buried && buried.error() == Error::busy) break;
    PARLEY_TRY(buried);
    segment_.free_place(at);
    at = segment_.next_dead(at + 1);
    if (locked.limit_.is_over()) break;
  }
  // One of them may have been woken, or have died before it woke whom it served. Now that they are
  // still, they undo neither.
  latch().expect_sleepers();
  table_.wake_decided(locked.wakes);
  PARLEY_TRY(serve(locked));
  return at == end ? Result<void>() : failure(locked.limit_.error());
}

template <class Table>
auto LatchedObject<Table>::tend_to_deaths(Deadline deadline) -> Result<void> {
  if (!has_dead() && !is_unserved()) return {};
  Locked locked(*this);
  locked.waits_ = true;
  const auto done = locked.take(deadline);
  if (done || done.error() == Error::busy) return {};  // there was much: on with it
  segment_.pass_on_deaths();
  return done;
}

template <class Table>
auto LatchedObject<Table>::sleep(const std::uint32_t* futex_word, std::uint32_t expected,
                                 Deadline deadline) -> Result<void> {
  shm::Segment::Watch watch;
  segment_.watch(watch);
  Result<void> woken;
  if (!watch.has_dead() && !is_unserved()) {
    woken = segment_.wait(watch, futex_word, expected, deadline);
  } else {
    woken = deadline.check();
  }
  PARLEY_TRY(tend_after_sleep(deadline));
  return woken;
}

template <class Table>
template <class Enqueue>
auto LatchedObject<Table>::line_up(Locked& locked, Enqueue enqueue) -> Result<std::uint32_t> {
  Result<std::uint32_t> index = enqueue();
  if (index || index.error() != Error::no_space) return index;
  PARLEY_TRY(locked.close());  // frees the records of those who gave up
  index = enqueue();
  if (index || index.error() != Error::no_space) return index;
  PARLEY_TRY(table_.line().back_more(segment_));
  return enqueue();
}

template <class Table>
auto LatchedObject<Table>::wait_for(shm::Waiter& record, Deadline deadline)
    -> Result<std::uint64_t> {
  const auto decided = await_decision(record, deadline);
  // Others may have relied on this call to go on.
  if constexpr (requires { table_.hand_on(); }) {
    if (is_unserved()) [[unlikely]]
      table_.hand_on();
  }
  return decided;
}

template <class Table>
auto LatchedObject<Table>::await_decision(shm::Waiter& record, Deadline deadline)
    -> Result<std::uint64_t> {
  auto& state = record.state;
  for (std::uint32_t looks = 0;;) {
    auto seen = state.load_acquire();  // DECIDE
    if (!shm::is_undecided(seen)) return seen;
    Result<void> woken;
    if (looks < spins_) {
      shm::pause_between_looks(looks);
      if (++looks % shm::looks_between_clocks != 0) continue;
      woken = tend_to_deaths(deadline);
      if (const auto over = deadline.check(); !over) woken = over;
    } else {
      if (seen == shm::waiter_waits && !state.compare_exchange_acq_rel(seen, shm::waiter_sleeps)) {
        continue;
      }
      woken = sleep(state.futex_word(), shm::waiter_sleeps, deadline);
    }
    if (segment_.is_lost()) return failure(Error::corrupt);
    if (woken) continue;
    seen = state.load_acquire();
    if (!shm::is_undecided(seen)) continue;
    if (state.compare_exchange_acq_rel(seen, shm::waiter_cancelled)) return failure(woken.error());
    looks = spins_;  // decided meanwhile; once more, without spinning
  }
}

}  // namespace parley
