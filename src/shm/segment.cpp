#include "shm/segment.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <new>
#include <utility>

#include "os/futex.hpp"
#include "os/object_file.hpp"
#include "os/seals.hpp"
#include "shm/header.hpp"

namespace parley::shm {
namespace {

constexpr unsigned everybody = 0x7fff'ffff;

using Words = std::array<std::uint64_t, 2>;

/// The number of places, where the file's size is one that such a segment has.
auto check_header(const SegmentHeader& header, std::size_t file_bytes, ObjectKind kind,
                  std::uint32_t body_version) -> Result<std::uint32_t> {
  PARLEY_TRY(check_kind(header, kind, body_version));
  const auto places = header.place_count.load_relaxed();
  const bool sound = places >= 2 && places <= places_at_most &&
                     header.body_offset.load_relaxed() == body_offset(places) &&
                     header.segment_bytes.load_relaxed() == file_bytes &&
                     file_bytes > body_offset(places);
  return sound ? Result<std::uint32_t>(places) : failure(Error::corrupt);
}

/// Gives a new file its size and the memory that it is to have at once.
auto reserve(os::BorrowedFd fd, std::size_t bytes, std::size_t body,
             std::span<const ByteRange> backed) -> Result<void> {
  if (backed.empty()) return os::reserve(fd, bytes);
  PARLEY_TRY(os::set_size(fd, bytes));
  PARLEY_TRY(os::back(fd, 0, body));
  for (const auto& range : backed) {
    PARLEY_TRY(os::back(fd, body + range.begin, body + range.end));
  }
  return {};
}

}  // namespace

Segment::Segment(os::OwnedFd fd, os::FileIdentity identity, os::Region region,
                 std::uint32_t place_count) noexcept
    : fd_(std::move(fd)),
      identity_(identity),
      region_(std::move(region)),
      body_(region_.bytes().subspan(body_offset(place_count))),
      places_(std::launder(reinterpret_cast<Place*>(region_.bytes().data() + places_offset))),
      place_count_(place_count) {}

Segment::File::~File() {
  if (opened_.is_open()) os::close_object(std::move(opened_));
}

Segment::Segment(Segment&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      identity_(other.identity_),
      region_(std::move(other.region_)),
      body_(other.body_),
      places_(other.places_),
      place_count_(other.place_count_),
      place_(std::exchange(other.place_, 0)),
      process_id_(other.process_id_),
      process_(std::exchange(other.process_, nobody)) {}

Segment::~Segment() {
  if (stands()) {
    // Nobody may claim the place before the keeper has forgotten it: see os/keeper.hpp. Where a
    // peer holds the lock for so long, it means ill, and harms none but those who trust it; and to
    // an object whose name is gone nobody new comes.
    const auto file = this->file();
    if (file) {
      const auto lock = os::ClaimLock::acquire(file->fd(), Deadline::after(patience));
      leave();
    } else {
      leave();
    }
  }
  drop_descriptor();
}

auto Segment::owns_descriptor() const -> Result<bool> {
  const auto identity = os::object_identity(fd_);
  if (!identity && identity.error() != Error::bad_descriptor) return failure(identity.error());
  return identity && *identity == identity_;
}

void Segment::drop_descriptor() noexcept {
  if (!fd_.is_open()) return;
  const auto owns = owns_descriptor();
  if (owns && !*owns) {
    static_cast<void>(std::move(fd_).release());
  } else {
    os::close_object(std::move(fd_));
  }
}

auto Segment::close_descriptor() -> Result<void> {
  if (path_.empty()) return failure(Error::invalid);
  drop_descriptor();
  return {};
}

auto Segment::file() const -> Result<File> {
  if (fd_.is_open()) {
    if (!PARLEY_TRY(owns_descriptor())) return failure(Error::removed);
    return File(os::BorrowedFd(fd_));
  }
  auto opened = os::open_object(path_, os::Access::read_write);
  if (!opened) return failure(opened.error() == Error::not_found ? Error::removed : opened.error());
  File file(std::move(*opened));
  if (PARLEY_TRY(os::object_identity(file.fd())) != identity_) return failure(Error::removed);
  return file;
}

auto Segment::create(const SegmentName& name, const SegmentShape& shape,
                     const std::function<void(std::span<std::byte>)>& fill) -> Result<Segment> {
  if (shape.participants == 0 || shape.participants >= places_at_most || shape.body_bytes == 0) {
    return failure(Error::invalid);
  }
  const std::uint32_t places = shape.participants + 1;
  const std::size_t bytes = body_offset(places) + shape.body_bytes;
  const bool named = !name.name.empty();
  auto path = named ? PARLEY_TRY(os::object_path(name.name)) : std::string();
  auto fd = PARLEY_TRY(named ? os::create_unnamed(path, name.mode) : os::create_memory("parley"));
  // Where there are parts that get their memory later, each is asked for when it does.
  if (!named && shape.backed.empty()) PARLEY_TRY(os::require_machine_has(bytes));
  PARLEY_TRY(reserve(fd, bytes, body_offset(places), shape.backed));
  if (!named) PARLEY_TRY(os::add_seals(fd, {.shrink = true, .grow = true, .seal = true}));
  const auto status = PARLEY_TRY(os::object_status(fd));
  const auto identity = PARLEY_TRY(os::object_identity(fd));
  const auto uuid = std::bit_cast<Words>(PARLEY_TRY(os::random_bytes()));
  auto region = PARLEY_TRY(os::Region::map(fd, bytes, named, has_rings(shape.kind)));
  Segment segment(std::move(fd), identity, std::move(region), places);
  segment.path_ = std::move(path);
  fill(segment.body());
  write_header(segment.header(), {.kind = shape.kind,
                                  .body_version = shape.body_version,
                                  .place_count = places,
                                  .segment_bytes = bytes,
                                  .body_offset = body_offset(places),
                                  .uuid = uuid,
                                  .inode = status.inode});
  return segment;
}

auto Segment::back(const ByteRange& range) const -> Result<void> {
  const auto body = body_offset(place_count_);
  if (!region_.may_shrink()) PARLEY_TRY(os::require_machine_has(body + range.end - range.begin));
  const auto file = PARLEY_TRY(this->file());
  return os::back(file.fd(), body + range.begin, body + range.end);
}

void Segment::give_back(const ByteRange& range) const noexcept {
  const auto body = body_offset(place_count_);
  const auto file = this->file();
  if (file) os::give_back(file->fd(), body + range.begin, body + range.end);
}

auto Segment::publish(std::string_view name) const -> Result<void> {
  return os::publish(fd_, PARLEY_TRY(os::object_path(name)));
}

auto Segment::unlink(std::string_view name) -> Result<void> {
  return os::unlink_object(PARLEY_TRY(os::object_path(name)));
}

auto Segment::open(std::string_view name, ObjectKind kind, std::uint32_t body_version)
    -> Result<Segment> {
  auto path = PARLEY_TRY(os::object_path(name));
  auto segment = PARLEY_TRY(
      map(PARLEY_TRY(os::open_object(path, os::Access::read_write)), kind, body_version));
  segment.path_ = std::move(path);
  return segment;
}

auto Segment::adopt(os::OwnedFd fd, ObjectKind kind, std::uint32_t body_version)
    -> Result<Segment> {
  return map(std::move(fd), kind, body_version);
}

auto Segment::map(os::OwnedFd fd, ObjectKind kind, std::uint32_t body_version) -> Result<Segment> {
  const auto status = PARLEY_TRY(os::object_status(fd));
  if (status.size_bytes <= body_alignment || status.access != os::Access::read_write) {
    return failure(Error::invalid);
  }
  const auto identity = PARLEY_TRY(os::object_identity(fd));
  auto region =
      PARLEY_TRY(os::Region::map(fd, status.size_bytes, status.may_shrink, has_rings(kind)));
  const auto checked =
      check_header(header_of(region.bytes()), status.size_bytes, kind, body_version);
  // Cut off while it was looked at: what was read are the zeros in its place.
  if (region.is_lost()) return failure(Error::corrupt);
  const auto places = PARLEY_TRY(checked);
  return Segment(std::move(fd), identity, std::move(region), places);
}

auto Segment::uuid() const noexcept -> Words {
  return {header().uuid[0].load_relaxed(), header().uuid[1].load_relaxed()};
}

void Segment::free_place(std::uint32_t at) noexcept {
  auto& generation = places_[at].generation;
  generation.store_relaxed(generation.load_relaxed() + 1);
  places_[at].life.store_release(0);  // FREE
}

auto Segment::first_free() const noexcept -> std::uint32_t {
  for (std::uint32_t at = 1; at < place_count_; ++at) {
    if (places_[at].life.load_acquire() == 0) return at;  // FREE
  }
  return place_count_;
}

void Segment::declare_strangers_dead(std::uint64_t inode) {
  const auto boot = this_boot();
  const bool boot_known = boot != Words{};
  const Words stored{header().boot[0].load_relaxed(), header().boot[1].load_relaxed()};
  if (header().inode.load_relaxed() == inode && (!boot_known || stored == boot)) return;
  for (std::uint32_t at = 0; at < place_count_; ++at) {
    if (places_[at].life.load_relaxed() != 0) places_[at].life.store_release(dead_life);
  }
  // Last: whoever dies before this leaves it to be done again.
  header().inode.store_release(inode);
  for (std::size_t i = 0; boot_known && i < boot.size(); ++i)
    header().boot[i].store_release(boot[i]);
}

auto Segment::claim(const std::function<Result<void>()>& clean_up) -> Result<void> {
  const auto file = PARLEY_TRY(this->file());
  const auto status = PARLEY_TRY(os::object_status(file.fd()));
  if (region_.is_lost()) return failure(Error::corrupt);
  const auto lock = PARLEY_TRY(os::ClaimLock::acquire(file.fd(), Deadline::after(patience)));
  if (is_current()) return {};  // another thread of this process was faster
  declare_strangers_dead(status.inode);
  if (first_free() == place_count_) {
    if (next_dead(0) == place_count_) return failure(Error::no_space);
    PARLEY_TRY(stand_at(0));
    const auto cleaned = clean_up();
    leave();
    PARLEY_TRY(cleaned);
  }
  const auto at = first_free();
  return at == place_count_ ? failure(Error::no_space) : stand_at(at);
}

auto Segment::stand_at(std::uint32_t at) -> Result<void> {
  auto& life = places_[at].life;
  // Before the claim, so that nobody stands where the others do not look.
  if (header().places_used.load_relaxed() <= at) header().places_used.store_release(at + 1);
  const auto mine = PARLEY_TRY(os::watch_life(life.futex_word(), region_.may_shrink()));
  if (!os::is_fenced()) header().unfenced.store_release(1);
  std::uint32_t expected = life.load_relaxed();
  const bool vacant = expected == 0 || (at == 0 && is_dead(expected));
  if (!vacant || !life.compare_exchange_acq_rel(expected, mine)) {
    os::unwatch_life(life.futex_word());
    return failure(Error::corrupt);
  }
  place_ = at;
  process_id_ = os::process_id();
  __atomic_store_n(&process_, os::process_number(), __ATOMIC_RELEASE);
  // Who sleeps now must watch this life too.
  header().arrivals.fetch_add_acq_rel(1);  // ARRIVAL
  os::futex_wake(header().arrivals.futex_word(), everybody);
  return {};
}

void Segment::leave() noexcept {
  if (!stands()) return;
  auto& life = places_[place_].life;
  if (place_ == 0) {
    life.store_release(0);  // nothing was left behind
  } else {
    // Still with the keeper's thread id: whoever dies before the wake-up leaves it to the kernel.
    life.store_release(life.load_relaxed() | dead_life);
  }
  os::futex_wake(life.futex_word(), 1);
  os::unwatch_life(life.futex_word());
  __atomic_store_n(&process_, nobody, __ATOMIC_RELEASE);
}

void Segment::pass_on_deaths() const noexcept {
  for (auto at = next_dead(0); at < place_count_; at = next_dead(at + 1)) {
    os::futex_wake(places_[at].life.futex_word(), 1);
  }
}

void Segment::watch(Watch& watch) const noexcept {
  auto& words = watch.words_;
  watch.has_dead_ = false;
  // Before the places are read, so that whoever comes after that changes it. ARRIVAL
  words[1] = {.word = header().arrivals.futex_word(), .expected = header().arrivals.load_acquire()};
  std::size_t count = 2;  // the first is the sleeper's own
  const std::uint32_t end = places_used();
  for (std::uint32_t at = 0; at < end && count < words.size() - 1; ++at) {
    if (at == place_) continue;
    const auto life = places_[at].life.load_acquire();
    watch.has_dead_ = watch.has_dead_ || is_dead(life);
    if (life == 0 || is_dead(life)) continue;
    words[count++] = {.word = places_[at].life.futex_word(), .expected = life};
  }
  watch.count_ = count;
}

auto Segment::wait(Watch& watch, const std::uint32_t* futex_word, std::uint32_t expected,
                   Deadline deadline) const -> Result<void> {
  watch.words_[0] = {.word = futex_word, .expected = expected};
  const auto woken =
      os::futex_wait({watch.words_.data(), watch.count_}, deadline, header().bell.futex_word());
  // A peer that changes the words all the time could keep us here.
  if (woken) return deadline.check();
  // The kernel found no word: the object's file was cut off.
  if (!woken && woken.error() == static_cast<Error>(EFAULT)) return failure(Error::corrupt);
  return woken;
}

auto Segment::wait_fenced(Watch& watch, const std::uint32_t* futex_word, std::uint32_t expected,
                          Deadline deadline) const -> Result<void> {
  constexpr std::chrono::milliseconds unfenced_slice{2};
  const bool fenced = is_fenced();
  const auto until =
      fenced ? deadline : deadline.no_later_than(Deadline::after(unfenced_slice).point());
  const auto woken = wait(watch, futex_word, expected, until);
  if (woken) return {};
  if (woken.error() == until.error() && !fenced && !deadline.has_passed()) return {};
  return woken;
}

}  // namespace parley::shm
