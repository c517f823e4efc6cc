#include <parley/shared_memory.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

#include "support/faults.hpp"
#include "support/posix_name.hpp"
#include "support/temp_dir.hpp"

namespace {

using parley::Error;
using parley::Result;
using parley::SharedMemory;
using parley::test::fail_each_call;
using parley::test::kill_at_each_call;
using parley::test::mappings_of;
using parley::test::Outcome;
using parley::test::TempDir;

const parley::SharedMemoryOptions growable{.size_bytes = 100, .growable = true};

auto outcome_of(const Result<SharedMemory>& made) -> Outcome {
  if (!made) return parley::failure(made.error());
  return {};
}

}  // namespace

TEST_CASE("every failing call of making shared memory gives its error and leaves no name") {
  const TempDir dir;
  const auto path = dir / "memory";
  // What is read once in a process, and may be missing, is read before.
  REQUIRE(SharedMemory::create(growable));
  const auto made_whole = [&](const Result<SharedMemory>& made) {
    CHECK(mappings_of(dir.path()) == 0);
    CHECK(mappings_of("memfd:parley") == 0);
    CHECK(std::filesystem::is_empty(dir.path()) != made.has_value());
    if (made) std::filesystem::remove(path);
    return outcome_of(made);
  };
  CHECK(fail_each_call([&] { return made_whole(SharedMemory::create(path, growable)); }) >= 10);
  CHECK(fail_each_call([&] { return made_whole(SharedMemory::open_or_create(path, growable)); }) >=
        11);
  CHECK(fail_each_call([&] {
          CHECK(mappings_of("memfd:parley") == 0);
          return outcome_of(SharedMemory::create(growable));
        }) >= 10);
}

TEST_CASE("every failing call of using shared memory gives its error and leaves nothing mapped") {
  const TempDir dir;
  const auto path = dir / "memory";
  REQUIRE(SharedMemory::create(path, growable));
  std::size_t size = 100;
  const int calls = fail_each_call([&]() -> Outcome {
    CHECK(mappings_of(dir.path()) == 0);
    auto memory = PARLEY_TRY(SharedMemory::open(path));
    PARLEY_TRY(SharedMemory::open_read_only(path));
    PARLEY_TRY(memory.size_bytes());
    PARLEY_TRY(memory.grow(++size));
    PARLEY_TRY(memory.map());
    PARLEY_TRY(memory.map_read_only());
    PARLEY_TRY(memory.is_sealed());
    PARLEY_TRY(memory.reopen_read_only());
    auto anonymous = PARLEY_TRY(SharedMemory::create(growable));
    PARLEY_TRY(anonymous.grow(size));
    return anonymous.seal();
  });
  CHECK(calls >= 40);
  CHECK(SharedMemory::open(path).value().size_bytes().value() == size);
}

TEST_CASE("sealed memory is mapped where the kernel refuses to share it with who could write") {
  auto memory = SharedMemory::create(growable).value();
  REQUIRE(memory.seal());
  bool refused = false;
  for (int call = 1; call <= 10 && !refused; ++call) {
    parley::os::sys::injection = {.calls_until_failure = call, .error = Error::not_permitted};
    const auto mapping = memory.map_read_only();
    refused = mapping && parley::os::sys::injection.fired;
  }
  parley::os::sys::injection = {};
  CHECK(refused);
}

TEST_CASE("an interrupted call of shared memory is made again") {
  const TempDir dir;
  auto memory = SharedMemory::create(dir / "memory", growable).value();
  std::size_t size = 100;
  const auto grow_or_be_interrupted = [&]() -> Outcome {
    // Those of the calls that take their time.
    return memory.grow(size += 5000);
  };
  int fine = 0;
  for (int call = 1; call <= 20; ++call) {
    parley::os::sys::injection = {.calls_until_failure = call, .error = Error::interrupted};
    if (grow_or_be_interrupted() && parley::os::sys::injection.fired) ++fine;
    parley::os::sys::injection = {};
  }
  CHECK(fine >= 2);
}

TEST_CASE("who is killed while making shared memory leaves nothing") {
  const TempDir dir;
  const auto path = dir / "memory";
  const int calls =
      kill_at_each_call([&] { return outcome_of(SharedMemory::create(path, growable)); },
                        [&] {
                          const auto made = SharedMemory::open(path);
                          if (!made) {
                            CHECK(made.error() == Error::not_found);
                            CHECK(std::filesystem::is_empty(dir.path()));
                          } else {
                            CHECK(made->size_bytes().value() == 100);
                            CHECK(SharedMemory::unlink(path));
                          }
                        });
  CHECK(calls >= 10);
}

TEST_CASE("who is killed while making shared memory grow leaves it whole, and not busy") {
  const TempDir dir;
  const auto path = dir / "memory";
  REQUIRE(SharedMemory::create(path, growable));
  std::size_t size = 100;
  const int calls = kill_at_each_call(
      [&]() -> Outcome {
        auto memory = PARLEY_TRY(SharedMemory::open(path));
        return memory.grow(size + 5000);
      },
      [&] {
        auto memory = SharedMemory::open(path).value();
        const auto now = memory.size_bytes().value();
        CHECK((now == size || now == size + 5000));
        size = now;
        CHECK(memory.grow(size + 1));
        ++size;
        CHECK(SharedMemory::open(path).value().size_bytes().value() == size);
      });
  CHECK(calls >= 15);
}
