#include <parley/shared_memory.hpp>

#include <algorithm>
#include <bit>
#include <limits>
#include <new>
#include <string>

#include <parley/os/memfd.hpp>

#include "os/keeper.hpp"
#include "os/object_file.hpp"
#include "os/region.hpp"
#include "os/seals.hpp"
#include "shm/header.hpp"
#include "shm/layout/shared_memory.hpp"
#include "shm/segment.hpp"

namespace parley {
namespace {

/// What a file's size can be at all: off_t's largest.
constexpr std::uint64_t segment_bytes_at_most = std::numeric_limits<std::int64_t>::max();

auto own_header(std::span<std::byte> segment) -> shm::SharedMemoryHeader& {
  return *std::launder(reinterpret_cast<shm::SharedMemoryHeader*>(
      segment.data() + shm::shared_memory_header_offset));
}

/// The header and the body. `invalid` for no bytes, or for a part of a huge page.
auto whole_bytes(std::size_t size_bytes, std::size_t body_offset) -> Result<std::size_t> {
  const std::size_t unit = body_offset == shm::body_alignment ? 1 : body_offset;
  if (size_bytes == 0 || size_bytes % unit != 0) return failure(Error::invalid);
  if (size_bytes > segment_bytes_at_most - body_offset) return failure(Error::no_space);
  return body_offset + size_bytes;
}

/// The first page of an object, or as much as there is in one of its huge pages.
auto map_header(os::BorrowedFd fd, const os::ObjectFileStatus& status, os::Access access)
    -> Result<os::Region> {
  return os::Region::map_alone(fd, std::max(shm::body_alignment, status.page_bytes), access,
                               status.may_shrink);
}

}  // namespace

MappedSharedMemory::MappedSharedMemory(std::unique_ptr<os::Region> region,
                                       std::size_t body_offset) noexcept
    : region_(std::move(region)), body_(region_->bytes().subspan(body_offset)) {}
MappedSharedMemory::MappedSharedMemory(MappedSharedMemory&&) noexcept = default;
auto MappedSharedMemory::operator=(MappedSharedMemory&&) noexcept -> MappedSharedMemory& = default;
MappedSharedMemory::~MappedSharedMemory() = default;

auto MappedSharedMemory::check() const -> Result<void> {
  return region_->is_lost() ? failure(Error::corrupt) : Result<void>();
}

auto MappedSharedMemory::part(os::ByteRange range, ElementShape element) const
    -> Result<std::span<std::byte>> {
  if (range.offset_bytes > body_.size()) return failure(Error::out_of_range);
  const std::size_t rest = body_.size() - range.offset_bytes;
  if (range.size_bytes == os::ByteRange::to_the_end) range.size_bytes = rest;
  if (range.size_bytes > rest) return failure(Error::out_of_range);
  const auto bytes = body_.subspan(range.offset_bytes, range.size_bytes);
  const bool whole = bytes.size() % element.size_bytes == 0 &&
                     reinterpret_cast<std::uintptr_t>(bytes.data()) % element.alignment_bytes == 0;
  return whole ? Result<std::span<std::byte>>(bytes) : failure(Error::invalid);
}

SharedMemory::SharedMemory(os::OwnedFd fd) noexcept : fd_(std::move(fd)) {}

auto SharedMemory::operator=(SharedMemory&& other) noexcept -> SharedMemory& {
  std::swap(fd_, other.fd_);
  body_offset_ = other.body_offset_;
  least_bytes_ = other.least_bytes_;
  growable_ = other.growable_;
  may_shrink_ = other.may_shrink_;
  read_only_ = other.read_only_;
  return *this;
}

SharedMemory::~SharedMemory() {
  if (fd_.is_open()) os::close_object(std::move(fd_));
}

auto SharedMemory::make(std::string_view name, const SharedMemoryOptions& options)
    -> Result<SharedMemory> {
  const bool named = !name.empty();
  const bool huge = options.huge_pages != os::HugePages::none;
  if (options.size_bytes == 0 || (named && huge)) return failure(Error::invalid);
  const auto path = named ? PARLEY_TRY(os::object_path(name)) : std::string();
  auto fd =
      named ? PARLEY_TRY(os::create_unnamed(path, options.mode))
            : PARLEY_TRY(os::Memfd::create("parley", {.huge_pages = options.huge_pages})).into_fd();
  const auto status = PARLEY_TRY(os::object_status(fd));
  const std::size_t body_offset = huge ? status.page_bytes : shm::body_alignment;
  const std::size_t bytes = PARLEY_TRY(whole_bytes(options.size_bytes, body_offset));
  if (!named) PARLEY_TRY(os::require_machine_has(bytes));
  PARLEY_TRY(os::reserve(fd, bytes));
  const auto uuid = std::bit_cast<std::array<std::uint64_t, 2>>(PARLEY_TRY(os::random_bytes()));
  {
    const auto region = PARLEY_TRY(map_header(fd, status, os::Access::read_write));
    own_header(region.bytes()).growable.store_relaxed(options.growable ? 1 : 0);
    shm::write_header(shm::header_of(region.bytes()), {.kind = shm::ObjectKind::shared_memory,
                                                       .body_version = shm::shared_memory_version,
                                                       .place_count = 0,
                                                       .segment_bytes = bytes,
                                                       .body_offset = body_offset,
                                                       .uuid = uuid,
                                                       .inode = status.inode});
  }
  if (!named) PARLEY_TRY(os::add_seals(fd, {.shrink = true, .grow = !options.growable}));
  auto memory = PARLEY_TRY(of(std::move(fd)));
  if (options.fill) options.fill(PARLEY_TRY(memory.map()).bytes());
  if (named) PARLEY_TRY(os::publish(memory.fd_, path));
  return memory;
}

auto SharedMemory::of(os::OwnedFd fd) -> Result<SharedMemory> {
  SharedMemory memory(std::move(fd));
  const auto status = PARLEY_TRY(os::object_status(memory.fd_));
  if (status.size_bytes <= shm::body_alignment) return failure(Error::invalid);
  const auto region = PARLEY_TRY(map_header(memory.fd_, status, os::Access::read_only));
  const auto& header = shm::header_of(region.bytes());
  const auto kind =
      shm::check_kind(header, shm::ObjectKind::shared_memory, shm::shared_memory_version);
  const auto places = header.place_count.load_relaxed();
  const auto bytes = header.segment_bytes.load_relaxed();
  const auto body_offset = header.body_offset.load_relaxed();
  const auto growable = own_header(region.bytes()).growable.load_relaxed();
  // After what the header says of it: others may make it grow meanwhile.
  const std::size_t file_bytes = PARLEY_TRY(os::object_status(memory.fd_)).size_bytes;
  // Cut off while it was looked at: what was read are the zeros in its place.
  if (region.is_lost()) return failure(Error::corrupt);
  PARLEY_TRY(kind);
  const bool sound = places == 0 && growable <= 1 && std::has_single_bit(body_offset) &&
                     body_offset >= shm::body_alignment && body_offset < bytes &&
                     (growable == 1 ? bytes <= file_bytes : bytes == file_bytes);
  if (!sound) return failure(Error::corrupt);
  memory.body_offset_ = body_offset;
  memory.least_bytes_ = bytes;
  memory.growable_ = growable == 1;
  memory.may_shrink_ = status.may_shrink;
  memory.read_only_ = status.access == os::Access::read_only;
  return memory;
}

auto SharedMemory::create(const SharedMemoryOptions& options) -> Result<SharedMemory> {
  return make({}, options);
}

auto SharedMemory::create(std::string_view name, const SharedMemoryOptions& options)
    -> Result<SharedMemory> {
  return name.empty() ? failure(Error::invalid) : make(name, options);
}

auto SharedMemory::open(std::string_view name) -> Result<SharedMemory> {
  const auto path = PARLEY_TRY(os::object_path(name));
  return of(PARLEY_TRY(os::open_object(path, os::Access::read_write)));
}

auto SharedMemory::open_read_only(std::string_view name) -> Result<SharedMemory> {
  const auto path = PARLEY_TRY(os::object_path(name));
  return of(PARLEY_TRY(os::open_object(path, os::Access::read_only)));
}

auto SharedMemory::open_or_create(std::string_view name, const SharedMemoryOptions& options)
    -> Result<SharedMemory> {
  return shm::open_or_create([&] { return open(name); }, [&] { return create(name, options); });
}

auto SharedMemory::adopt(os::OwnedFd fd) -> Result<SharedMemory> {
  return of(std::move(fd));
}

auto SharedMemory::unlink(std::string_view name) -> Result<void> {
  return shm::Segment::unlink(name);
}

auto SharedMemory::segment_bytes() const -> Result<std::size_t> {
  const auto status = PARLEY_TRY(os::object_status(fd_));
  if (status.size_bytes < least_bytes_) return failure(Error::corrupt);
  return growable_ ? status.size_bytes : least_bytes_;
}

auto SharedMemory::size_bytes() const -> Result<std::size_t> {
  return PARLEY_TRY(segment_bytes()) - body_offset_;
}

auto SharedMemory::grow(std::size_t size_bytes) -> Result<void> {
  if (read_only_) return failure(Error::access_denied);
  if (!growable_) return failure(Error::not_permitted);
  // One at a time: the file and the header are looked at and changed together, and who finds no
  // space may give back what another has just been promised.
  const auto lock = PARLEY_TRY(os::ClaimLock::acquire(fd_, Deadline::after(shm::patience)));
  const auto status = PARLEY_TRY(os::object_status(fd_));
  const auto region = PARLEY_TRY(map_header(fd_, status, os::Access::read_write));
  auto& least_bytes = shm::header_of(region.bytes()).segment_bytes;
  const std::size_t now = status.size_bytes;
  if (now < std::max<std::uint64_t>(least_bytes.load_relaxed(), least_bytes_) || region.is_lost()) {
    return failure(Error::corrupt);
  }
  if (size_bytes <= now - body_offset_) return {};
  const std::size_t bytes = PARLEY_TRY(whole_bytes(size_bytes, body_offset_));
  if (!may_shrink_) PARLEY_TRY(os::require_machine_has(bytes));
  PARLEY_TRY(os::extend(fd_, now, bytes));
  least_bytes.store_release(bytes);
  return region.is_lost() ? failure(Error::corrupt) : Result<void>();
}

auto SharedMemory::map() const -> Result<SharedMapping> {
  const std::size_t bytes = PARLEY_TRY(segment_bytes());
  auto region = PARLEY_TRY(os::Region::map_alone(fd_, bytes, os::Access::read_write, may_shrink_));
  return SharedMapping(std::make_unique<os::Region>(std::move(region)), body_offset_);
}

auto SharedMemory::map_read_only() const -> Result<SharedReadMapping> {
  const std::size_t bytes = PARLEY_TRY(segment_bytes());
  auto region = PARLEY_TRY(os::Region::map_alone(fd_, bytes, os::Access::read_only, may_shrink_));
  return SharedReadMapping(std::make_unique<os::Region>(std::move(region)), body_offset_);
}

auto SharedMemory::seal() -> Result<void> {
  const auto sealed = os::add_seals(fd_, {.grow = true, .write = true, .seal = true});
  if (sealed) return {};
  if (sealed.error() == Error::not_permitted && PARLEY_TRY(is_sealed())) return {};
  // What has no seals at all is `invalid` to the kernel.
  return failure(sealed.error() == Error::invalid ? Error::not_permitted : sealed.error());
}

auto SharedMemory::is_sealed() const -> Result<bool> {
  const auto seals = os::seals_of(fd_);
  if (!seals && seals.error() != Error::invalid) return failure(seals.error());
  return seals && seals->write;
}

auto SharedMemory::reopen_read_only() const -> Result<SharedMemory> {
  return of(PARLEY_TRY(os::reopen_read_only(fd_)));
}

}  // namespace parley
