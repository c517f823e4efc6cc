#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <parley/mutex.hpp>
#include <parley/os/fifo.hpp>
#include <parley/os/mapping.hpp>
#include <parley/semaphore_set.hpp>
#include <parley/shared_memory.hpp>

#include "os/sys.hpp"
#include "support/descriptors.hpp"
#include "support/faults.hpp"
#include "support/peer.hpp"
#include "support/privileges.hpp"
#include "support/skip.hpp"
#include "support/small_filesystem.hpp"
#include "support/temp_dir.hpp"

namespace {

using parley::Deadline;
using parley::Error;
using parley::failure;
using parley::Mutex;
using parley::Result;
using parley::SemaphoreSet;
using parley::SharedMemory;
using parley::test::kill_at_each_call;
using parley::test::Peer;
using parley::test::TempDir;

/// What is the same for objects of each kind. `open` fails with `io` where what it opened is not
/// all that `create` makes.
struct Kind {
  std::string_view name;
  std::function<Result<void>(std::string_view, mode_t)> create;
  std::function<Result<void>(std::string_view)> open;
  std::function<Result<void>(std::string_view)> open_or_create;
  std::function<Result<void>(std::string_view)> unlink;
};

const std::vector<std::uint16_t> values(300, 7);

auto whole(SemaphoreSet set) -> Result<void> {
  return PARLEY_TRY(set.values()) == values ? Result<void>() : failure(Error::io);
}

/// Others try it too, so it is ours or somebody's.
auto whole(Mutex mutex) -> Result<void> {
  if (const auto taken = mutex.acquire(Deadline::now()); !taken) {
    return taken.error() == Error::would_block ? Result<void>() : taken;
  }
  return mutex.release();
}

const parley::SharedMemoryOptions filled{
    .size_bytes = 10'000,
    .fill = [](std::span<std::byte> bytes) { std::ranges::fill(bytes, std::byte{7}); }};

auto whole(const SharedMemory& memory) -> Result<void> {
  const auto mapping = PARLEY_TRY(memory.map_read_only());
  const auto sevens = std::ranges::count(mapping.bytes(), std::byte{7});
  return sevens == 10'000 ? Result<void>() : failure(Error::io);
}

auto kinds() -> std::vector<Kind> {
  return {
      {"SemaphoreSet",
       [](auto name, auto mode) -> Result<void> {
         return whole(PARLEY_TRY(SemaphoreSet::create(name, values, {.mode = mode})));
       },
       [](auto name) -> Result<void> { return whole(PARLEY_TRY(SemaphoreSet::open(name))); },
       [](auto name) -> Result<void> {
         return whole(PARLEY_TRY(SemaphoreSet::open_or_create(name, values)));
       },
       [](auto name) { return SemaphoreSet::unlink(name); }},
      {"Mutex",
       [](auto name, auto mode) -> Result<void> {
         return whole(PARLEY_TRY(Mutex::create(name, {.mode = mode})));
       },
       [](auto name) -> Result<void> { return whole(PARLEY_TRY(Mutex::open(name))); },
       [](auto name) -> Result<void> { return whole(PARLEY_TRY(Mutex::open_or_create(name))); },
       [](auto name) { return Mutex::unlink(name); }},
      {"SharedMemory",
       [](auto name, auto mode) -> Result<void> {
         auto options = filled;
         options.mode = mode;
         return whole(PARLEY_TRY(SharedMemory::create(name, options)));
       },
       [](auto name) -> Result<void> { return whole(PARLEY_TRY(SharedMemory::open(name))); },
       [](auto name) -> Result<void> {
         return whole(PARLEY_TRY(SharedMemory::open_or_create(name, filled)));
       },
       [](auto name) { return SharedMemory::unlink(name); }},
  };
}

void for_each_kind(const std::function<void(const Kind&)>& body) {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    body(kind);
  }
}

auto mode_of(const std::string& path) -> mode_t {
  struct stat status{};
  REQUIRE(lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

/// Numbers that the peers of a race have in common.
class Tally {
 public:
  explicit Tally(std::size_t count)
      : memory_(parley::os::Mapping::anonymous(count * sizeof(int)).value()) {}

  [[nodiscard]] auto operator[](std::size_t at) const -> std::atomic_ref<int> {
    return std::atomic_ref(reinterpret_cast<int*>(memory_.bytes().data())[at]);
  }

  /// Returns once `count` have come.
  void meet(std::size_t at, int count) const {
    (*this)[at].fetch_add(1);
    while ((*this)[at].load() < count) sched_yield();
  }

 private:
  parley::os::Mapping memory_;
};

/// Runs `body` in a peer for which bare names lie in `runtime_dir`; empty: with no such variable.
void run_with_runtime_dir(const std::string& runtime_dir, const std::function<void()>& body) {
  Peer peer([&] {
    if (runtime_dir.empty()) {
      REQUIRE(unsetenv("XDG_RUNTIME_DIR") == 0);
    } else {
      REQUIRE(setenv("XDG_RUNTIME_DIR", runtime_dir.c_str(), 1) == 0);
    }
    body();
  });
  CHECK(peer.wait() == 0);
}

/// Runs `body` in a peer that alone sees an empty /dev/shm.
void run_with_own_dev_shm(const std::function<void()>& body) {
  parley::test::with_small_filesystem([&](const std::string& dir) {
    REQUIRE(mount(dir.c_str(), "/dev/shm", nullptr, MS_BIND, nullptr) == 0);
    REQUIRE(unsetenv("XDG_RUNTIME_DIR") == 0);
    body();
  });
}

}  // namespace

TEST_CASE("of many who create one name at once, one does, and others open it whole or not at all") {
  constexpr std::size_t rounds = 400;
  constexpr int creators = 3;
  for_each_kind([&](const Kind& kind) {
    const TempDir dir;
    const Tally arrived(rounds);
    const Tally made(rounds);
    const auto path_of = [&](std::size_t round) { return dir / std::to_string(round); };
    const auto create = [&] {
      for (std::size_t round = 0; round < rounds; ++round) {
        arrived.meet(round, creators);
        const auto created = kind.create(path_of(round), 0600);
        if (created) made[round].fetch_add(1);
        REQUIRE((created || created.error() == Error::exists));
      }
    };
    const auto open = [&] {
      for (std::size_t round = 0; round < rounds; ++round) {
        for (Result<void> opened = failure(Error::not_found); !opened;) {
          opened = kind.open(path_of(round));
          REQUIRE((opened || opened.error() == Error::not_found));
        }
      }
    };
    {
      Peer one(create);
      Peer two(create);
      Peer three(create);
      Peer opener(open);
      CHECK(one.wait() == 0);
      CHECK(two.wait() == 0);
      CHECK(three.wait() == 0);
      CHECK(opener.wait() == 0);
    }
    for (std::size_t round = 0; round < rounds; ++round) CHECK(made[round].load() == 1);
  });
}

TEST_CASE("a name that is made and taken away all the time is always a whole object or none") {
  constexpr int rounds = 700;
  for_each_kind([&](const Kind& kind) {
    const TempDir dir;
    const auto path = dir / "object";
    const auto churn = [&] {
      for (int round = 0; round < rounds; ++round) {
        REQUIRE(kind.open_or_create(path));
        const auto unlinked = kind.unlink(path);
        REQUIRE((unlinked || unlinked.error() == Error::not_found));
      }
    };
    const auto open = [&] {
      for (int round = 0; round < rounds; ++round) {
        const auto opened = kind.open(path);
        REQUIRE((opened || opened.error() == Error::not_found));
      }
    };
    Peer one(churn);
    Peer two(churn);
    Peer opener(open);
    CHECK(one.wait() == 0);
    CHECK(two.wait() == 0);
    CHECK(opener.wait() == 0);
    CHECK(std::filesystem::is_empty(dir.path()));
  });
}

TEST_CASE("who is killed while creating leaves a whole object or nothing") {
  for_each_kind([](const Kind& kind) {
    const TempDir dir;
    const auto path = dir / "object";
    const int calls = kill_at_each_call([&] { return kind.create(path, 0600); },
                                        [&] {
                                          const auto opened = kind.open(path);
                                          if (!opened) {
                                            CHECK(opened.error() == Error::not_found);
                                            CHECK(std::filesystem::is_empty(dir.path()));
                                          } else {
                                            CHECK(kind.unlink(path));
                                          }
                                        });
    CHECK(calls >= 10);
  });
}

TEST_CASE("the permission bits are those asked for, whatever the umask") {
  for_each_kind([](const Kind& kind) {
    const TempDir dir;
    Peer maker([&] {
      umask(0077);
      for (const mode_t mode : {0600U, 0640U, 0666U, 0604U}) {
        const auto path = dir / std::to_string(mode);
        REQUIRE(kind.create(path, mode));
        REQUIRE(mode_of(path) == mode);
      }
    });
    CHECK(maker.wait() == 0);
  });
}

TEST_CASE("another user opens an object as its file's permissions say") {
  if (!parley::test::can_become_another_user()) return;
  for_each_kind([](const Kind& kind) {
    const TempDir dir;
    std::filesystem::permissions(dir.path(), std::filesystem::perms(0755));
    REQUIRE(kind.create(dir / "closed", 0600));
    REQUIRE(kind.create(dir / "readable", 0644));
    REQUIRE(kind.create(dir / "open", 0666));
    Peer stranger([&] {
      parley::test::become_nobody();
      REQUIRE(kind.open(dir / "closed").error() == Error::access_denied);
      REQUIRE(kind.open(dir / "readable").error() == Error::access_denied);
      REQUIRE(kind.open_or_create(dir / "closed").error() == Error::access_denied);
      REQUIRE(kind.open(dir / "open"));
      REQUIRE(kind.create(dir / "own", 0600).error() == Error::access_denied);
      REQUIRE(kind.unlink(dir / "open").error() == Error::access_denied);
    });
    CHECK(stranger.wait() == 0);
  });
}

TEST_CASE("a bare name is a file in the runtime directory, in a place that is its user's alone") {
  for_each_kind([](const Kind& kind) {
    const TempDir dir;
    run_with_runtime_dir(dir.path(), [&] {
      umask(0);
      REQUIRE(kind.open("bare").error() == Error::not_found);
      REQUIRE(kind.create("bare", 0600));
      REQUIRE(kind.create("bare", 0600).error() == Error::exists);
      REQUIRE(kind.open("bare"));
      REQUIRE(kind.open(dir / "parley/bare"));
      REQUIRE(mode_of(dir / "parley") == 0700);
      REQUIRE(kind.unlink("bare"));
      REQUIRE(std::filesystem::is_empty(dir / "parley"));
    });
  });
}

TEST_CASE("a place for bare names that is not its user's alone is denied") {
  for_each_kind([](const Kind& kind) {
    const TempDir dir;
    const auto place = dir / "parley";
    const auto denied = [&] {
      run_with_runtime_dir(dir.path(), [&] {
        REQUIRE(kind.create("bare", 0600).error() == Error::access_denied);
        REQUIRE(kind.open("bare").error() == Error::access_denied);
        REQUIRE(kind.open_or_create("bare").error() == Error::access_denied);
        REQUIRE(kind.unlink("bare").error() == Error::access_denied);
      });
    };
    std::filesystem::create_directory(dir / "elsewhere");
    std::filesystem::permissions(dir / "elsewhere", std::filesystem::perms(0700));
    std::filesystem::create_symlink("elsewhere", place);
    denied();
    CHECK(std::filesystem::is_empty(dir / "elsewhere"));
    std::filesystem::remove(place);
    std::ofstream(place) << "a file";
    denied();
    std::filesystem::remove(place);
    std::filesystem::create_directory(place);
    for (const auto mode : {0701, 0710, 0770, 0777}) {
      std::filesystem::permissions(place, std::filesystem::perms(mode));
      denied();
    }
    std::filesystem::permissions(place, std::filesystem::perms(0700));
    run_with_runtime_dir(dir.path(), [&] { REQUIRE(kind.create("bare", 0600)); });
  });
}

TEST_CASE("another user's directory in the place for bare names is denied") {
  if (!parley::test::can_become_another_user()) return;
  const TempDir dir;
  std::filesystem::create_directory(dir / "parley");
  std::filesystem::permissions(dir / "parley", std::filesystem::perms(0700));
  REQUIRE(chown((dir / "parley").c_str(), 65534, 65534) == 0);
  run_with_runtime_dir(dir.path(), [&] {
    for (const Kind& kind : kinds()) {
      REQUIRE(kind.create("bare", 0600).error() == Error::access_denied);
      REQUIRE(kind.open("bare").error() == Error::access_denied);
    }
  });
}

TEST_CASE("without a runtime directory bare names lie in a directory of each user's in /dev/shm") {
  run_with_own_dev_shm([] {
    for (const Kind& kind : kinds()) {
      REQUIRE(kind.create("bare", 0666));
      REQUIRE(mode_of("/dev/shm/parley-0") == 0700);
      REQUIRE(kind.open("/dev/shm/parley-0/bare"));
      Peer stranger([&] {
        parley::test::become_nobody();
        REQUIRE(kind.open("bare").error() == Error::not_found);
        REQUIRE(kind.open("/dev/shm/parley-0/bare").error() == Error::access_denied);
        REQUIRE(kind.create("bare", 0600));
        REQUIRE(mode_of("/dev/shm/parley-65534") == 0700);
        REQUIRE(kind.unlink("bare"));
      });
      REQUIRE(stranger.wait() == 0);
      REQUIRE(setenv("XDG_RUNTIME_DIR", "not/absolute", 1) == 0);
      REQUIRE(kind.open("bare"));
      REQUIRE(kind.unlink("bare"));
    }
  });
}

TEST_CASE("who takes another's place in /dev/shm beforehand gets no objects there") {
  run_with_own_dev_shm([] {
    Peer squatter([] {
      parley::test::become_nobody();
      umask(0);
      REQUIRE(mkdir("/dev/shm/parley-0", 0777) == 0);
    });
    REQUIRE(squatter.wait() == 0);
    for (const Kind& kind : kinds()) {
      REQUIRE(kind.create("bare", 0600).error() == Error::access_denied);
    }
    REQUIRE(std::filesystem::is_empty("/dev/shm/parley-0"));
  });
}

TEST_CASE("what cannot be a name is told") {
  const TempDir dir;
  for_each_kind([&](const Kind& kind) {
    using namespace std::string_view_literals;
    run_with_runtime_dir(dir.path(), [&] {
      for (const auto name : {""sv, "."sv, ".."sv, "a\0b"sv, "/tmp/a\0b"sv}) {
        REQUIRE(kind.create(name, 0600).error() == Error::invalid);
        REQUIRE(kind.open(name).error() == Error::invalid);
        REQUIRE(kind.unlink(name).error() == Error::invalid);
      }
      const std::string long_name(256, 'x');
      REQUIRE(kind.create(long_name, 0600).error() == Error::name_too_long);
      REQUIRE(kind.open(long_name).error() == Error::name_too_long);
    });
    CHECK(kind.create(dir / "missing/object", 0600).error() == Error::not_found);
    CHECK(kind.open(dir / "missing/object").error() == Error::not_found);
    CHECK(std::filesystem::is_empty(dir / "parley"));
    run_with_runtime_dir(dir / "missing",
                         [&] { REQUIRE(kind.create("bare", 0600).error() == Error::not_found); });
  });
}

TEST_CASE("what is no file is not opened as an object, nor waited for") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "directory");
  std::filesystem::create_symlink("nowhere", dir / "link");
  REQUIRE(parley::os::Fifo::create(dir / "fifo"));
  const auto socket = parley::os::OwnedFd::from_number(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (dir / "socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(bind(socket.number(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  std::ofstream(dir / "empty") << "";
  std::ofstream(dir / "text") << std::string(9000, 'x');
  for_each_kind([&](const Kind& kind) {
    for (const auto& path :
         {dir / "directory", dir / "link", dir / "fifo", dir / "socket", dir / "empty",
          dir / "text", std::string("/dev/null"), std::string("/dev/full")}) {
      CAPTURE(path);
      CHECK(kind.open(path).error() == Error::invalid);
      CHECK(kind.open_or_create(path).error() == Error::invalid);
      CHECK(kind.create(path, 0600).error() == Error::exists);
    }
    CHECK(SharedMemory::open_read_only(dir / "directory").error() == Error::invalid);
    CHECK(SharedMemory::open_read_only(dir / "fifo").error() == Error::invalid);
  });
}

TEST_CASE("an object that a link names is opened") {
  for_each_kind([](const Kind& kind) {
    const TempDir dir;
    REQUIRE(kind.create(dir / "object", 0600));
    std::filesystem::create_symlink("object", dir / "link");
    CHECK(kind.open(dir / "link"));
  });
}

TEST_CASE("a full filesystem is no space for every object, and keeps no file") {
  parley::test::with_small_filesystem([](const std::string& dir) {
    // One page is left, which is half of the smallest object.
    const auto room = dir + "/room";
    {
      std::ofstream file(room);
      file << std::string(255 * std::size_t{4096}, 'x');
    }
    for (const Kind& kind : kinds()) {
      REQUIRE(kind.create(dir + "/object", 0600).error() == Error::no_space);
      REQUIRE(kind.open_or_create(dir + "/object").error() == Error::no_space);
      REQUIRE(kind.open(dir + "/object").error() == Error::not_found);
    }
    std::filesystem::remove(room);
    REQUIRE(std::filesystem::is_empty(dir));
    for (const Kind& kind : kinds()) REQUIRE(kind.create(dir + "/" + std::string(kind.name), 0600));
  });
}

TEST_CASE("a filesystem without unnamed files is not supported") {
  const TempDir dir;
  for_each_kind([&](const Kind& kind) {
    // The first call of all.
    parley::os::sys::injection = {.calls_until_failure = 1, .error = Error::not_supported};
    CHECK(kind.create(dir / "object", 0600).error() == Error::not_supported);
    parley::os::sys::injection = {};
    CHECK(std::filesystem::is_empty(dir.path()));
  });
  if (geteuid() != 0) return parley::test::skip("only root may try it in /proc");
  for_each_kind([&](const Kind& kind) {
    CHECK(kind.create("/proc/parley-test", 0600).error() == Error::not_supported);
  });
}
