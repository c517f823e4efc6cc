#include <parley/os/sysv/semaphore_set.hpp>

#include <doctest/doctest.h>

#include <sys/sem.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "support/sysv.hpp"

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::os::sysv::Key;
using parley::os::sysv::Operation;
using parley::os::sysv::SemaphoreSet;
using parley::os::sysv::SemaphoreSetStatus;
using parley::test::OwnKey;
using parley::test::Scoped;

namespace {

using Values = std::vector<std::uint16_t>;

constexpr auto outside_of_set = static_cast<Error>(EFBIG);

auto private_set(const Values& values) -> SemaphoreSet {
  return SemaphoreSet::create(Key::private_key(), values).value();
}

auto kernel_status(int id) -> semid_ds {
  semid_ds status{};
  REQUIRE(semctl(id, 0, IPC_STAT, &status) == 0);
  return status;
}

}  // namespace

TEST_CASE("a set made by count is of zeros, of exactly that many, and without a gate") {
  const OwnKey own;
  const Scoped set(SemaphoreSet::create(own.key(), 3).value());
  CHECK(set->count() == 3);
  CHECK(set->values().value() == Values{0, 0, 0});
  CHECK(kernel_status(set->id()).sem_nsems == 3);
  CHECK_FALSE(set->status().value().gated);
  CHECK(SemaphoreSet::open(own.key(), Deadline::now()).value().id() == set->id());
  CHECK(SemaphoreSet::adopt(set->id()).value().count() == 3);
}

TEST_CASE("a set made with values has them, and a gate that no call of the type shows") {
  const OwnKey own;
  const Scoped set(SemaphoreSet::create(own.key(), Values{7, 0, 32767}).value());
  CHECK(set->count() == 3);
  CHECK(set->values().value() == Values{7, 0, 32767});
  CHECK(set->value(2).value() == 32767);
  const auto status = set->status().value();
  CHECK(status.gated);
  CHECK(status.count == 3);
  CHECK(status.permissions.access.mode == 0600);
  CHECK(status.last_operation.has_value());  // for programs that wait for sem_otime
  CHECK(kernel_status(set->id()).sem_nsems == 4);

  const auto same = SemaphoreSet::open(own.key(), Deadline::now()).value();
  CHECK(same.id() == set->id());
  for (const auto& handle : {*set, same, SemaphoreSet::adopt(set->id()).value()}) {
    CHECK(handle.count() == 3);
    CHECK(handle.operate({.index = 3, .delta = 1}, Deadline::now()).error() == outside_of_set);
    CHECK(handle.value(3).error() == Error::invalid);
    CHECK(handle.set_value(3, 0).error() == Error::invalid);
    CHECK(handle.last_process(3).error() == Error::invalid);
    CHECK(handle.set_values(Values{1, 2, 3, 4}).error() == Error::invalid);
    CHECK(handle.set_values(Values{1, 2, 3}));
    CHECK(SemaphoreSet::open(own.key(), Deadline::now()));
  }
}

TEST_CASE("a set that is filled in many steps has every value in its place") {
  const OwnKey own;
  Values values(100);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i % 7);
  for (const std::size_t count : {1U, 28U, 29U, 30U, 58U, 59U, 100U}) {
    values.resize(count);
    const Scoped set(SemaphoreSet::create(own.key(), values).value());
    CHECK(set->values().value() == values);
    CHECK(SemaphoreSet::open(own.key(), Deadline::now()));
    values.resize(100, 5);
  }
}

TEST_CASE("opening a ready set leaves no trace in it") {
  const OwnKey own;
  const Scoped set(SemaphoreSet::create(own.key(), Values{1}).value());
  const auto before = kernel_status(set->id());
  REQUIRE(semctl(set->id(), 1, GETPID) == getpid());
  CHECK(SemaphoreSet::open(own.key(), Deadline::never()));
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{9}).value().values().value() == Values{1});
  CHECK(kernel_status(set->id()).sem_otime == before.sem_otime);
  CHECK(kernel_status(set->id()).sem_ctime == before.sem_ctime);
}

TEST_CASE("creating a set refuses a taken key, no semaphores and values over the limit") {
  const OwnKey own;
  CHECK(SemaphoreSet::create(own.key(), 0).error() == Error::invalid);
  CHECK(SemaphoreSet::create(own.key(), Values{}).error() == Error::invalid);
  CHECK(SemaphoreSet::create(own.key(), Values{1, 32768}).error() == Error::out_of_range);
  CHECK(SemaphoreSet::create(own.key(), SemaphoreSet::limits()->semaphores_per_set + 1).error() ==
        Error::invalid);
  CHECK(SemaphoreSet::open(own.key(), Deadline::now()).error() == Error::not_found);
  const Scoped set(SemaphoreSet::create(own.key(), 1).value());
  CHECK(SemaphoreSet::create(own.key(), 1).error() == Error::exists);
  CHECK(SemaphoreSet::create(own.key(), Values{1}).error() == Error::exists);
}

TEST_CASE("open_or_create opens what is there unless it has fewer semaphores") {
  const OwnKey own;
  const Scoped set(SemaphoreSet::open_or_create(own.key(), Values{1, 2}).value());
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{1, 2}).value().id() == set->id());
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{1}).value().count() == 2);
  CHECK(SemaphoreSet::open_or_create(own.key(), 2).value().id() == set->id());
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{1, 2, 3}).error() == Error::invalid);
  CHECK(SemaphoreSet::open_or_create(own.key(), 3).error() == Error::invalid);
}

TEST_CASE("a set that another program made is opened as it is") {
  const OwnKey own;
  const int id = semget(own.key().number(), 2, IPC_CREAT | IPC_EXCL | 0777);
  REQUIRE(id >= 0);
  const Scoped set(SemaphoreSet::open(own.key(), Deadline::now()).value());
  CHECK(set->id() == id);
  CHECK(set->count() == 2);
  CHECK_FALSE(set->status().value().gated);
  CHECK(SemaphoreSet::open_or_create(own.key(), Values{5, 5}).value().values().value() ==
        Values{0, 0});
}

TEST_CASE("every create of the private key makes another set, without a gate") {
  const Scoped one(private_set({4, 5}));
  const Scoped two(SemaphoreSet::open_or_create(Key::private_key(), Values{4, 5}).value());
  CHECK(one->id() != two->id());
  CHECK(one->status().value().permissions.key.is_private());
  CHECK_FALSE(one->status().value().gated);
  CHECK(one->values().value() == Values{4, 5});
  CHECK(SemaphoreSet::open(Key::private_key(), Deadline::now()).error() == Error::invalid);
}

TEST_CASE("several operations happen all together or not at all, each seeing those before it") {
  const Scoped set(private_set({2, 0, 1}));
  CHECK(
      set->operate(std::array{Operation{.index = 0, .delta = -2}, Operation{.index = 0, .delta = 0},
                              Operation{.index = 0, .delta = 5}, Operation{.index = 1, .delta = 1}},
                   Deadline::now()));
  CHECK(set->values().value() == Values{5, 1, 1});
  CHECK(set->operate(
               std::array{Operation{.index = 0, .delta = -5}, Operation{.index = 2, .delta = -2}},
               Deadline::now())
            .error() == Error::would_block);
  CHECK(
      set->operate(std::array{Operation{.index = 2, .delta = 1}, Operation{.index = 0, .delta = 0}},
                   Deadline::after(5ms))
          .error() == Error::timed_out);
  CHECK(set->operate(
               std::array{Operation{.index = 0, .delta = 1}, Operation{.index = 2, .delta = 32767}},
               Deadline::now())
            .error() == Error::out_of_range);
  CHECK(set->values().value() == Values{5, 1, 1});
}

TEST_CASE("the operation that cannot proceed decides by its own no_wait whether the call waits") {
  const Scoped set(private_set({0, 0}));
  const Operation patient{.index = 0, .delta = -1};
  const Operation hasty{.index = 1, .delta = -1, .no_wait = true};
  CHECK(set->operate(hasty, Deadline::never()).error() == Error::would_block);
  CHECK(set->operate(std::array{hasty, patient}, Deadline::never()).error() == Error::would_block);
  CHECK(set->operate(std::array{patient, hasty}, Deadline::after(5ms)).error() == Error::timed_out);
  CHECK(set->operate(patient, Deadline::now()).error() == Error::would_block);
}

TEST_CASE("a wait for zero passes at zero and else lasts until the deadline") {
  const Scoped set(private_set({1}));
  const Operation zero{.index = 0, .delta = 0};
  CHECK(set->operate(zero, Deadline::now()).error() == Error::would_block);
  const auto start = Deadline::Clock::now();
  CHECK(set->operate(zero, Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  CHECK(set->operate({.index = 0, .delta = -1}, Deadline::now()));
  CHECK(set->operate(zero, Deadline::never()));
}

TEST_CASE("operations are checked before anything happens") {
  const Scoped set(private_set({0}));
  const Operation post{.index = 0, .delta = 1};
  CHECK(set->operate(std::span<const Operation>(), Deadline::now()).error() == Error::invalid);
  CHECK(
      set->operate(std::array{post, Operation{.index = 1, .delta = 1}}, Deadline::now()).error() ==
      outside_of_set);
  const auto most = SemaphoreSet::limits()->operations_per_call;
  CHECK(set->operate(std::vector(most + 1, post), Deadline::now()).error() == Error::too_big);
  CHECK(set->value(0).value() == 0);
  CHECK(set->operate(std::vector(most, post), Deadline::now()));
  CHECK(set->value(0).value() == most);
}

TEST_CASE("values are set within their range or not at all") {
  const Scoped set(private_set({1, 2}));
  CHECK(set->set_value(1, 32767));
  CHECK(set->set_value(1, 32768).error() == Error::out_of_range);
  CHECK(set->set_value(1, -1).error() == Error::out_of_range);
  CHECK(set->set_value(2, 1).error() == Error::invalid);
  CHECK(set->set_values(Values{9, 40000}).error() == Error::out_of_range);
  CHECK(set->set_values(Values{9}).error() == Error::invalid);
  CHECK(set->values().value() == Values{1, 32767});
  CHECK(set->set_values(Values{3, 4}));
  CHECK(set->values().value() == Values{3, 4});
}

TEST_CASE("an undo value over the limit is out of range and changes nothing") {
  const Scoped set(private_set({0}));
  const Operation most{.index = 0, .delta = 32767, .undo = true};
  REQUIRE(set->operate(most, Deadline::now()));
  REQUIRE(set->operate({.index = 0, .delta = -32767}, Deadline::now()));
  CHECK(set->operate({.index = 0, .delta = 2, .undo = true}, Deadline::now()).error() ==
        Error::out_of_range);
  CHECK(set->value(0).value() == 0);
}

TEST_CASE("the status of a set tells its key, permissions, times and last process") {
  const OwnKey own;
  // The kernel tells whole seconds, of a clock that is a tick behind this one.
  const auto start = std::chrono::system_clock::now() - 2s;
  const Scoped set(SemaphoreSet::create(own.key(), 2, {.mode = 0640}).value());
  auto status = set->status().value();
  CHECK(status.id == set->id());
  CHECK(status.count == 2);
  CHECK(status.permissions.key == own.key());
  CHECK(status.permissions.access.uid == geteuid());
  CHECK(status.permissions.access.gid == getegid());
  CHECK(status.permissions.creator_uid == geteuid());
  CHECK(status.permissions.creator_gid == getegid());
  CHECK(status.permissions.access.mode == 0640);
  CHECK_FALSE(status.last_operation.has_value());
  CHECK(status.last_change >= start);
  CHECK(set->last_process(1).value() == 0);
  REQUIRE(set->operate({.index = 1, .delta = 1}, Deadline::now()));
  CHECK(set->status().value().last_operation >= start);
  CHECK(set->last_process(1).value() == getpid());
  CHECK(set->last_process(0).value() == 0);
}

TEST_CASE("the access to a set can be changed and its gate stays known") {
  const OwnKey own;
  const Scoped set(SemaphoreSet::create(own.key(), Values{3}).value());
  CHECK(set->set_access({.uid = geteuid(), .gid = 12345, .mode = 0777}));
  const auto status = set->status().value();
  CHECK(status.permissions.access.gid == 12345);
  CHECK(status.permissions.access.mode == 0666);
  CHECK(status.permissions.creator_gid == getegid());
  CHECK(status.gated);
  const Scoped plain(SemaphoreSet::create(Key::private_key(), 1).value());
  CHECK(plain->set_access({.uid = geteuid(), .gid = getegid(), .mode = 0601}));
  CHECK_FALSE(plain->status().value().gated);
  CHECK(plain->set_access({.uid = static_cast<uid_t>(-1), .gid = 0, .mode = 0}).error() ==
        Error::invalid);
}

TEST_CASE("every call on a removed set is invalid") {
  const Scoped set(private_set({1}));
  CHECK(set->remove());
  CHECK(set->operate({.index = 0, .delta = 1}, Deadline::never()).error() == Error::invalid);
  CHECK(set->value(0).error() == Error::invalid);
  CHECK(set->values().error() == Error::invalid);
  CHECK(set->set_value(0, 1).error() == Error::invalid);
  CHECK(set->set_values(Values{1}).error() == Error::invalid);
  CHECK(set->status().error() == Error::invalid);
  CHECK(set->remove().error() == Error::invalid);
  CHECK(SemaphoreSet::adopt(set->id()).error() == Error::invalid);
  CHECK(SemaphoreSet::adopt(-1).error() == Error::invalid);
}

TEST_CASE("the listing of sets has every set, without its gate, and no removed one") {
  const OwnKey own;
  const Scoped gated(SemaphoreSet::create(own.key(), Values{3, 4}).value());
  const Scoped plain(SemaphoreSet::create(Key::private_key(), 5).value());
  const auto gone = SemaphoreSet::create(Key::private_key(), 6).value();
  REQUIRE(gone.remove());
  const auto all = SemaphoreSet::list().value();
  const auto find = [&](int id) { return std::ranges::find(all, id, &SemaphoreSetStatus::id); };
  REQUIRE(find(gated->id()) != all.end());
  CHECK(find(gated->id())->count == 2);
  CHECK(find(gated->id())->permissions.key == own.key());
  REQUIRE(find(plain->id()) != all.end());
  CHECK(find(plain->id())->count == 5);
  CHECK(find(gone.id()) == all.end());
}

TEST_CASE("the limits of semaphores and what is in use of them can be read") {
  const auto limits = SemaphoreSet::limits().value();
  CHECK(limits.sets > 0);
  CHECK(limits.semaphores > 0);
  CHECK(limits.semaphores_per_set > 0);
  CHECK(limits.operations_per_call > 0);
  CHECK(limits.highest_value == 32767);
  CHECK(limits.highest_undo == 32767);
  const Scoped set(SemaphoreSet::create(Key::private_key(), 5).value());
  CHECK(SemaphoreSet::usage().value().sets >= 1);
  CHECK(SemaphoreSet::usage().value().semaphores >= 5);
}

TEST_CASE("a handle of a set is copied like a number") {
  static_assert(std::is_trivially_copyable_v<SemaphoreSet>);
  const Scoped set(private_set({1}));
  {
    const SemaphoreSet copy = *set;
    CHECK(copy.id() == set->id());
  }
  CHECK(set->value(0).value() == 1);
}
