// A mechanism as the tour sees it: made once, joined by two processes, sent through, received from.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <parley/error.hpp>

#include "tour/leftovers.hpp"
#include "tour/original.hpp"

namespace parley::cli {

/// The two processes. The sender has the file; the receiver makes the copy and echoes messages.
enum class Side : unsigned char { sender, receiver };

/// The receiver's copy: not kept, but counted and summed up.
class Copy {
 public:
  /// `progress` is told of every piece.
  Copy(std::uint64_t expected_bytes, std::function<void(std::uint64_t)> progress)
      : expected_bytes_(expected_bytes), progress_(std::move(progress)) {}

  void take(std::span<const std::byte> bytes) {
    fingerprinter_.take(bytes);
    progress_(fingerprinter_.size_bytes());
  }
  [[nodiscard]] auto expected_bytes() const -> std::uint64_t { return expected_bytes_; }
  [[nodiscard]] auto is_complete() const -> bool {
    return fingerprinter_.size_bytes() >= expected_bytes_;
  }
  [[nodiscard]] auto fingerprint() const -> Fingerprint { return fingerprinter_.result(); }

 private:
  std::uint64_t expected_bytes_;
  std::function<void(std::uint64_t)> progress_;
  Fingerprinter fingerprinter_;
};

/// Every wait in here is without a limit: the supervisor sees deaths, signals and standstill, and
/// ends both processes.
class Mechanism {
 public:
  Mechanism() = default;
  Mechanism(const Mechanism&) = delete;
  auto operator=(const Mechanism&) -> Mechanism& = delete;
  virtual ~Mechanism() = default;

  /// Makes the objects, before the two processes are there. An error here or in `join` is taken as
  /// this machine's refusal.
  virtual auto make(Leftovers& leftovers) -> Result<void> = 0;

  /// In each of the two processes: opens, connects or attaches, and gives up the other's end.
  virtual auto join(Side side) -> Result<void> = 0;

  /// Where the next message is to be put; its size is the most that is sent at once, 64 bytes at
  /// least.
  virtual auto room() -> Result<std::span<std::byte>> = 0;

  /// Sends the first `count_bytes` of the room, which is not 0.
  virtual auto send(std::size_t count_bytes) -> Result<void> = 0;

  /// What came, valid until the next call of anything here. Of a stream any piece, else one whole
  /// message; empty when there is no sender any more.
  virtual auto receive() -> Result<std::span<const std::byte>> = 0;

  /// Moves the file in messages as large as there is room for.
  virtual auto send_file(Source& source) -> Result<void>;
  virtual auto receive_file(Copy& copy) -> Result<void>;
};

/// One that copies messages from and to the process's own memory.
class BufferedMechanism : public Mechanism {
 public:
  auto room() -> Result<std::span<std::byte>> override { return buffer_; }

 protected:
  explicit BufferedMechanism(std::size_t message_bytes) : buffer_(message_bytes) {}
  [[nodiscard]] auto buffer() -> std::span<std::byte> { return buffer_; }
  [[nodiscard]] auto message(std::size_t count_bytes) const -> std::span<const std::byte> {
    return std::span(buffer_).first(count_bytes);
  }
  /// For limits that are known only once the object is there.
  void resize(std::size_t message_bytes) { buffer_.resize(message_bytes); }

 private:
  std::vector<std::byte> buffer_;
};

/// A stop of the tour.
struct Stop {
  std::string_view name;   ///< For --only and --json.
  std::string_view title;  ///< For people.
  auto (*prepare)() -> std::unique_ptr<Mechanism>;
};

/// All of them, in the order of the tour.
auto stops() -> std::span<const Stop>;

}  // namespace parley::cli
