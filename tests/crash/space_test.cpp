// Processes that die while they change a space's table.
#include <doctest/doctest.h>
#include <sys/ipc.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <parley/space.hpp>

#include "crash/crash.hpp"
#include "support/temp_dir.hpp"

namespace parley::test {
namespace {

// Each death is in a space of its own, which costs more than the death.
constexpr Sample of_spaces{.of_instructions = 400, .of_instructions_in_full = 4000};

/// Memory: objects that are nothing but files, so that the steps are those of the table.
class TableWorld {
 public:
  TableWorld() : space_(Space::open_or_create(directory_ / "space").value()) {}

  auto table() -> SpaceTable& { return space_.table(SpaceKind::memory); }

  auto get(key_t key, int flags = IPC_CREAT | 0600) -> Result<int> {
    return table().get(
        {.key = key,
         .flags = flags,
         .size = 10,
         .objects_at_most = 100,
         .total_at_most = 1000,
         .process = getpid()},
        {.uid = geteuid(), .gid = getegid(), .groups = {}},
        [](const SpaceEntry&) { return Result<void>(); },
        [](const SpaceEntry&, const std::string& path) -> Result<void> {
          if (std::filesystem::exists(path)) return failure(Error::exists);
          std::ofstream{path} << "";
          return {};
        });
  }

  void remove(int id) {
    REQUIRE(table().remove(id, [](const SpaceEntry&) { return Result<void>(); }));
  }

  /// Every object is there by its key, by its id and at its index, and in the counts, and so is its
  /// file; nothing else is.
  void check_whole(const std::set<key_t>& keys) {
    // Whoever changes the table next finishes what a dead one has begun.
    const auto last = get(IPC_PRIVATE);
    REQUIRE(last);
    remove(*last);
    const auto status = table().status();
    CHECK(status.count == keys.size());
    CHECK(status.total == keys.size() * 10);
    std::set<key_t> found;
    std::size_t entries = 0;
    for (int index = 0; index <= status.highest_index; ++index) {
      const auto entry = table().at(index);
      if (!entry) continue;
      ++entries;
      found.insert(entry->key);
      CHECK(std::filesystem::exists(table().path_of(entry->id)));
      CHECK(table().find(entry->id));
      CHECK(get(entry->key, 0600) == entry->id);
    }
    CHECK(found == keys);
    CHECK(entries == keys.size());
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& file :
         std::filesystem::directory_iterator(directory_ / "space/sysv-memory")) {
      ++files;
    }
    CHECK(files == keys.size() + 1);
  }

 private:
  TempDir directory_;
  Space space_;
};

}  // namespace

TEST_CASE("a table is whole after a death in making an object, with its file or without") {
  crash_at_each_step(
      [](Round& round) {
        TableWorld world;
        REQUIRE(world.get(1));
        Victim victim(round, [] {}, [&] { REQUIRE(world.get(2)); });
        victim.strike();
        const bool is_made = world.get(2, 0600).has_value();
        CHECK((is_made || !round.lived(0)));
        const auto now = world.get(2);
        REQUIRE(now);
        world.check_whole({1, 2});
      },
      of_spaces);
}

TEST_CASE("a table is whole after a death in making an object in another's place") {
  crash_at_each_step(
      [](Round& round) {
        TableWorld world;
        const auto first = world.get(1).value();
        REQUIRE(world.get(2));
        world.remove(first);
        Victim victim(round, [] {}, [&] { REQUIRE(world.get(3)); });
        victim.strike();
        const auto made = world.get(3).value();
        CHECK(made != first);
        world.check_whole({2, 3});
      },
      of_spaces);
}

TEST_CASE("an object that is being removed when its remover dies is there, or gone with its file") {
  crash_at_each_step(
      [](Round& round) {
        TableWorld world;
        REQUIRE(world.get(1));
        const auto id = world.get(2).value();
        Victim victim(round, [] {}, [&] { world.remove(id); });
        victim.strike();
        // The next change decides.
        REQUIRE(world.get(3));
        const bool is_there = world.get(2, 0600).has_value();
        CHECK_FALSE((is_there && round.lived(0)));
        if (is_there) world.remove(id);
        world.check_whole({1, 3});
      },
      of_spaces);
}

TEST_CASE("a change of an entry has happened whole or not at all") {
  crash_at_each_step(
      [](Round& round) {
        TableWorld world;
        const auto id = world.get(1).value();
        Victim victim(
            round, [] {},
            [&] {
              REQUIRE(world.table().change(id, [](SpaceEntry& entry) -> Result<void> {
                entry.uid = 77;
                entry.mode = 0640;
                return {};
              }));
            });
        victim.strike();
        world.check_whole({1});
        const auto entry = world.table().find(id).value();
        const bool is_new = entry.uid == 77 && entry.mode == 0640;
        const bool is_old = entry.uid == geteuid() && entry.mode == 0600 && !round.lived(0);
        CHECK((is_new || is_old));
      },
      of_spaces);
}

TEST_CASE("who finishes what a dead one began may die at it, too") {
  crash_at_each_pair([](Round& round) {
    TableWorld world;
    REQUIRE(world.get(1));
    const auto id = world.get(2).value();
    Victim first(round, [] {}, [&] { world.remove(id); });
    first.strike();
    Victim second(round, [] {}, [&] { REQUIRE(world.get(3)); });
    second.strike();
    REQUIRE(world.get(3));
    if (world.get(2, 0600)) {
      CHECK_FALSE(round.lived(0));
      world.remove(id);
    }
    world.check_whole({1, 3});
  });
}

}  // namespace parley::test
