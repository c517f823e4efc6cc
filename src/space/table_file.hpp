// The words of a space's table: how they are read, and how they are changed so that a death at any
// point leaves what the next who changes it can finish.
//
// A change is made under the file's lock, by one at a time:
//   version odd; `staged` says what a record is to be, then `staged_index` where: from here on the
//   change is made; the record; chains, counts; `staged_index` 0; version even.
// Who finds the version odd under the lock copies `staged` again, where there is one, and makes
// chains and counts anew from the records. An object that is being removed is `doomed` from before
// it is touched until its record is free.
//
// Edges    VERSION  the writer's release stores after it turned odd, and before it turns even,
//                   with the reader's acquire loads between its two looks.
// Hostile  What is read is checked: an index is below the end, a chain has at most as many links as
//          there are records. A reader that meets an odd version for long takes the lock.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <parley/space.hpp>

#include "os/region.hpp"
#include "shm/layout/space_table.hpp"

namespace parley {

class TableFile {
 public:
  static auto open_or_create(const std::string& directory, SpaceKind kind, mode_t mode)
      -> Result<TableFile>;

  TableFile(TableFile&&) noexcept = default;

  // Under no lock: of one moment.
  [[nodiscard]] auto find(key_t key) const -> std::optional<SpaceEntry>;
  /// Nothing where none is alive there.
  [[nodiscard]] auto at(std::uint32_t index) const -> std::optional<SpaceEntry>;
  [[nodiscard]] auto status() const -> SpaceTableStatus;
  [[nodiscard]] auto stamp(int id) const noexcept -> std::optional<std::uint64_t>;

  /// What may be done under the lock.
  class Locked {
   public:
    Locked(const TableFile& file, os::BorrowedFd fd) noexcept : file_(file), fd_(fd) {}

    /// A free record's index and the id that an object there would have, with memory for it.
    auto vacancy() -> Result<SpaceEntry>;
    /// Puts it where its id says.
    void put(const SpaceEntry& entry);
    /// Ends the object, then frees its record.
    void remove(int id);
    /// Ends an object that is not in the table.
    void discard(int id);

   private:
    friend class TableFile;
    void replace(SpaceEntry entry, std::uint32_t state);
    void copy(std::uint32_t index);
    void unlink(std::uint32_t index);
    void link(std::uint32_t index);
    void count(const shm::SpaceRecord& record, int by);
    void repair();
    void link_anew();

    const TableFile& file_;
    os::BorrowedFd fd_;
  };
  auto while_locked(const std::function<Result<void>(Locked&)>& act) const -> Result<void>;

  [[nodiscard]] auto path_of(int id) const -> std::string {
    return directory_ + "/" + std::to_string(id);
  }

 private:
  TableFile(std::string directory, os::Region region);

  [[nodiscard]] auto body() const noexcept -> shm::SpaceTableBody&;
  [[nodiscard]] auto bucket_at(std::uint32_t at) const noexcept -> shm::Atomic<std::uint32_t>&;
  [[nodiscard]] auto bucket(key_t key) const noexcept -> shm::Atomic<std::uint32_t>&;
  [[nodiscard]] auto record(std::uint32_t index) const noexcept -> shm::SpaceRecord&;
  /// Indexes below it may be read.
  [[nodiscard]] auto end() const noexcept -> std::uint32_t;
  /// Runs `look`, which may see a change half made, until it saw none.
  template <class Look>
  auto look(Look look) const -> decltype(look());

  std::string directory_;
  os::Region region_;
};

}  // namespace parley
