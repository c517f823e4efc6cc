// An object's memory and this process's place in it: made, opened, checked, shared and left.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

#include "os/futex.hpp"
#include "os/keeper.hpp"
#include "os/region.hpp"
#include "shm/layout/segment.hpp"

namespace parley::shm {

/// How long a call that has no deadline of its own is patient with a peer that is stopped, or means
/// ill, in the middle of something that takes nanoseconds. After that it is `busy`.
#if PARLEY_TEST_SEAM
inline constinit std::chrono::milliseconds patience{1000};  // a test may have less
#else
inline constexpr std::chrono::milliseconds patience{1000};
#endif

/// A part of a body.
struct ByteRange {
  std::size_t begin;
  std::size_t end;
};

/// What a segment is to be, or must be.
struct SegmentShape {
  ObjectKind kind;
  std::uint32_t body_version;
  std::uint32_t participants;  ///< At most at one time.
  std::size_t body_bytes;
  /// The parts of the body that have memory at once; the others have it once they are backed.
  /// Empty: all of it.
  std::span<const ByteRange> backed = {};
};

/// Where a new object goes.
struct SegmentName {
  std::string_view name;  ///< Empty: a memfd, shared by its descriptor alone.
  mode_t mode = 0600;
};

class Segment {
 public:
  /// A whole new segment in which nobody takes part yet, and that has no name yet; `fill` writes
  /// the body, which is all zeros. `no_space` where there is not the memory for all of it.
  static auto create(const SegmentName& name, const SegmentShape& shape,
                     const std::function<void(std::span<std::byte>)>& fill) -> Result<Segment>;

  /// Gives a new segment its name. `exists` if that is taken.
  auto publish(std::string_view name) const -> Result<void>;

  /// Takes the name away.
  static auto unlink(std::string_view name) -> Result<void>;

  /// Checks all that the header says before it believes any of it. `invalid`: no object of ours;
  /// `wrong_kind`: another one; `not_supported`: of a newer layout; `corrupt`: its numbers
  /// contradict each other or the file.
  static auto open(std::string_view name, ObjectKind kind, std::uint32_t body_version)
      -> Result<Segment>;
  static auto adopt(os::OwnedFd fd, ObjectKind kind, std::uint32_t body_version) -> Result<Segment>;

  Segment(Segment&& other) noexcept;
  Segment(const Segment&) = delete;
  auto operator=(const Segment&) -> Segment& = delete;
  auto operator=(Segment&&) -> Segment& = delete;

  /// Leaves: as if this process had died, but for the waiting. What it held is cleaned up by the
  /// next who comes, or who sleeps.
  ~Segment();

  /// Whether this process stands in the object: not in a child of fork(2) before it claimed a
  /// place of its own, and not once the object's file was truncated.
  [[nodiscard]] auto is_current() const noexcept -> bool { return stands() && !region_.is_lost(); }

  /// Claims a place for this process. Where the dead have them all, `clean_up` is called to free
  /// theirs, standing in place 0; what that place held itself is part of it. `no_space` where the
  /// living have them all, `corrupt` for an object that was truncated.
  auto claim(const std::function<Result<void>()>& clean_up) -> Result<void>;

  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd { return fd_; }
  /// Closes it: from now on the object is opened anew by its name where a descriptor is needed.
  /// `invalid` for one without a name. Not while another thread uses this segment.
  auto close_descriptor() -> Result<void>;
  [[nodiscard]] auto body() const noexcept -> std::span<std::byte> { return body_; }
  [[nodiscard]] auto is_lost() const noexcept -> bool { return region_.is_lost(); }

  /// Has memory behind a part of the body. `no_space` where there is none.
  auto back(const ByteRange& range) const -> Result<void>;
  /// Gives the memory behind a part of the body back to the system.
  void give_back(const ByteRange& range) const noexcept;

  /// Maps a part of the body twice in a row: see os::Region::map_ring. Only for objects of a kind
  /// that `has_rings`.
  auto map_ring(std::size_t offset_bytes, std::size_t size_bytes) -> Result<std::span<std::byte>> {
    const auto body_begin = static_cast<std::size_t>(body_.data() - region_.bytes().data());
    return region_.map_ring(fd_, body_begin + offset_bytes, size_bytes);
  }

  /// The place of this process. A participant's number in the object, from 1.
  [[nodiscard]] auto place() const noexcept -> std::uint32_t { return place_; }
  /// The process that claimed it, as it knows itself: to be told to people, not to be relied on.
  [[nodiscard]] auto process_id() const noexcept -> std::uint32_t { return process_id_; }
  [[nodiscard]] auto place_count() const noexcept -> std::uint32_t { return place_count_; }
  [[nodiscard]] auto uuid() const noexcept -> std::array<std::uint64_t, 2>;

  /// The life word of a place; `at` must be below `place_count()`.
  [[nodiscard]] auto life(std::uint32_t at) const noexcept -> Atomic<std::uint32_t>& {
    return places_[at].life;
  }

  /// Where no place was ever claimed from here on.
  [[nodiscard]] auto places_used() const noexcept -> std::uint32_t {
    return std::min(header().places_used.load_acquire(), place_count_);
  }

  /// The first dead participant's place from `from` on; `place_count()` if there is none.
  [[nodiscard]] auto next_dead(std::uint32_t from) const noexcept -> std::uint32_t {
    const std::uint32_t end = places_used();
    for (std::uint32_t at = from; at < end; ++at) {
      if (is_dead(places_[at].life.load_acquire())) return at;
    }
    return place_count_;
  }

  /// Whether os::fence_all reaches every participant.
  [[nodiscard]] auto is_fenced() const noexcept -> bool {
    return header().unfenced.load_acquire() == 0;
  }

  /// Makes a dead participant's place free again, after all that it held was cleaned up.
  void free_place(std::uint32_t at) noexcept;

  /// Who takes part, for `wait`. Read before the caller looks whether it has to sleep, so that no
  /// death or arrival after that look is missed.
  class Watch {
   public:
    /// Whether somebody was dead. They are not watched: what they did they had done by then.
    [[nodiscard]] auto has_dead() const noexcept -> bool { return has_dead_; }

   private:
    friend class Segment;
    // More than can be watched tell futex_wait so.
    std::array<os::WatchedWord, os::watched_words_at_most + 2> words_;
    std::size_t count_ = 0;
    bool has_dead_ = false;
  };
  void watch(Watch& watch) const noexcept;

  /// Sleeps until the word is woken or no longer `expected`, or a participant has died or come
  /// since `watch`. Whoever returns from here, for whatever reason, looks at the word and at the
  /// dead, or calls `pass_on_deaths`: the kernel wakes one sleeper for a death, so it is nobody
  /// else's turn. Who does not sleep on the latch also passes the bell on to those who do.
  /// `timed_out` or `would_block` at the deadline; `interrupted` by a signal that ends it.
  auto wait(Watch& watch, const std::uint32_t* futex_word, std::uint32_t expected,
            Deadline deadline) const -> Result<void>;

  /// The same where what makes the caller go on may be done without a barrier, since the caller
  /// made one for all (os::fence_all) before it looked: where that does not reach everybody, the
  /// sleep ends every few milliseconds.
  auto wait_fenced(Watch& watch, const std::uint32_t* futex_word, std::uint32_t expected,
                   Deadline deadline) const -> Result<void>;

  /// For a sleeper that gives up without burying the dead: wakes another for each of them.
  void pass_on_deaths() const noexcept;

 private:
  Segment(os::OwnedFd fd, os::FileIdentity identity, os::Region region,
          std::uint32_t place_count) noexcept;

  static auto map(os::OwnedFd fd, ObjectKind kind, std::uint32_t body_version) -> Result<Segment>;

  /// The object's file, for as long as this stands.
  class File {
   public:
    explicit File(os::BorrowedFd fd) noexcept : fd_(fd) {}
    explicit File(os::OwnedFd fd) noexcept : opened_(std::move(fd)), fd_(opened_) {}
    File(File&& other) noexcept = default;
    File(const File&) = delete;
    auto operator=(const File&) -> File& = delete;
    auto operator=(File&&) -> File& = delete;
    ~File();

    [[nodiscard]] auto fd() const noexcept -> os::BorrowedFd { return fd_; }

   private:
    os::OwnedFd opened_;  ///< Where the segment has closed its own.
    os::BorrowedFd fd_;
  };
  /// `removed` where it goes by its name and another file, or none, has that; or where the program
  /// has closed the descriptor, whose number may then be that of anything.
  auto file() const -> Result<File>;
  auto owns_descriptor() const -> Result<bool>;
  void drop_descriptor() noexcept;
  [[nodiscard]] auto header() const noexcept -> SegmentHeader& {
    return *std::launder(reinterpret_cast<SegmentHeader*>(region_.bytes().data()));
  }
  /// Another thread of this process may be claiming at this moment; its place is then written
  /// before `process_`.
  [[nodiscard]] auto stands() const noexcept -> bool {
    return __atomic_load_n(&process_, __ATOMIC_ACQUIRE) == os::process_number();
  }
  [[nodiscard]] auto first_free() const noexcept -> std::uint32_t;
  void declare_strangers_dead(std::uint64_t inode);
  auto stand_at(std::uint32_t at) -> Result<void>;
  /// Under the claim lock.
  void leave() noexcept;

  static constexpr std::uint32_t nobody = ~0U;

  os::OwnedFd fd_;             ///< None where it goes by its name.
  std::string path_;           ///< Of an object that has a name.
  os::FileIdentity identity_;  ///< What that file is.
  os::Region region_;
  std::span<std::byte> body_;
  Place* places_;
  std::uint32_t place_count_;
  std::uint32_t place_ = 0;
  std::uint32_t process_id_ = 0;
  std::uint32_t process_ = nobody;  ///< Of those that this process was, the one that stands there.
};

/// Opens an object or makes it. Each round that fails saw somebody else make it or unlink it.
template <class Open, class Create>
auto open_or_create(Open open, Create create) -> decltype(open()) {
  for (;;) {
    auto object = open();
    if (object || object.error() != Error::not_found) return object;
    object = create();
    if (object || object.error() != Error::exists) return object;
  }
}

}  // namespace parley::shm
