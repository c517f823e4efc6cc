#include "space/table_file.hpp"

#include <sys/ipc.h>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include <parley/message_queue.hpp>
#include <parley/semaphore_set.hpp>

#include "os/file_lock.hpp"
#include "os/object_file.hpp"
#include "shm/header.hpp"

namespace parley {
namespace {

constexpr std::size_t file_bytes = shm::body_alignment + shm::space_table_bytes;
constexpr std::uint32_t records_per_page = 4096 / sizeof(shm::SpaceRecord);

auto index_of(int id) -> std::uint32_t {
  return static_cast<std::uint32_t>(id) % shm::space_records_at_most;
}

/// All of a record but its state and its links.
auto read(const shm::SpaceRecord& record) -> SpaceEntry {
  return {.id = static_cast<int>(record.id.load_acquire()),
          .key = static_cast<key_t>(record.key.load_acquire()),
          .uid = record.uid.load_acquire(),
          .gid = record.gid.load_acquire(),
          .creator_uid = record.creator_uid.load_acquire(),
          .creator_gid = record.creator_gid.load_acquire(),
          .mode = record.mode.load_acquire() & 02777,
          .is_marked = record.state.load_acquire() == shm::record_marked,
          .size = record.size.load_acquire(),
          .changed = static_cast<std::int64_t>(record.changed.load_acquire()),
          .attached = static_cast<std::int64_t>(record.attached.load_acquire()),
          .detached = static_cast<std::int64_t>(record.detached.load_acquire()),
          .creator_process = static_cast<pid_t>(record.creator_process.load_acquire()),
          .last_process = static_cast<pid_t>(record.last_process.load_acquire()),
          .stamp = record.stamp.load_acquire()};
}

/// So that whoever sees one of these stores also sees that the version is odd.
void write(shm::SpaceRecord& record, const SpaceEntry& entry, std::uint32_t state) {
  record.id.store_release(static_cast<std::uint32_t>(entry.id));
  record.state.store_release(state);
  record.key.store_release(static_cast<std::uint32_t>(entry.key));
  record.uid.store_release(entry.uid);
  record.gid.store_release(entry.gid);
  record.creator_uid.store_release(entry.creator_uid);
  record.creator_gid.store_release(entry.creator_gid);
  record.mode.store_release(entry.mode);
  record.creator_process.store_release(static_cast<std::uint32_t>(entry.creator_process));
  record.size.store_release(entry.size);
  record.changed.store_release(static_cast<std::uint64_t>(entry.changed));
  record.attached.store_release(static_cast<std::uint64_t>(entry.attached));
  record.detached.store_release(static_cast<std::uint64_t>(entry.detached));
  record.last_process.store_release(static_cast<std::uint32_t>(entry.last_process));
  record.stamp.store_release(entry.stamp);
}

/// Ends the object of a file for all who use it. A file that is none, or missing, needs no more.
void end_object(SpaceKind kind, const std::string& path) {
  if (kind == SpaceKind::semaphores) {
    if (auto set = SemaphoreSet::open(path)) static_cast<void>(set->remove());
  } else if (kind == SpaceKind::messages) {
    if (auto queue = MessageQueue::open(path)) static_cast<void>(queue->remove());
  } else {
    static_cast<void>(os::unlink_object(path + ".attachments"));
  }
  static_cast<void>(os::unlink_object(path));
}

}  // namespace

TableFile::TableFile(std::string directory, os::Region region)
    : directory_(std::move(directory)), region_(std::move(region)) {}

auto TableFile::open_or_create(const std::string& directory, SpaceKind kind, mode_t mode)
    -> Result<TableFile> {
  const std::string path = directory + "/table";
  auto opened = os::open_object(path, os::Access::read_write);
  if (!opened && opened.error() == Error::not_found) {
    auto file = PARLEY_TRY(os::create_unnamed(path, mode));
    PARLEY_TRY(os::set_size(file, file_bytes));
    PARLEY_TRY(os::back(file, 0, shm::body_alignment + shm::space_records_offset));
    const auto status = PARLEY_TRY(os::object_status(file));
    TableFile table(directory, PARLEY_TRY(os::Region::map_alone(file, file_bytes,
                                                                os::Access::read_write, true)));
    table.body().kind.store_relaxed(static_cast<std::uint32_t>(kind));
    shm::write_header(
        shm::header_of(table.region_.bytes()),
        {.kind = shm::ObjectKind::space_table,
         .body_version = shm::space_table_version,
         .place_count = 0,
         .segment_bytes = file_bytes,
         .body_offset = shm::body_alignment,
         .uuid = std::bit_cast<std::array<std::uint64_t, 2>>(PARLEY_TRY(os::random_bytes())),
         .inode = status.inode});
    const auto published = os::publish(file, path);
    if (published) return table;
    if (published.error() != Error::exists) return failure(published.error());
    opened = os::open_object(path, os::Access::read_write);
  }
  const auto file = PARLEY_TRY(std::move(opened));
  const auto status = PARLEY_TRY(os::object_status(file));
  if (status.size_bytes != file_bytes) return failure(Error::invalid);
  TableFile table(
      directory, PARLEY_TRY(os::Region::map_alone(file, file_bytes, os::Access::read_write, true)));
  PARLEY_TRY(shm::check_kind(shm::header_of(table.region_.bytes()), shm::ObjectKind::space_table,
                             shm::space_table_version));
  const bool fits = table.body().kind.load_relaxed() == static_cast<std::uint32_t>(kind);
  return fits ? Result<TableFile>(std::move(table)) : failure(Error::wrong_kind);
}

auto TableFile::body() const noexcept -> shm::SpaceTableBody& {
  auto* const bytes = region_.bytes().data() + shm::body_alignment;
  return *std::launder(reinterpret_cast<shm::SpaceTableBody*>(bytes));
}

auto TableFile::bucket_at(std::uint32_t at) const noexcept -> shm::Atomic<std::uint32_t>& {
  auto* const bytes = region_.bytes().data() + shm::body_alignment + shm::space_buckets_offset;
  return std::launder(reinterpret_cast<shm::Atomic<std::uint32_t>*>(bytes))[at];
}

auto TableFile::bucket(key_t key) const noexcept -> shm::Atomic<std::uint32_t>& {
  // Keys of ftok(3) differ in any of their bits, made-up ones in the low ones.
  static_assert(shm::space_buckets == 1U << 13U);
  return bucket_at(static_cast<std::uint32_t>(key) * 0x9e37'79b1U >> 19U);
}

auto TableFile::record(std::uint32_t index) const noexcept -> shm::SpaceRecord& {
  auto* const bytes = region_.bytes().data() + shm::body_alignment + shm::space_records_offset;
  return std::launder(reinterpret_cast<shm::SpaceRecord*>(bytes))[index];
}

auto TableFile::end() const noexcept -> std::uint32_t {
  return std::min(body().used_records.load_acquire(), shm::space_records_at_most);
}

template <class Look>
auto TableFile::look(Look look) const -> decltype(look()) {
  constexpr int looks_at_most = 10'000;
  for (int looks = 0; looks < looks_at_most; ++looks) {
    const auto version = body().version.load_acquire();  // VERSION
    if (version % 2 != 0) continue;
    auto seen = look();
    if (body().version.load_acquire() == version) return seen;  // VERSION
  }
  // Somebody is at it for long, or has died there.
  decltype(look()) seen{};
  const auto looked = while_locked([&](Locked&) -> Result<void> {
    seen = look();
    return {};
  });
  return looked ? seen : decltype(look()){};
}

auto TableFile::find(key_t key) const -> std::optional<SpaceEntry> {
  return look([&]() -> std::optional<SpaceEntry> {
    auto at = bucket(key).load_acquire();
    for (std::uint32_t links = 0; links < shm::space_records_at_most; ++links) {
      if (at == 0 || at > end()) return std::nullopt;
      const auto& found = record(at - 1);
      const bool lives = found.state.load_acquire() == shm::record_lives;
      if (lives && found.key.load_acquire() == static_cast<std::uint32_t>(key)) return read(found);
      at = found.next.load_acquire();
    }
    return std::nullopt;
  });
}

auto TableFile::at(std::uint32_t index) const -> std::optional<SpaceEntry> {
  return look([&]() -> std::optional<SpaceEntry> {
    if (index >= end()) return std::nullopt;
    const auto& found = record(index);
    if (found.state.load_acquire() == shm::record_free) return std::nullopt;
    const auto entry = read(found);
    return index_of(entry.id) == index ? std::optional(entry) : std::nullopt;
  });
}

auto TableFile::status() const -> SpaceTableStatus {
  return look([&]() -> SpaceTableStatus {
    const auto count = body().count.load_acquire();
    auto highest = static_cast<int>(count == 0 ? 0 : end());
    while (highest > 0 && record(static_cast<std::uint32_t>(highest) - 1).state.load_acquire() ==
                              shm::record_free) {
      --highest;
    }
    return {.count = count,
            .marked = body().marked.load_acquire(),
            .total = body().total.load_acquire(),
            .highest_index = highest - 1};
  });
}

auto TableFile::stamp(int id) const noexcept -> std::optional<std::uint64_t> {
  const auto index = index_of(id);
  if (id < 0 || index >= end()) return std::nullopt;
  const auto& found = record(index);
  const auto stamp = found.stamp.load_acquire();
  const bool lives = found.state.load_acquire() != shm::record_free &&
                     found.id.load_acquire() == static_cast<std::uint32_t>(id);
  return lives ? std::optional(stamp) : std::nullopt;
}

auto TableFile::while_locked(const std::function<Result<void>(Locked&)>& act) const
    -> Result<void> {
  return os::while_locked(directory_ + "/table", [&](os::BorrowedFd fd) -> Result<void> {
    Locked locked(*this, fd);
    auto& version = body().version;
    const bool left_by_the_dead = version.load_relaxed() % 2 != 0;
    if (left_by_the_dead || body().doomed.load_relaxed() != 0) locked.repair();
    const auto acted = act(locked);
    return region_.is_lost() ? failure(Error::corrupt) : acted;
  });
}

auto TableFile::Locked::vacancy() -> Result<SpaceEntry> {
  auto& body = file_.body();
  const auto free = body.first_free.load_relaxed();
  const auto used = file_.end();
  const auto index = free != 0 && free <= used ? free - 1 : used;
  if (index >= shm::space_records_at_most) return failure(Error::no_space);
  const auto backed = body.backed_records.load_relaxed() / records_per_page * records_per_page;
  if (index >= backed) {
    const auto from = shm::body_alignment + shm::space_records_offset +
                      std::size_t{backed} * sizeof(shm::SpaceRecord);
    PARLEY_TRY(os::back(fd_, from, from + 4096));
    body.backed_records.store_release(backed + records_per_page);
  }
  const auto& last = file_.record(index);
  const bool first = last.stamp.load_relaxed() == 0;
  const auto sequence =
      first ? 0 : (last.id.load_relaxed() / shm::space_records_at_most + 1) % shm::space_sequences;
  return SpaceEntry{.id = static_cast<int>(sequence * shm::space_records_at_most + index),
                    .stamp = last.stamp.load_relaxed()};
}

void TableFile::Locked::put(const SpaceEntry& entry) {
  replace(entry, entry.is_marked ? shm::record_marked : shm::record_lives);
}

void TableFile::Locked::remove(int id) {
  auto& body = file_.body();
  const auto index = index_of(id);
  if (index >= file_.end() || file_.record(index).state.load_relaxed() == shm::record_free) return;
  body.doomed.store_release(index + 1);
  discard(id);
  replace(read(file_.record(index)), shm::record_free);
  body.doomed.store_release(0);
}

void TableFile::Locked::discard(int id) {
  end_object(static_cast<SpaceKind>(file_.body().kind.load_relaxed()), file_.path_of(id));
}

void TableFile::Locked::replace(SpaceEntry entry, std::uint32_t state) {
  auto& body = file_.body();
  const auto index = index_of(entry.id);
  body.version.store_relaxed(body.version.load_relaxed() + 1);
  ++entry.stamp;
  write(body.staged, entry, state);
  body.staged_index.store_release(index + 1);
  unlink(index);
  copy(index);
  link(index);
  body.staged_index.store_release(0);
  body.version.store_release(body.version.load_relaxed() + 1);  // VERSION
}

void TableFile::Locked::copy(std::uint32_t index) {
  const auto& staged = file_.body().staged;
  write(file_.record(index), read(staged), staged.state.load_relaxed());
}

/// Takes a record out of its chain and out of the counts.
void TableFile::Locked::unlink(std::uint32_t index) {
  auto& body = file_.body();
  auto& record = file_.record(index);
  if (index == file_.end()) {
    body.used_records.store_release(index + 1);
    return;
  }
  const auto state = record.state.load_relaxed();
  if (state != shm::record_free) {
    count(record, -1);
  }
  auto* link = state == shm::record_free
                   ? &body.first_free
                   : &file_.bucket(static_cast<key_t>(record.key.load_relaxed()));
  for (std::uint32_t links = 0; links < shm::space_records_at_most; ++links) {
    const auto at = link->load_relaxed();
    if (at == 0 || at > file_.end()) return;
    if (at == index + 1) {
      link->store_release(record.next.load_relaxed());
      return;
    }
    link = &file_.record(at - 1).next;
  }
}

/// Puts it into the chain where it belongs, and into the counts.
void TableFile::Locked::link(std::uint32_t index) {
  auto& record = file_.record(index);
  const auto state = record.state.load_relaxed();
  const auto key = static_cast<key_t>(record.key.load_relaxed());
  if (state != shm::record_free) count(record, 1);
  if (state == shm::record_free || key != IPC_PRIVATE) {
    auto& first = state == shm::record_free ? file_.body().first_free : file_.bucket(key);
    record.next.store_release(first.load_relaxed());
    first.store_release(index + 1);
  } else {
    record.next.store_release(0);
  }
}

void TableFile::Locked::count(const shm::SpaceRecord& record, int by) {
  auto& body = file_.body();
  const auto size = record.size.load_relaxed();
  const bool marked = record.state.load_relaxed() == shm::record_marked;
  body.count.store_release(body.count.load_relaxed() + static_cast<std::uint32_t>(by));
  body.marked.store_release(body.marked.load_relaxed() +
                            (marked ? static_cast<std::uint32_t>(by) : 0));
  body.total.store_release(by > 0 ? body.total.load_relaxed() + size
                                  : body.total.load_relaxed() - size);
}

/// Finishes what a process was doing when it died under the lock.
void TableFile::Locked::repair() {
  auto& body = file_.body();
  const auto version = body.version.load_relaxed();
  if (version % 2 != 0) {
    const auto staged = body.staged_index.load_relaxed();
    if (staged != 0 && staged <= shm::space_records_at_most &&
        staged <= body.backed_records.load_relaxed()) {
      copy(staged - 1);
      if (staged > file_.end()) body.used_records.store_release(staged);
    }
    link_anew();
    body.staged_index.store_release(0);
    body.version.store_release(version + 1);  // VERSION
  }
  const auto doomed = body.doomed.load_relaxed();
  if (doomed == 0) return;
  if (doomed <= file_.end()) {
    remove(static_cast<int>(file_.record(doomed - 1).id.load_relaxed()));
  }
  body.doomed.store_release(0);
}

void TableFile::Locked::link_anew() {
  auto& body = file_.body();
  for (std::uint32_t at = 0; at < shm::space_buckets; ++at) file_.bucket_at(at).store_release(0);
  body.first_free.store_release(0);
  body.count.store_release(0);
  body.marked.store_release(0);
  body.total.store_release(0);
  for (auto at = file_.end(); at > 0; --at) link(at - 1);
}

}  // namespace parley
