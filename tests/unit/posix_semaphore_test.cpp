#include <parley/os/posix/semaphore.hpp>

#include <doctest/doctest.h>

#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <utility>

#include "support/posix_name.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os::posix;
using parley::Deadline;
using parley::Error;
using parley::os::FilePermissions;
using parley::os::Owner;
using parley::test::mappings_of;
using parley::test::PosixName;

namespace {

constexpr auto overflow = static_cast<Error>(EOVERFLOW);

/// Room for an unnamed semaphore.
struct Place {
  alignas(UnnamedSemaphore::alignment_bytes)
      std::array<std::byte, UnnamedSemaphore::size_bytes + 1> bytes{};
};

}  // namespace

TEST_CASE("a semaphore counts down by waiting and up by posting") {
  const PosixName name;
  auto semaphore = Semaphore::create(name, {.initial_value = 2}).value();
  CHECK(semaphore.value().value() == 2);
  CHECK(semaphore.wait(Deadline::now()));
  CHECK(semaphore.wait(Deadline::after(1min)));
  CHECK(semaphore.value().value() == 0);
  CHECK(semaphore.post());
  CHECK(semaphore.wait(Deadline::never()));
  CHECK(semaphore.value().value() == 0);
}

TEST_CASE("a named semaphore's owner and mode are read and changed by its name") {
  const PosixName name;
  const Owner me{.uid = geteuid(), .gid = getegid()};
  CHECK(Semaphore::permissions(name).error() == Error::not_found);
  CHECK(Semaphore::set_mode(name, 0600).error() == Error::not_found);
  CHECK(Semaphore::set_owner(name, me).error() == Error::not_found);
  auto semaphore = Semaphore::create(name, {.mode = 0600}).value();
  CHECK(Semaphore::permissions(name).value() == FilePermissions{.owner = me, .mode = 0600});
  CHECK(Semaphore::set_mode(name, 0660));
  CHECK(Semaphore::set_owner(name, me));
  CHECK(Semaphore::permissions(name).value() == FilePermissions{.owner = me, .mode = 0660});
  CHECK(semaphore.post());
  CHECK(Semaphore::permissions("name").error() == Error::invalid);
}

TEST_CASE("the mode and owner of what a link in a semaphore's place points to are left alone") {
  const parley::test::TempDir directory;
  const PosixName name;
  const std::string target = directory / "target";
  REQUIRE(std::ofstream(target).put('x'));
  REQUIRE(chmod(target.c_str(), 0640) == 0);
  const std::string link = "/dev/shm/sem." + name.text().substr(1);
  REQUIRE(symlink(target.c_str(), link.c_str()) == 0);
  CHECK(Semaphore::set_mode(name, 0666).error() == Error::not_supported);
  CHECK(Semaphore::permissions(name).value().mode == 0777);
  REQUIRE(unlink(link.c_str()) == 0);
  struct stat status{};
  REQUIRE(stat(target.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777U) == 0640);
}

TEST_CASE("waiting for a semaphore that is down ends at the deadline, the try form at once") {
  const PosixName name;
  auto semaphore = Semaphore::create(name).value();
  CHECK(semaphore.wait(Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(semaphore.wait(Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  CHECK(semaphore.wait(Deadline::after(-1s)).error() == Error::timed_out);
  CHECK(semaphore.wait(Deadline::at({})).error() == Error::timed_out);
  CHECK(semaphore.value().value() == 0);
}

TEST_CASE("a deadline that has passed does not matter where there is no need to wait") {
  const PosixName name;
  auto semaphore = Semaphore::create(name, {.initial_value = 1}).value();
  CHECK(semaphore.wait(Deadline::after(-1s)));
}

TEST_CASE("a post at the largest value overflows and changes nothing") {
  const PosixName name;
  auto semaphore = Semaphore::create(name, {.initial_value = Semaphore::largest_value}).value();
  CHECK(semaphore.post().error() == overflow);
  CHECK(semaphore.value().value() == Semaphore::largest_value);
  CHECK(semaphore.wait(Deadline::now()));
  CHECK(semaphore.post());
}

TEST_CASE("an initial value over the largest is invalid and leaves no name") {
  const PosixName name;
  CHECK(Semaphore::create(name, {.initial_value = Semaphore::largest_value + 1}).error() ==
        Error::invalid);
  CHECK_FALSE(name.remove());
  Place place;
  CHECK(UnnamedSemaphore::create(place.bytes, {.initial_value = Semaphore::largest_value + 1})
            .error() == Error::invalid);
}

TEST_CASE("a semaphore's name that is taken is not made again, and one not there is not found") {
  const PosixName name;
  CHECK(Semaphore::open(name).error() == Error::not_found);
  CHECK(Semaphore::unlink(name).error() == Error::not_found);
  auto first = Semaphore::open_or_create(name, {.initial_value = 3}).value();
  CHECK(Semaphore::create(name).error() == Error::exists);
  auto second = Semaphore::open_or_create(name, {.initial_value = 7}).value();
  CHECK(second.value().value() == 3);
  CHECK(second.wait(Deadline::now()));
  CHECK(first.value().value() == 2);
}

TEST_CASE("an unlinked semaphore is used on by who has it, and its name is free") {
  const PosixName name;
  auto semaphore = Semaphore::create(name).value();
  auto opened = Semaphore::open(name).value();
  REQUIRE(Semaphore::unlink(name));
  CHECK(Semaphore::open(name).error() == Error::not_found);
  CHECK(opened.post());
  CHECK(semaphore.wait(Deadline::now()));
  CHECK(Semaphore::create(name, {.initial_value = 9}).value().value().value() == 9);
}

TEST_CASE("a semaphore is mapped once, however often it is opened, until its last close") {
  const PosixName name;
  {
    REQUIRE(Semaphore::create(name));
    auto first = Semaphore::open(name).value();
    {
      auto second = Semaphore::open(name).value();
      CHECK(mappings_of(name.text().substr(1)) == 1);
      auto third = std::move(second);
      second = std::move(third);
      CHECK(second.post());
    }
    CHECK(mappings_of(name.text().substr(1)) == 1);
    CHECK(first.wait(Deadline::now()));
  }
  CHECK(mappings_of(name.text().substr(1)) == 0);
}

TEST_CASE("an unnamed semaphore lives in the memory that it is given") {
  Place place;
  for (const bool process_shared : {true, false}) {
    auto semaphore = UnnamedSemaphore::create(
                         place.bytes, {.initial_value = 1, .process_shared = process_shared})
                         .value();
    auto same = UnnamedSemaphore::attach(place.bytes).value();
    CHECK(same.wait(Deadline::now()));
    CHECK(semaphore.wait(Deadline::now()).error() == Error::would_block);
    CHECK(semaphore.wait(Deadline::after(2ms)).error() == Error::timed_out);
    CHECK(semaphore.post());
    CHECK(sem_trywait(reinterpret_cast<sem_t*>(place.bytes.data())) == 0);
    CHECK(std::move(semaphore).destroy());
  }
}

TEST_CASE("memory that is too small or not aligned holds no semaphore") {
  Place place;
  const std::span<std::byte> all(place.bytes);
  const auto small = all.first(UnnamedSemaphore::size_bytes - 1);
  const auto crooked = all.subspan(1);
  CHECK(UnnamedSemaphore::create(small).error() == Error::invalid);
  CHECK(UnnamedSemaphore::create(crooked).error() == Error::invalid);
  CHECK(UnnamedSemaphore::attach(small).error() == Error::invalid);
  CHECK(UnnamedSemaphore::attach(crooked).error() == Error::invalid);
  CHECK(UnnamedSemaphore::create(all.first(UnnamedSemaphore::size_bytes)));
}

TEST_CASE("memory before its semaphore is made looks like one that is down, and forgets a post") {
  Place place;
  auto early = UnnamedSemaphore::attach(place.bytes).value();
  CHECK(early.value().value() == 0);
  CHECK(early.post());
  auto semaphore = UnnamedSemaphore::create(place.bytes).value();
  CHECK(semaphore.value().value() == 0);
}
