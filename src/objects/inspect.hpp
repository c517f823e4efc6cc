// How an object is read from outside: copies of its parts, counted and never followed.
//
// Nothing is mapped, so nothing that others do meanwhile (truncating the file, too) can hurt: a
// part that is not there is short. A copy does not change any more, so what was checked in it
// stays. What refers to another part is at most compared with what there is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <parley/inspect.hpp>

#include "os/object_file.hpp"
#include "shm/layout/segment.hpp"
#include "shm/layout/waiting_line.hpp"

namespace parley {

/// Values of a layout, copied out of an object.
template <class T>
class Copied {
 public:
  explicit Copied(std::size_t count)
      : words_((count * sizeof(T) + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t)),
        count_(count) {}

  [[nodiscard]] auto bytes() -> std::span<std::byte> {
    return std::as_writable_bytes(std::span(words_)).first(count_ * sizeof(T));
  }
  [[nodiscard]] auto all() const -> std::span<const T> {
    return {std::launder(reinterpret_cast<const T*>(words_.data())), count_};
  }
  [[nodiscard]] auto operator[](std::size_t index) const -> const T& { return all()[index]; }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t count_;
};

/// An object's parts, as they are when they are asked for.
class ObjectReader {
 public:
  ObjectReader(os::BorrowedFd fd, std::size_t body_offset) : fd_(fd), body_offset_(body_offset) {}

  /// Offsets are in the file. `corrupt` where it is not that long.
  template <class T>
  [[nodiscard]] auto read(std::size_t offset, std::size_t count) const -> Result<Copied<T>> {
    Copied<T> copy(count);
    const auto bytes = copy.bytes();
    const auto size = PARLEY_TRY(os::read_object(fd_, offset, bytes));
    return size == bytes.size() ? Result<Copied<T>>(std::move(copy)) : failure(Error::corrupt);
  }

  /// The same; offsets are in the body.
  template <class T>
  [[nodiscard]] auto read_body(std::size_t offset, std::size_t count) const -> Result<Copied<T>> {
    return read<T>(body_offset_ + offset, count);
  }

  /// Calls `see` with each of so many records of a number of words each, in the body, of which some
  /// are in memory at a time.
  template <class See>
  auto scan(std::size_t offset, std::size_t record_words, std::size_t count, See see) const
      -> Result<void> {
    constexpr std::size_t words_at_once = 1U << 17U;
    const std::size_t at_once = std::max(words_at_once / record_words, std::size_t{1});
    for (std::size_t first = 0; first < count; first += at_once) {
      const auto part = std::min(at_once, count - first);
      const auto copy = PARLEY_TRY(read_body<shm::Atomic<std::uint64_t>>(
          offset + first * record_words * sizeof(std::uint64_t), part * record_words));
      for (std::size_t i = 0; i < part; ++i) {
        PARLEY_TRY(see(copy.all().subspan(i * record_words, record_words)));
      }
    }
    return {};
  }

 private:
  os::BorrowedFd fd_;
  std::size_t body_offset_;
};

using ObjectWords = std::span<const shm::Atomic<std::uint64_t>>;

/// A record of a scan as what it is; it must be of that size at least.
template <class T>
auto record_as(ObjectWords words) -> const T& {
  return *std::launder(reinterpret_cast<const T*>(words.data()));
}

/// Who stands where, by place.
class Participants {
 public:
  explicit Participants(std::vector<InspectedParticipant> all) : all_(std::move(all)) {}

  /// Null for a place where nobody stands.
  [[nodiscard]] auto at(std::uint32_t place) -> InspectedParticipant* {
    const auto found =
        std::ranges::lower_bound(all_, place, std::less{}, &InspectedParticipant::place);
    return found != all_.end() && found->place == place ? &*found : nullptr;
  }

  /// Counts a call that waits, if it does: whether it does.
  auto note_waiter(const shm::Waiter& waiter) -> bool {
    if (!shm::is_undecided(waiter.state.load_relaxed())) return false;
    if (auto* const who = at(waiter.place.load_relaxed())) {
      ++who->waiting;
      who->process = waiter.process.load_relaxed();
    }
    return true;
  }

  [[nodiscard]] auto all() const -> const std::vector<InspectedParticipant>& { return all_; }
  [[nodiscard]] auto all() -> std::vector<InspectedParticipant>& { return all_; }

 private:
  std::vector<InspectedParticipant> all_;
};

/// What a look at one kind of object needs to know of the rest.
struct ObjectLook {
  const ObjectReader& reader;
  std::uint32_t place_count;
  std::size_t body_bytes;
  Participants& participants;
};

auto look_at_semaphore_set(const ObjectLook& look) -> Result<SemaphoreSetInspection>;
auto look_at_stream(const ObjectLook& look) -> Result<StreamInspection>;
auto look_at_message_queue(const ObjectLook& look) -> Result<MessageQueueInspection>;

/// None for 0.
inline auto time_if_any(std::uint64_t seconds) -> std::optional<std::chrono::sys_seconds> {
  if (seconds == 0) return std::nullopt;
  return std::chrono::sys_seconds(std::chrono::seconds(seconds));
}

}  // namespace parley
