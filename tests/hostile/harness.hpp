// A victim that uses an object, and a peer that writes what it likes into it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <parley/deadline.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::test {

/// What the victim is at, in memory that the watchdog reads too.
struct Log {
  std::atomic<std::uint64_t> calls;
  std::atomic<std::uint64_t> strikes;
  std::atomic<const char*> call;            ///< Null between calls.
  std::atomic<std::int64_t> allowed_until;  ///< Of the steady clock, in nanoseconds.
  std::atomic<bool> stop;
  std::array<char, 200> strike;     ///< The last one.
  std::array<char, 200> complaint;  ///< Of the victim, where it lives but is not content.
};

/// How the harness and what exercises an object talk.
class Victim {
 public:
  Victim(Log& log, std::chrono::milliseconds patience, std::function<void()> strike)
      : log_(log), patience_(patience), strike_(std::move(strike)) {}

  /// A call that waits until the deadline at most. It must come back by then, with success or with
  /// an error that is one of an object's.
  template <class Call>
  void call(const char* name, Deadline deadline, Call call) {
    begin(name, deadline.is_now() ? Deadline::after(patience_) : deadline);
    const auto result = call();
    end(result ? Error{} : result.error());
  }

  /// A call without a deadline: it may be as patient as the library is.
  template <class Call>
  void call(const char* name, Call call) {
    this->call(name, Deadline::now(), call);
  }

  /// Such a call for the object itself.
  template <class Adopt>
  auto adopt(Adopt adopt) {
    begin("adopt", Deadline::after(patience_));
    auto object = adopt();
    end(object ? Error{} : object.error());
    return object;
  }

  /// Where it is attached: the moment for those peers who strike once.
  void is_attached() { strike_(); }

  /// Whether calls that have no deadline to keep are wanted too.
  [[nodiscard]] auto is_patient() const -> bool { return patience_ < std::chrono::seconds(1); }

 private:
  void begin(const char* name, Deadline deadline);
  void end(Error error);

  Log& log_;
  std::chrono::milliseconds patience_;
  std::function<void()> strike_;
};

using Image = std::vector<std::byte>;

/// An object to be attacked.
struct Target {
  const char* name;
  /// The bytes of whole objects, each in another state.
  std::function<std::vector<Image>()> make;
  /// Adopts the descriptor, says `is_attached` and does everything that can be done with it.
  std::function<void(os::OwnedFd, Victim&)> exercise;
  /// How much of the body the library reads as words; what follows is only bytes for its users.
  std::size_t body_bytes = ~std::size_t{0};
  /// Where words of use are in the body, from offset to offset; none: everywhere.
  std::vector<std::pair<std::size_t, std::size_t>> parts = {};
};

/// Where in such an object words of use are: header, places, body.
auto offsets_of(const Target& target, const Image& image) -> std::vector<std::size_t>;

/// The bytes of an object as they are now.
auto image_of(os::BorrowedFd object) -> Image;

/// What became of a victim.
struct Outcome {
  bool survived;
  std::string what;  ///< If it did not: how it ended, at which call, after which strike.
  std::uint64_t strikes;
  std::uint64_t calls;
};

/// Every word of the object in turn, as 64 bits and as twice 32, gets every value that may hurt,
/// when the victim has attached, and the whole words also before; then it does everything.
auto strike_each_word(const Target& target) -> Outcome;

/// The one word of 32 bits is another one at each system call of the victim, in an object that is
/// else whole: so no sleep on it ever begins.
auto strike_before_each_system_call(const Target& target, std::size_t offset) -> Outcome;

/// The first, second, third … load of the victim finds another value than the peer wrote before: so
/// what is checked and then read again shows.
auto strike_before_each_load(const Target& target, std::uint64_t seed, std::size_t values_per_load)
    -> Outcome;

struct Siege {
  std::uint64_t seed;
  std::chrono::milliseconds duration;
  /// Of the library. A long one shows who does not keep a deadline of his own.
  std::chrono::milliseconds patience{2};
  bool truncates = false;  ///< The object is a file that grows and shrinks.
};

/// The peer writes all the time, into any words, while the victim does everything again and again.
auto strike_at_random(const Target& target, const Siege& siege) -> Outcome;

}  // namespace parley::test
