// Stream: bytes from one writer to one reader through shared memory, as through a pipe.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include <parley/deadline.hpp>
#include <parley/object.hpp>
#include <parley/os/descriptor.hpp>

namespace parley {

class StreamState;

struct StreamOptions {
  /// How many bytes may be written and not yet read: 4096 to 1 GiB. Rounded up to a power of two.
  std::size_t capacity_bytes = std::size_t{1} << 20U;
  mode_t mode = 0600;              ///< Of a named object's file, as it is: no umask is applied.
  std::uint32_t participants = 8;  ///< Handles at one time; up to 8175.
};

/// Who is at one end of a stream.
enum class StreamEnd : std::uint8_t {
  vacant,  ///< Nobody came yet, or it was handed over.
  held,
  closed,  ///< Whoever held it closed it.
  died,    ///< The process that held it ended without closing it.
};

struct StreamStatus {
  std::size_t bytes_waiting;  ///< Written and not yet read.
  StreamEnd writer;
  StreamEnd reader;
  std::size_t participants;  ///< That take part now.
};

/// What both ends of a stream can do. Not used by itself.
///
/// An end is for one thread at a time. It goes on when the handle it came from is gone. A child of
/// fork(2) that uses an inherited end is another process: it claims the end for itself, so it is
/// `busy` for as long as the parent holds it.
class StreamRole {
 public:
  StreamRole(const StreamRole&) = delete;
  auto operator=(const StreamRole&) -> StreamRole& = delete;

  [[nodiscard]] auto capacity_bytes() const noexcept -> std::size_t;

  /// Written and not yet read.
  [[nodiscard]] auto bytes_waiting() const noexcept -> std::size_t;

  /// Of this end; `adaptive` at first.
  void set_wait_strategy(WaitStrategy strategy) noexcept;

 protected:
  friend class StreamState;
  class State;
  explicit StreamRole(std::unique_ptr<State> state) noexcept;
  StreamRole(StreamRole&&) noexcept;
  auto operator=(StreamRole&&) noexcept -> StreamRole&;
  ~StreamRole();

  std::unique_ptr<State> state_;
};

/// The end that writes. It is closed when this goes.
///
/// Every call here fails with `broken_pipe`, without any signal, once a reader was there during
/// this writer's time and has gone, and until another comes. What was written before stays for that
/// one. While no reader has come yet, as much as the capacity can be written.
class StreamWriter : public StreamRole {
 public:
  StreamWriter(StreamWriter&&) noexcept = default;
  auto operator=(StreamWriter&&) noexcept -> StreamWriter& = default;
  ~StreamWriter() = default;

  /// Writes everything, or until an error: then how much was written is not told; `write_some`
  /// does.
  auto write(std::span<const std::byte> bytes, Deadline deadline) -> Result<void>;
  auto write(std::span<const iovec> areas, Deadline deadline) -> Result<void>;

  /// Writes as much as there is room for, waiting until that is something.
  auto write_some(std::span<const std::byte> bytes, Deadline deadline) -> Result<std::size_t>;
  auto write_some(std::span<const iovec> areas, Deadline deadline) -> Result<std::size_t>;

  /// Room in one piece, so many bytes or more: to be filled in place. What of it is not committed
  /// is as if it had never been touched. `invalid` for more than the capacity.
  auto reserve(std::size_t at_least_bytes, Deadline deadline) -> Result<std::span<std::byte>>;

  /// Writes the first so many bytes of what `reserve` gave. `invalid` for more than that.
  auto commit(std::size_t bytes) -> Result<void>;

  /// Waits for a reader to come, where there is none yet.
  auto wait_for_reader(Deadline deadline) -> Result<void>;

  /// The reader gets all that was written, and then the end. After this every call is
  /// `bad_descriptor`.
  void close() noexcept;

  /// Leaves the end to another process, or to another handle here, without an end for the reader.
  /// Pass the descriptor on and let it claim the end. After this every call is `bad_descriptor`.
  void hand_over() noexcept;

 private:
  friend class StreamState;
  using StreamRole::StreamRole;
};

/// The end that reads. It is closed when this goes; what was not read then stays for the next
/// reader.
///
/// First comes every byte that was written, then what became of the writer: the end of the stream
/// if it closed, `peer_died` if its process ended in another way, and that again and again until
/// another writer comes. A reader that comes when the last one was told already waits for the next
/// writer. If another writer is there before the reader has come to the end, a closed one's bytes
/// and its follow each other; a death is told, once, at the byte where it was.
class StreamReader : public StreamRole {
 public:
  StreamReader(StreamReader&&) noexcept = default;
  auto operator=(StreamReader&&) noexcept -> StreamReader& = default;
  ~StreamReader() = default;

  /// Reads what is there, up to `into.size()` bytes, waiting for at least one. 0 is the end.
  auto read(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t>;
  /// Scatters the bytes into the areas in turn.
  auto read(std::span<const iovec> areas, Deadline deadline) -> Result<std::size_t>;

  /// Reads until `into` is full or the end is reached; fewer bytes mean the end. On an error what
  /// was read until then is in `into` and its count is lost: use `read` to keep it.
  auto read_all(std::span<std::byte> into, Deadline deadline) -> Result<std::size_t>;
  auto read_all(std::span<const iovec> areas, Deadline deadline) -> Result<std::size_t>;

  /// What is there, in one piece and in place: so many bytes or more; fewer only before the end,
  /// and none at the end. Before `peer_died`, too, the last ones are given. `invalid` for more than
  /// the capacity. Nobody changes them until they are consumed, but a writer that means ill can:
  /// read a value once, check it, then use it.
  auto peek(std::size_t at_least_bytes, Deadline deadline) -> Result<std::span<const std::byte>>;

  /// Takes the first so many bytes of what `peek` gave. `invalid` for more than that.
  auto consume(std::size_t bytes) -> Result<void>;

  /// Waits for a writer to come, where there is none yet, or where this reader was told that the
  /// last one is gone.
  auto wait_for_writer(Deadline deadline) -> Result<void>;

  /// The writer gets `broken_pipe`. After this every call is `bad_descriptor`.
  void close() noexcept;

  /// As StreamWriter::hand_over: the writer waits for the next reader.
  void hand_over() noexcept;

 private:
  friend class StreamState;
  using StreamRole::StreamRole;
};

/// A pipe in shared memory: its two ends are claimed by one live process each, and nothing but the
/// sleeps and wake-ups of those who wait calls the kernel.
///
/// A writer that is killed at any instruction leaves what it had written, to the last call that
/// returned or some bytes further. What all objects have in common, also the errors of `create`,
/// `open` and `adopt`: object.hpp.
class Stream {
 public:
  static constexpr std::size_t capacity_bytes_at_least = 4096;
  static constexpr std::size_t capacity_bytes_at_most = std::size_t{1} << 30U;

  /// A new stream without a name. `invalid` for options out of their bounds; `no_space` where there
  /// is not the memory.
  static auto create(const StreamOptions& options = {}) -> Result<Stream>;

  /// The same, with a name. `exists` if it is taken.
  static auto create(std::string_view name, const StreamOptions& options = {}) -> Result<Stream>;

  static auto open(std::string_view name) -> Result<Stream>;

  /// The stream of that name, as it is, or a new one.
  static auto open_or_create(std::string_view name, const StreamOptions& options = {})
      -> Result<Stream>;

  /// Takes a received or inherited descriptor.
  static auto adopt(os::OwnedFd fd) -> Result<Stream>;

  /// Takes the name away; who uses the stream goes on. unlink(2)
  static auto unlink(std::string_view name) -> Result<void>;

  /// To hand on.
  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd;
  [[nodiscard]] auto capacity_bytes() const noexcept -> std::size_t;

  /// Claims an end. `busy` while a process that lives holds it, also this one.
  auto writer() -> Result<StreamWriter>;
  auto reader() -> Result<StreamReader>;

  auto status() -> Result<StreamStatus>;

 private:
  explicit Stream(std::shared_ptr<StreamState> state) noexcept;

  std::shared_ptr<StreamState> state_;
};

/// One side of a StreamPair: what it writes the other side reads.
struct StreamSide {
  StreamWriter writer;
  StreamReader reader;
};

/// Two streams in one object, one in each direction.
class StreamPair {
 public:
  /// As of Stream; the capacity is that of each direction.
  static auto create(const StreamOptions& options = {}) -> Result<StreamPair>;
  static auto create(std::string_view name, const StreamOptions& options = {})
      -> Result<StreamPair>;
  static auto open(std::string_view name) -> Result<StreamPair>;
  static auto open_or_create(std::string_view name, const StreamOptions& options = {})
      -> Result<StreamPair>;
  static auto adopt(os::OwnedFd fd) -> Result<StreamPair>;
  static auto unlink(std::string_view name) -> Result<void>;

  [[nodiscard]] auto descriptor() const noexcept -> os::BorrowedFd;
  [[nodiscard]] auto capacity_bytes() const noexcept -> std::size_t;

  /// Claims both ends of a side, or none: `busy` while a process that lives holds one of them.
  auto first() -> Result<StreamSide>;
  auto second() -> Result<StreamSide>;

 private:
  explicit StreamPair(std::shared_ptr<StreamState> state) noexcept;

  std::shared_ptr<StreamState> state_;
};

}  // namespace parley
