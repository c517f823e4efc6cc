// Many who make and remove objects of one space at once.
#include <doctest/doctest.h>
#include <sys/ipc.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <parley/space.hpp>

#include "support/temp_dir.hpp"

using parley::Error;
using parley::Result;
using parley::Space;
using parley::SpaceEntry;
using parley::SpaceKind;
using parley::test::TempDir;

TEST_CASE("of all who make an object of one key exactly one does, each time") {
  const TempDir directory;
  auto space = Space::open_or_create(directory / "space").value();
  auto& table = space.table(SpaceKind::memory);
  constexpr int thread_count = 4;
  constexpr int keys = 500;
  std::atomic<int> made = 0;
  std::atomic<int> lost = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(thread_count);
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([&] {
        for (key_t key = 1; key <= keys; ++key) {
          const auto id = table.get({.key = key,
                                     .flags = IPC_CREAT | IPC_EXCL | 0600,
                                     .size = 1,
                                     .objects_at_most = 1000,
                                     .total_at_most = 1000,
                                     .process = getpid()},
                                    {.uid = geteuid(), .gid = getegid(), .groups = {}}, {},
                                    [](const SpaceEntry&, const std::string& path) {
                                      std::ofstream{path} << "";
                                      return Result<void>();
                                    });
          if (id) {
            ++made;
          } else if (id.error() == Error::exists) {
            ++lost;
          }
        }
      });
    }
  }
  CHECK(made == keys);
  CHECK(lost == keys * (thread_count - 1));
  CHECK(table.status().count == keys);
  CHECK(table.status().total == keys);
  CHECK(table.status().highest_index == keys - 1);
}
