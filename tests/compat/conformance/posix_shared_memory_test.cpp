#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "posix_names.hpp"
#include "process.hpp"

namespace {

using conformance::as;
using conformance::Child;
using conformance::error_of;
using conformance::fresh_name;
using conformance::nobody;

constexpr auto make = O_RDWR | O_CREAT | O_EXCL;

// Shared memory of a name, unlinked and closed with it.
class Memory {
 public:
  explicit Memory(off_t size, mode_t mode = 0600, std::string name = fresh_name())
      : name_(std::move(name)), descriptor_(shm_open(name_.c_str(), make, mode)) {
    REQUIRE(descriptor_ >= 0);
    if (size > 0) REQUIRE(ftruncate(descriptor_, size) == 0);
  }
  Memory(const Memory&) = delete;
  auto operator=(const Memory&) -> Memory& = delete;
  ~Memory() {
    shm_unlink(name_.c_str());
    close(descriptor_);
  }
  [[nodiscard]] auto get() const { return descriptor_; }
  [[nodiscard]] auto name() const { return name_.c_str(); }
  [[nodiscard]] auto status() const {
    struct stat status{};
    CHECK(fstat(descriptor_, &status) == 0);
    return status;
  }

 private:
  std::string name_;
  int descriptor_;
};

auto open_error(const std::string& name, int flags) -> int {
  const auto descriptor = shm_open(name.c_str(), flags, 0600);
  if (descriptor < 0) return errno;
  close(descriptor);
  if ((flags & O_CREAT) != 0) shm_unlink(name.c_str());
  return 0;
}

auto of_length(std::size_t length) -> std::string {
  auto name = fresh_name();
  name.resize(length + 1, 'x');
  return name;
}

}  // namespace

TEST_CASE("6.2 memory is missing, made, found, and not made again") {
  const auto name = fresh_name();
  CHECK(open_error(name, O_RDWR) == ENOENT);
  const Memory memory(100, 0600, name);
  CHECK(open_error(name, O_RDWR) == 0);
  CHECK(shm_open(name.c_str(), make, 0600) == -1);
  CHECK(errno == EEXIST);
}

TEST_CASE("6.2 leading slashes are ignored, and any further one is EINVAL") {
  const Memory memory(1);
  CHECK(open_error(memory.name() + 1, O_RDONLY) == 0);
  CHECK(open_error(std::string("//") + memory.name(), O_RDONLY) == 0);
  CHECK(open_error("/", make) == EINVAL);
  CHECK(open_error("", make) == EINVAL);
  CHECK(open_error("/a/b", make) == EINVAL);
}

TEST_CASE("6.2 a name of 254 characters can be used, and of 256 not") {
  CHECK(open_error(of_length(254), make) == 0);
  CHECK(open_error(of_length(256), make) != 0);
}

TEST_CASE("6.2 new memory has size 0, and the descriptor is close-on-exec") {
  const Memory memory(0);
  CHECK(memory.status().st_size == 0);
  CHECK((fcntl(memory.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((fcntl(memory.get(), F_GETFL) & O_ACCMODE) == O_RDWR);
}

TEST_CASE("6.2 the mode is less the umask, and decides who may open how") {
  const auto old = umask(0027);
  const Memory memory(1, 0666);
  umask(old);
  CHECK((memory.status().st_mode & 0777) == 0640);
  if (conformance::skipped_without_root()) return;
  CHECK(as(nobody, [&] { return open_error(memory.name(), O_RDONLY); }) == EACCES);
  CHECK(as({1, 0, {}}, [&] { return open_error(memory.name(), O_RDONLY); }) == 0);
  CHECK(as({1, 0, {}}, [&] { return open_error(memory.name(), O_RDWR); }) == EACCES);
}

TEST_CASE("6.2 O_RDONLY can be neither sized nor mapped for writing") {
  const Memory memory(100);
  const auto reader = shm_open(memory.name(), O_RDONLY, 0);
  REQUIRE(reader >= 0);
  CHECK(error_of(ftruncate(reader, 5)) == EINVAL);
  CHECK(mmap(nullptr, 100, PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED);
  CHECK(errno == EACCES);
  CHECK(close(reader) == 0);
}

TEST_CASE("6.2 O_TRUNC empties it") {
  const Memory memory(100);
  CHECK(open_error(memory.name(), O_RDWR | O_TRUNC) == 0);
  CHECK(memory.status().st_size == 0);
}

TEST_CASE("6.2 all who open a name share the memory, which is zero at first") {
  const Memory memory(4096);
  auto* const here =
      static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0));
  REQUIRE(here != MAP_FAILED);
  CHECK(here[4095] == 0);
  Child child([&]() -> long {
    const auto opened = shm_open(memory.name(), O_RDWR, 0);
    auto* const there =
        static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0));
    there[4095] = 9;
    return 0;
  });
  CHECK(child.result() == 0);
  CHECK(here[4095] == 9);
  CHECK(munmap(here, 4096) == 0);
}

TEST_CASE("6.2 shm_unlink takes the name at once, and the memory stays") {
  const Memory memory(100);
  CHECK(shm_unlink(memory.name()) == 0);
  CHECK(error_of(shm_unlink(memory.name())) == ENOENT);
  CHECK(open_error(memory.name(), O_RDWR) == ENOENT);
  CHECK(memory.status().st_size == 100);
  const Memory next(5, 0600, memory.name());
  CHECK(next.status().st_size == 5);
  CHECK(next.status().st_ino != memory.status().st_ino);
}

TEST_CASE("6.2 others may not unlink") {
  if (conformance::skipped_without_root()) return;
  const Memory memory(100, 0666);
  CHECK(as(nobody, [&] { return error_of(shm_unlink(memory.name())); }) == EACCES);
  CHECK(open_error(memory.name(), O_RDWR) == 0);
}

TEST_CASE("6.3 names are not paths, and each kind has its own") {
  const auto name = fresh_name();
  const Memory memory(1, 0600, name);
  const conformance::NamedQueue queue(0, 0600, name);
  CHECK(open_error("/nowhere-parley/name", make) == EINVAL);
  CHECK(queue.open_error(O_RDWR) == 0);
  CHECK(shm_unlink(memory.name()) == 0);
  CHECK(queue.open_error(O_RDWR) == 0);
}
