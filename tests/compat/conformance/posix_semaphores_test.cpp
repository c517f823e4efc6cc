#include <doctest/doctest.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>

#include <climits>
#include <csignal>
#include <ctime>

#include "posix_names.hpp"
#include "process.hpp"

namespace {

using conformance::as;
using conformance::Child;
using conformance::error_of;
using conformance::fresh_name;
using conformance::nobody;

constexpr auto make = O_CREAT | O_EXCL;

// A semaphore of a name, unlinked and closed with it.
class Semaphore {
 public:
  explicit Semaphore(unsigned value, mode_t mode = 0600, std::string name = fresh_name())
      : name_(std::move(name)), semaphore_(sem_open(name_.c_str(), make, mode, value)) {
    REQUIRE(semaphore_ != SEM_FAILED);
  }
  Semaphore(const Semaphore&) = delete;
  auto operator=(const Semaphore&) -> Semaphore& = delete;
  ~Semaphore() {
    sem_unlink(name_.c_str());
    sem_close(semaphore_);
  }
  [[nodiscard]] auto get() const { return semaphore_; }
  [[nodiscard]] auto name() const { return name_.c_str(); }
  [[nodiscard]] auto value() const {
    int value = -1;
    CHECK(sem_getvalue(semaphore_, &value) == 0);
    return value;
  }

 private:
  std::string name_;
  sem_t* semaphore_;
};

auto open_error(const std::string& name, int flags, unsigned value = 0) -> int {
  auto* const semaphore = sem_open(name.c_str(), flags, 0600, value);
  if (semaphore == SEM_FAILED) return errno;
  sem_close(semaphore);
  if ((flags & O_CREAT) != 0) sem_unlink(name.c_str());
  return 0;
}

auto of_length(std::size_t length) -> std::string {
  auto name = fresh_name();
  name.resize(length + 1, 'x');
  return name;
}

}  // namespace

TEST_CASE("6.1 a semaphore is missing, made, found, and not made again") {
  const auto name = fresh_name();
  CHECK(open_error(name, 0) == ENOENT);
  const Semaphore semaphore(3, 0600, name);
  CHECK(semaphore.value() == 3);
  CHECK(open_error(name, 0) == 0);
  CHECK(sem_open(name.c_str(), make, 0600, 1) == SEM_FAILED);
  CHECK(errno == EEXIST);
  auto* const again = sem_open(name.c_str(), O_CREAT, 0600, 9);
  CHECK(again == semaphore.get());
  CHECK(semaphore.value() == 3);
  CHECK(sem_close(again) == 0);
}

TEST_CASE("6.1 leading slashes are ignored, and any further one is EINVAL") {
  const Semaphore semaphore(1);
  auto* const bare = sem_open(semaphore.name() + 1, 0);
  REQUIRE(bare !=
          SEM_FAILED);  // at another address in the C library, which compares names as given
  CHECK(sem_post(bare) == 0);
  CHECK(semaphore.value() == 2);
  CHECK(sem_close(bare) == 0);
  CHECK(open_error("/", make) == EINVAL);
  CHECK(open_error("", make) == EINVAL);
  CHECK(open_error("/a/b", make) == EINVAL);
  CHECK(error_of(sem_unlink("/nowhere-parley")) == ENOENT);
}

TEST_CASE("6.1 a name of 251 characters can be used, and of 252 not") {
  CHECK(open_error(of_length(250), make) == 0);
  CHECK(open_error(of_length(251), make) == 0);
  CHECK(open_error(of_length(256), make) != 0);
}

TEST_CASE("6.1 a value over SEM_VALUE_MAX is EINVAL") {
  CHECK(open_error(fresh_name(), make, static_cast<unsigned>(SEM_VALUE_MAX) + 1U) == EINVAL);
  CHECK(open_error(fresh_name(), make, SEM_VALUE_MAX) == 0);
}

TEST_CASE("6.1 a post over SEM_VALUE_MAX is EOVERFLOW") {
  const Semaphore semaphore(SEM_VALUE_MAX);
  CHECK(error_of(sem_post(semaphore.get())) == EOVERFLOW);
  CHECK(semaphore.value() == SEM_VALUE_MAX);
}

TEST_CASE("6.1 the same name has the same address in a process, until its last close") {
  const Semaphore semaphore(1);
  auto* const second = sem_open(semaphore.name(), 0);
  auto* const third = sem_open(semaphore.name(), O_CREAT, 0600, 5);
  CHECK(second == semaphore.get());
  CHECK(third == semaphore.get());
  CHECK(sem_close(second) == 0);
  CHECK(sem_close(third) == 0);
  CHECK(semaphore.value() == 1);
}

TEST_CASE("6.1 the mode is less the umask, and opening needs read and write") {
  if (conformance::skipped_without_root()) return;
  const auto error = [](mode_t mode, mode_t mask) {
    const auto old = umask(mask);
    const Semaphore semaphore(1, mode);
    umask(old);
    const std::string name = semaphore.name();
    return as(nobody, [&] { return open_error(name, 0); });
  };
  CHECK(error(0666, 0) == 0);
  CHECK(error(0666, 0002) == EACCES);
  CHECK(error(0666, 0004) == EACCES);
  CHECK(error(0600, 0) == EACCES);
}

TEST_CASE("6.1 an unlinked semaphore lives until the last close") {
  const Semaphore semaphore(2);
  CHECK(sem_unlink(semaphore.name()) == 0);
  CHECK(error_of(sem_unlink(semaphore.name())) == ENOENT);
  CHECK(open_error(semaphore.name(), 0) == ENOENT);
  CHECK(sem_wait(semaphore.get()) == 0);
  const Semaphore next(7, 0600, semaphore.name());
  CHECK(next.get() != semaphore.get());
  CHECK(semaphore.value() == 1);
  CHECK(next.value() == 7);
}

TEST_CASE("6.1 a semaphore keeps its value while nobody has it open") {
  const auto name = fresh_name();
  Child child([&] {
    auto* const semaphore = sem_open(name.c_str(), make, 0600, 4);
    return error_of(sem_wait(semaphore));
  });
  CHECK(child.result() == 0);
  auto* const semaphore = sem_open(name.c_str(), 0);
  CHECK(sem_unlink(name.c_str()) == 0);
  REQUIRE(semaphore != SEM_FAILED);
  int value = 0;
  CHECK(sem_getvalue(semaphore, &value) == 0);
  CHECK(value == 3);
  CHECK(sem_close(semaphore) == 0);
}

TEST_CASE("6.1 what is no semaphore's address cannot be closed") {
  sem_t none{};
  CHECK(error_of(sem_close(&none)) == EINVAL);
}

TEST_CASE("6.1 the C library's calls work on it, between processes") {
  const Semaphore semaphore(1);
  CHECK(sem_trywait(semaphore.get()) == 0);
  CHECK(error_of(sem_trywait(semaphore.get())) == EAGAIN);
  Child child([&] {
    auto* const opened = sem_open(semaphore.name(), 0);
    return error_of(sem_wait(opened));
  });
  REQUIRE(child.blocks());
  CHECK(sem_post(semaphore.get()) == 0);
  CHECK(child.result() == 0);
  CHECK(semaphore.value() == 0);
}

TEST_CASE("6.1 waits with a time end with ETIMEDOUT, and an invalid time is EINVAL") {
  const Semaphore semaphore(1);
  const timespec past{1, 0};
  const timespec invalid{1, 1000000000};
  CHECK(sem_timedwait(semaphore.get(), &past) == 0);
  CHECK(error_of(sem_timedwait(semaphore.get(), &past)) == ETIMEDOUT);
  CHECK(error_of(sem_clockwait(semaphore.get(), CLOCK_MONOTONIC, &past)) == ETIMEDOUT);
  CHECK(error_of(sem_timedwait(semaphore.get(), &invalid)) == EINVAL);
}

TEST_CASE("6.1 a signal interrupts a wait with EINTR") {
  const Semaphore semaphore(0);
  Child child([&] {
    conformance::count_signals(0);
    return error_of(sem_wait(semaphore.get()));
  });
  REQUIRE(child.blocks());
  child.signal(SIGUSR1);
  CHECK(child.result() == EINTR);
}
