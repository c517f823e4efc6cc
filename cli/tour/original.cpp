#include "tour/original.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <filesystem>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

namespace parley::cli {
namespace {

constexpr std::size_t read_bytes = std::size_t{1} << 20;

auto why_not(const struct stat& status) -> const char* {
  if (S_ISDIR(status.st_mode)) return "is a directory";
  if (S_ISFIFO(status.st_mode)) return "is a FIFO, not a regular file";
  if (S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode)) return "is a device, not a regular file";
  if (!S_ISREG(status.st_mode)) return "is not a regular file";
  if (status.st_size == 0) return "is empty: there is nothing to move";
  return nullptr;
}

auto name_of_own_binary() -> std::string {
  std::error_code unknown;
  const auto target = std::filesystem::read_symlink(own_binary, unknown);
  return unknown ? own_binary : target.string();
}

}  // namespace

auto Fingerprint::hex() const -> std::string {
  return fmt::format("{:02x}", fmt::join(checksum, ""));
}

Fingerprinter::Fingerprinter() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Fingerprinter::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

void Fingerprinter::take(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  size_bytes_ += bytes.size();
}

auto Fingerprinter::result() const -> Fingerprint {
  XXH128_canonical_t canonical{};
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
  return {.size_bytes = size_bytes_, .checksum = std::to_array(canonical.digest)};
}

auto Source::read(std::span<std::byte> into) -> Result<std::size_t> {
  const auto left = size_bytes_ - position_bytes_;
  if (into.size() > left) into = into.first(static_cast<std::size_t>(left));
  std::size_t count = 0;
  while (count < into.size()) {
    const auto rest = into.subspan(count);
    const ssize_t got =
        pread(fd_.number(), rest.data(), rest.size(), static_cast<off_t>(position_bytes_ + count));
    if (got > 0) {
      count += static_cast<std::size_t>(got);
    } else if (got == 0 || errno != EINTR) {
      has_failed_ = true;
      return failure(got == 0 ? Error::io : last_error());
    }
  }
  position_bytes_ += count;
  return count;
}

auto Original::open(const std::optional<std::string>& path)
    -> std::expected<Original, std::string> {
  const char* file = path ? path->c_str() : own_binary;
  // Non-blocking, so that a FIFO without a writer does not hold us up.
  auto fd = os::OwnedFd::from_number(::open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.is_open()) return std::unexpected(message(last_error()));
  struct stat status{};
  if (fstat(fd.number(), &status) != 0) return std::unexpected(message(last_error()));
  if (const char* reason = why_not(status)) return std::unexpected(reason);
  return Original(std::move(fd), path ? *path : name_of_own_binary(), status);
}

auto Original::take_fingerprint(const std::function<bool(std::uint64_t)>& goes_on) -> Result<void> {
  std::vector<std::byte> buffer(read_bytes);
  Fingerprinter sum;
  Source from = source();
  while (goes_on(from.position_bytes())) {
    const auto count = PARLEY_TRY(from.read(buffer));
    if (count == 0) break;
    sum.take(std::span(buffer).first(count));
  }
  fingerprint_ = sum.result();
  return {};
}

auto Original::looks_unchanged() const -> bool {
  struct stat now{};
  return fstat(fd_.number(), &now) == 0 && now.st_size == status_.st_size &&
         now.st_mtim.tv_sec == status_.st_mtim.tv_sec &&
         now.st_mtim.tv_nsec == status_.st_mtim.tv_nsec;
}

auto Original::is_unchanged() const -> bool {
  std::vector<std::byte> buffer(read_bytes);
  Fingerprinter sum;
  Source from = source();
  for (;;) {
    const auto count = from.read(buffer);
    if (!count) return false;
    if (*count == 0) return looks_unchanged() && sum.result() == fingerprint_;
    sum.take(std::span(buffer).first(*count));
  }
}

}  // namespace parley::cli
