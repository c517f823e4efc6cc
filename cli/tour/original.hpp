// The file that is toured: what it is, how it is read, and whether it stayed as it was.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <parley/error.hpp>
#include <parley/os/descriptor.hpp>

struct XXH3_state_s;

namespace parley::cli {

/// What two copies are compared by.
struct Fingerprint {
  std::uint64_t size_bytes = 0;
  std::array<unsigned char, 16> checksum{};  ///< XXH3-128, in its canonical order.

  auto operator==(const Fingerprint&) const -> bool = default;

  /// The checksum as 32 hexadecimal digits, as xxhsum(1) -H2 prints it.
  [[nodiscard]] auto hex() const -> std::string;
};

/// Counts bytes and sums them up as they come.
class Fingerprinter {
 public:
  Fingerprinter();
  void take(std::span<const std::byte> bytes);
  [[nodiscard]] auto size_bytes() const -> std::uint64_t { return size_bytes_; }
  [[nodiscard]] auto result() const -> Fingerprint;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
  std::uint64_t size_bytes_ = 0;
};

/// Reads a file from its start to the size that it had at first, by offset: neither the position
/// nor a shrinking of the file can be felt by others. It is never mapped: that would be a SIGBUS.
class Source {
 public:
  Source(os::BorrowedFd fd, std::uint64_t size_bytes) : fd_(fd), size_bytes_(size_bytes) {}

  /// Fills `into`, or what of it is left until the end; 0 is the end. `io` if the file ends early:
  /// it shrank.
  auto read(std::span<std::byte> into) -> Result<std::size_t>;

  [[nodiscard]] auto fd() const -> os::BorrowedFd { return fd_; }
  [[nodiscard]] auto size_bytes() const -> std::uint64_t { return size_bytes_; }
  [[nodiscard]] auto position_bytes() const -> std::uint64_t { return position_bytes_; }

  /// Whether a read failed: what went wrong then is the file's doing, not a mechanism's.
  [[nodiscard]] auto has_failed() const -> bool { return has_failed_; }

 private:
  os::BorrowedFd fd_;
  std::uint64_t size_bytes_;
  std::uint64_t position_bytes_ = 0;
  bool has_failed_ = false;
};

inline constexpr auto own_binary = "/proc/self/exe";

class Original {
 public:
  /// A regular file with something in it. The error says in words why it cannot be toured. Without
  /// a path: the command's own binary.
  static auto open(const std::optional<std::string>& path) -> std::expected<Original, std::string>;

  /// Reads it once. Ends early, without an error, when `goes_on`, told how many bytes were read,
  /// says no.
  auto take_fingerprint(const std::function<bool(std::uint64_t)>& goes_on) -> Result<void>;

  [[nodiscard]] auto path() const -> const std::string& { return path_; }
  [[nodiscard]] auto size_bytes() const -> std::uint64_t {
    return static_cast<std::uint64_t>(status_.st_size);
  }
  [[nodiscard]] auto fingerprint() const -> const Fingerprint& { return fingerprint_; }
  [[nodiscard]] auto source() const -> Source { return {fd_, size_bytes()}; }

  /// Size and time of modification are still those that it was opened with.
  [[nodiscard]] auto looks_unchanged() const -> bool;

  /// Reads it again to see whether it is what it was.
  [[nodiscard]] auto is_unchanged() const -> bool;

  /// Whether `other` is this very file.
  [[nodiscard]] auto is_same_file(const struct stat& other) const -> bool {
    return other.st_dev == status_.st_dev && other.st_ino == status_.st_ino;
  }

 private:
  Original(os::OwnedFd fd, std::string path, const struct stat& status)
      : fd_(std::move(fd)), path_(std::move(path)), status_(status) {}

  os::OwnedFd fd_;
  std::string path_;
  struct stat status_;
  Fingerprint fingerprint_;
};

}  // namespace parley::cli
