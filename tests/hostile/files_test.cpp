#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>

#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>

#include "hostile/harness.hpp"
#include "shm/layout/segment.hpp"
#include "support/long_run.hpp"
#include "support/peer.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley;
using namespace parley::test;

namespace {

auto a_set() -> SemaphoreSet {
  return SemaphoreSet::create(std::vector<std::uint16_t>{1, 2}).value();
}

void write_file(const std::string& path, const Image& image) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(image.data()),
             static_cast<std::streamsize>(image.size()));
}

auto descriptor_of(const std::string& path, int flags) -> os::OwnedFd {
  auto fd = os::OwnedFd::from_number(open(path.c_str(), flags | O_CLOEXEC));
  REQUIRE(fd.is_open());
  return fd;
}

template <class Word>
auto with(Image image, std::size_t offset, Word word) -> Image {
  std::memcpy(image.data() + offset, &word, sizeof word);
  return image;
}

/// What opening a file of these bytes ends with.
auto opened(const TempDir& directory, const Image& image) -> Error {
  const auto path = directory / "object";
  write_file(path, image);
  const auto set = SemaphoreSet::open(path);
  return set ? Error{} : set.error();
}

}  // namespace

TEST_CASE("a file that is cut anywhere, or longer than it says, is refused") {
  const TempDir directory;
  const auto image = image_of(a_set().descriptor());
  REQUIRE(opened(directory, image) == Error{});
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{127}, std::size_t{128},
                                 std::size_t{4095}, std::size_t{4096}}) {
    CHECK(opened(directory, Image(image.begin(), image.begin() + static_cast<long>(size))) ==
          Error::invalid);
  }
  for (std::size_t size = 4097; size < image.size(); size += 61) {
    CHECK(opened(directory, Image(image.begin(), image.begin() + static_cast<long>(size))) ==
          Error::corrupt);
  }
  auto longer = image;
  longer.resize(image.size() + 8);
  CHECK(opened(directory, longer) == Error::corrupt);
}

TEST_CASE("another kind, a newer format and numbers that contradict each other are told apart") {
  const TempDir directory;
  using Header = shm::SegmentHeader;
  const auto image = image_of(a_set().descriptor());
  CHECK(opened(directory, image_of(Mutex::create().value().descriptor())) == Error::wrong_kind);
  CHECK(opened(directory, with(image, offsetof(Header, magic), 1)) == Error::invalid);
  CHECK(opened(directory, with(image, offsetof(Header, version), 99)) == Error::not_supported);
  CHECK(opened(directory, with(image, offsetof(Header, kind), 99)) == Error::wrong_kind);
  CHECK(opened(directory, with(image, offsetof(Header, body_version), 99)) == Error::not_supported);
  CHECK(opened(directory, with(image, offsetof(Header, features), 1)) == Error::not_supported);
  for (const std::uint32_t places : {0U, 1U, 2U, 64U, 8176U, 8177U, ~0U}) {
    CHECK(opened(directory, with(image, offsetof(Header, place_count), places)) == Error::corrupt);
  }
  CHECK(opened(directory, with(image, offsetof(Header, segment_bytes), std::uint64_t{4096})) ==
        Error::corrupt);
  CHECK(opened(directory, with(image, offsetof(Header, body_offset), std::uint64_t{0})) ==
        Error::corrupt);
}

TEST_CASE("random bytes are no object, with our first words or without") {
  const TempDir directory;
  const auto image = image_of(a_set().descriptor());
  std::mt19937_64 random(seed());
  for (int round = 0; round < 300; ++round) {
    auto noise = image;
    const std::size_t kept = random() % 2 == 0 ? 0 : random() % image.size();
    for (std::size_t at = kept; at < noise.size(); ++at)
      noise[at] = static_cast<std::byte>(random());
    const auto error = opened(directory, noise);
    if (kept == 0) CHECK(error == Error::invalid);
  }
}

TEST_CASE("what is no regular file, or only to be read, is refused") {
  const TempDir directory;
  CHECK_FALSE(SemaphoreSet::open(directory.path().string()));
  const auto fifo = directory / "fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(SemaphoreSet::open(fifo).error() == Error::invalid);
  const auto name = directory / "socket";
  const auto listener = os::OwnedFd::from_number(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, name.c_str(), sizeof address.sun_path - 1);
  REQUIRE(bind(listener.number(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK_FALSE(SemaphoreSet::open(name));
  CHECK(SemaphoreSet::open("/dev/null").error() == Error::invalid);
  CHECK(SemaphoreSet::adopt(os::duplicate(listener).value()).error() == Error::invalid);
  CHECK(SemaphoreSet::adopt(descriptor_of(directory.path().string(), O_RDONLY)).error() ==
        Error::invalid);
  const auto whole = directory / "whole";
  write_file(whole, image_of(a_set().descriptor()));
  REQUIRE(SemaphoreSet::open(whole));
  CHECK(SemaphoreSet::adopt(descriptor_of(whole, O_RDONLY)).error() == Error::invalid);
  CHECK(SemaphoreSet::adopt(descriptor_of(whole, O_WRONLY)).error() == Error::invalid);
  CHECK_FALSE(SemaphoreSet::adopt(descriptor_of(whole, O_PATH)));
  CHECK_FALSE(SemaphoreSet::adopt(os::OwnedFd()));
}

TEST_CASE("a file without an end, all holes, costs nothing and is refused") {
  const TempDir directory;
  const auto path = directory / "sparse";
  write_file(path, image_of(a_set().descriptor()));
  for (const off_t size : {off_t{1} << 32, off_t{1} << 40, off_t{1} << 43}) {
    if (truncate(path.c_str(), size) != 0) continue;  // more than the filesystem has
    const auto set = SemaphoreSet::open(path);
    REQUIRE_FALSE(set);
    const bool told = set.error() == Error::corrupt || set.error() == Error::out_of_memory;
    CHECK(told);
  }
  const auto memory = os::OwnedFd::from_number(memfd_create("endless", MFD_CLOEXEC));
  REQUIRE(ftruncate(memory.number(), std::numeric_limits<off_t>::max()) == 0);
  CHECK_FALSE(SemaphoreSet::adopt(os::duplicate(memory).value()));
}

TEST_CASE("holes that a peer punches into a set read as zeros and do nobody any harm") {
  auto set = a_set();
  const auto fd = os::duplicate(set.descriptor()).value();
  REQUIRE(fallocate(fd.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20) == 0);
  CHECK(set.values().value() == std::vector<std::uint16_t>{0, 0});
  CHECK(set.operate({.index = 0, .delta = -1}, Deadline::after(5ms)).error() == Error::timed_out);
  CHECK(SemaphoreSet::adopt(os::duplicate(fd).value()).error() == Error::invalid);
}

TEST_CASE("a peer that keeps the claim lock makes others busy, not stuck") {
  const TempDir directory;
  const auto path = directory / "set";
  const auto set = SemaphoreSet::create(path, std::vector<std::uint16_t>{1}).value();
  Peer holder([&] {
    const auto fd = descriptor_of(path, O_RDWR);
    struct flock everything{};
    everything.l_type = F_WRLCK;
    REQUIRE(fcntl(fd.number(), F_SETLK, &everything) == 0);
    write_file(directory / "held", {});
    for (;;) pause();
  });
  while (access((directory / "held").c_str(), F_OK) != 0) usleep(100);
  CHECK(SemaphoreSet::open(path).error() == Error::busy);
  holder.kill();
  CHECK(SemaphoreSet::open(path));
}

TEST_CASE("a truncated object does not hide a death from the others of its process") {
  const TempDir directory;
  const auto trusted = Mutex::create().value();
  for (const bool before : {true, false}) {
    CAPTURE(before);
    auto lock = Mutex::adopt(os::duplicate(trusted.descriptor()).value()).value();
    const auto path = directory / (before ? "one" : "two");
    const auto shared = Mutex::create(path).value();
    Peer holder([&] {
      std::vector<Mutex> both;
      for (const bool file : {before, !before}) {
        both.push_back(file ? Mutex::open(path).value()
                            : Mutex::adopt(os::duplicate(trusted.descriptor()).value()).value());
      }
      REQUIRE(both[before ? 1 : 0].acquire(Deadline::now()));
      write_file(directory / "locked", {});
      for (;;) pause();
    });
    while (access((directory / "locked").c_str(), F_OK) != 0) usleep(100);
    REQUIRE(truncate(path.c_str(), 0) == 0);
    holder.kill();
    CHECK(lock.acquire(Deadline::after(1s)));
    CHECK(lock.peer_died());
    static_cast<void>(lock.release());
    unlink((directory / "locked").c_str());
  }
}
