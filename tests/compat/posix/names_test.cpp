// What mq_open(3), sem_open(3) and shm_open(3) say of names and flags.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "process.hpp"

namespace {

using posix_test::error_of;
using posix_test::own_name;

}  // namespace

TEST_CASE("a queue's name has one slash, before it") {
  CHECK(error_of(mq_open("x", O_RDONLY)) == EINVAL);
  CHECK(error_of(mq_open("", O_RDONLY)) == EINVAL);
  CHECK(error_of(mq_open("/", O_RDONLY)) == ENOENT);
  CHECK(error_of(mq_open("/a/b", O_RDONLY)) == EACCES);
  CHECK(error_of(mq_open("//a", O_RDONLY)) == EACCES);
  CHECK(error_of(mq_open("/.", O_RDONLY)) == EACCES);
  CHECK(error_of(mq_open("/..", O_RDONLY)) == EACCES);
  CHECK(error_of(mq_unlink("x")) == EINVAL);
  CHECK(error_of(mq_unlink("/")) == ENOENT);
  CHECK(error_of(mq_unlink("/a/b")) == EACCES);
  CHECK(error_of(mq_unlink("/.")) == EACCES);
  const std::string longest = "/" + std::string(255, 'a');
  CHECK(error_of(mq_open(longest.c_str(), O_RDONLY)) == ENOENT);
  CHECK(error_of(mq_open((longest + "a").c_str(), O_RDONLY)) == ENAMETOOLONG);
  CHECK(error_of(mq_unlink((longest + "a").c_str())) == ENAMETOOLONG);
}

TEST_CASE("the slashes before a semaphore's name do not matter, and there is none in it") {
  CHECK(sem_open("", 0) == SEM_FAILED);
  CHECK(errno == EINVAL);
  CHECK(sem_open("//", 0) == SEM_FAILED);
  CHECK(errno == EINVAL);
  CHECK(sem_open("/a/b", O_CREAT, 0600, 1) == SEM_FAILED);
  CHECK(errno == EINVAL);
  CHECK(error_of(sem_unlink("")) == ENOENT);
  CHECK(error_of(sem_unlink("/a/b")) == ENOENT);
  CHECK(error_of(sem_unlink(own_name().c_str())) == ENOENT);
  for (const auto& [length, error] : {std::pair{252U, ENAMETOOLONG}, std::pair{299U, EINVAL}}) {
    CHECK(sem_open(("/" + std::string(length, 'b')).c_str(), O_CREAT, 0600, 1) == SEM_FAILED);
    CHECK(errno == error);
  }
  sem_t* const made = sem_open(("//" + own_name()).c_str(), O_CREAT | O_EXCL, 0600, 1);
  REQUIRE(made != SEM_FAILED);
  CHECK(sem_unlink(own_name().c_str()) == 0);
  CHECK(sem_close(made) == 0);
}

TEST_CASE("a name of shared memory is one like that") {
  CHECK(error_of(shm_open("", O_RDWR, 0)) == EINVAL);
  CHECK(error_of(shm_open("/a/b", O_RDWR | O_CREAT, 0600)) == EINVAL);
  CHECK(error_of(shm_open("/.", O_RDWR, 0)) == EINVAL);
  CHECK(error_of(shm_unlink("")) == ENOENT);
  CHECK(error_of(shm_unlink("/a/b")) == ENOENT);
  CHECK(error_of(shm_unlink(own_name().c_str())) == ENOENT);
  CHECK(error_of(shm_open(std::string(256, 'a').c_str(), O_RDWR | O_CREAT, 0600)) == ENAMETOOLONG);
  CHECK(error_of(shm_open(std::string(290, 'a').c_str(), O_RDWR | O_CREAT, 0600)) == EINVAL);
}

TEST_CASE("shared memory is new and empty with O_CREAT, and not twice with O_EXCL") {
  const auto name = own_name();
  CHECK(error_of(shm_open(name.c_str(), O_RDWR, 0)) == ENOENT);
  const int fd = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  REQUIRE(fd >= 0);
  CHECK(lseek(fd, 0, SEEK_END) == 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
  CHECK(error_of(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)) == EEXIST);
  REQUIRE(ftruncate(fd, 100) == 0);
  const int again = shm_open(name.c_str(), O_RDONLY, 0);
  CHECK(lseek(again, 0, SEEK_END) == 100);
  close(again);
  close(shm_open(name.c_str(), O_RDWR | O_TRUNC, 0));
  CHECK(lseek(fd, 0, SEEK_END) == 0);
  CHECK(shm_unlink(name.c_str()) == 0);
  CHECK(close(fd) == 0);
}

TEST_CASE("a semaphore is opened with its value, and once made keeps it") {
  const auto name = own_name();
  CHECK(sem_open(name.c_str(), O_CREAT, 0600, 0x8000'0000U) == SEM_FAILED);
  CHECK(errno == EINVAL);
  sem_t* const semaphore = sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 3);
  REQUIRE(semaphore != SEM_FAILED);
  CHECK(sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 1) == SEM_FAILED);
  CHECK(errno == EEXIST);
  CHECK(sem_open(name.c_str(), O_CREAT, 0600, 1) == semaphore);
  CHECK(sem_open(name.c_str(), 0) == semaphore);
  int value = 0;
  CHECK(sem_getvalue(semaphore, &value) == 0);
  CHECK(value == 3);
  for (int i = 0; i < 3; ++i) CHECK(sem_close(semaphore) == 0);
  CHECK(error_of(sem_close(semaphore)) == EINVAL);
  CHECK(sem_unlink(name.c_str()) == 0);
}

TEST_CASE("a semaphore wakes another process, and lives on without its name") {
  const auto name = own_name();
  sem_t* const semaphore = sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 0);
  REQUIRE(semaphore != SEM_FAILED);
  const auto child = posix_test::in_child([&] {
    sem_t* const own = sem_open(name.c_str(), 0);
    return own != SEM_FAILED && sem_post(own) == 0;
  });
  CHECK(sem_wait(semaphore) == 0);
  CHECK(posix_test::succeeded(child));
  CHECK(sem_unlink(name.c_str()) == 0);
  sem_t* const other = sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 0);
  CHECK(other != semaphore);
  CHECK(sem_post(semaphore) == 0);
  CHECK(sem_trywait(semaphore) == 0);
  CHECK(error_of(sem_trywait(other)) == EAGAIN);
  CHECK(sem_unlink(name.c_str()) == 0);
  CHECK(sem_close(semaphore) == 0);
  CHECK(sem_close(other) == 0);
}
