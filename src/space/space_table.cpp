#include <sys/ipc.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include <parley/space.hpp>

#include "space/space_table_state.hpp"

namespace parley {

auto SpaceEntry::lets(const SpaceUser& user, mode_t wanted) const -> bool {
  const mode_t asked = (wanted >> 6U | wanted >> 3U | wanted) & 07U;
  const auto in_group = [&](gid_t group) {
    return group == user.gid || std::ranges::find(user.groups, group) != user.groups.end();
  };
  mode_t granted = mode;
  if (user.uid == uid || user.uid == creator_uid) {
    granted >>= 6U;
  } else if (in_group(gid) || in_group(creator_gid)) {
    granted >>= 3U;
  }
  return (asked & ~granted & 07U) == 0 || user.is_privileged;
}

auto SpaceEntry::is_of(const SpaceUser& user) const -> bool {
  return user.uid == uid || user.uid == creator_uid || user.is_privileged;
}

SpaceTable::SpaceTable(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
SpaceTable::SpaceTable(SpaceTable&&) noexcept = default;
auto SpaceTable::operator=(SpaceTable&&) noexcept -> SpaceTable& = default;
SpaceTable::~SpaceTable() = default;

namespace {

auto make_new(TableFile::Locked& locked, const TableFile& file, const SpaceTable::Wish& wish,
              const SpaceUser& user, const SpaceTable::Make& make) -> Result<int> {
  const auto status = file.status();
  const bool fits = status.count < wish.objects_at_most && status.total <= wish.total_at_most &&
                    wish.size <= wish.total_at_most - status.total;
  if (!fits) return failure(Error::no_space);
  auto entry = PARLEY_TRY(locked.vacancy());
  entry.key = wish.key;
  entry.uid = entry.creator_uid = user.uid;
  entry.gid = entry.creator_gid = user.gid;
  entry.mode = static_cast<mode_t>(wish.flags) & 0777U;
  entry.size = wish.size;
  entry.changed = std::time(nullptr);
  entry.creator_process = wish.process;
  const auto path = file.path_of(entry.id);
  auto made = make(entry, path);
  if (!made && made.error() == Error::exists) {
    // Of somebody who died before it stood in the table.
    locked.discard(entry.id);
    made = make(entry, path);
  }
  PARLEY_TRY(std::move(made));
  locked.put(entry);
  return entry.id;
}

}  // namespace

auto SpaceTable::get(const Wish& wish, const SpaceUser& user, const Check& check, const Make& make)
    -> Result<int> {
  const bool creates = wish.key == IPC_PRIVATE || (wish.flags & IPC_CREAT) != 0;
  const bool excludes = creates && (wish.flags & IPC_EXCL) != 0;
  const auto open = [&](const SpaceEntry& found) -> Result<int> {
    if (excludes) return failure(Error::exists);
    PARLEY_TRY(check(found));
    const auto wanted = static_cast<mode_t>(wish.flags) & 0777U;
    return found.lets(user, wanted) ? Result<int>(found.id) : failure(Error::access_denied);
  };
  if (wish.key != IPC_PRIVATE) {
    if (const auto found = state_->file.find(wish.key)) return open(*found);
    if (!creates) return failure(Error::not_found);
  }
  Result<int> id = failure(Error::io);
  PARLEY_TRY(state_->file.while_locked([&](TableFile::Locked& locked) -> Result<void> {
    const auto found = wish.key == IPC_PRIVATE ? std::nullopt : state_->file.find(wish.key);
    id = found ? open(*found) : make_new(locked, state_->file, wish, user, make);
    return {};
  }));
  return id;
}

auto SpaceTable::find(int id) const -> Result<SpaceEntry> {
  if (id < 0) return failure(Error::invalid);
  const auto found = state_->file.at(static_cast<std::uint32_t>(id) % shm::space_records_at_most);
  return found && found->id == id ? Result<SpaceEntry>(*found) : failure(Error::invalid);
}

auto SpaceTable::at(int index) const -> Result<SpaceEntry> {
  const auto found = index < 0 ? std::nullopt : state_->file.at(static_cast<std::uint32_t>(index));
  return found ? Result<SpaceEntry>(*found) : failure(Error::invalid);
}

auto SpaceTable::stamp(int id) const noexcept -> std::optional<std::uint64_t> {
  return state_->file.stamp(id);
}

auto SpaceTable::change(int id, const std::function<Result<void>(SpaceEntry&)>& change)
    -> Result<void> {
  return state_->file.while_locked([&](TableFile::Locked& locked) -> Result<void> {
    auto entry = PARLEY_TRY(find(id));
    PARLEY_TRY(change(entry));
    entry.id = id;
    locked.put(entry);
    return {};
  });
}

auto SpaceTable::remove(int id, const Check& check) -> Result<void> {
  return state_->file.while_locked([&](TableFile::Locked& locked) -> Result<void> {
    PARLEY_TRY(check(PARLEY_TRY(find(id))));
    locked.remove(id);
    return {};
  });
}

auto SpaceTable::status() const -> SpaceTableStatus {
  return state_->file.status();
}

auto SpaceTable::path_of(int id) const -> std::string {
  return state_->file.path_of(id);
}

}  // namespace parley
