#include "hostile/harness.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "shm/layout/segment.hpp"
#include "shm/segment.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

/// A victim that spins until its deadline loads without end.
constexpr std::size_t loads_at_most = 3000;

/// What a busy machine may take from a process.
constexpr std::chrono::milliseconds slack{2000};

constexpr std::array expected_errors{
    Error{},           Error::not_permitted, Error::would_block,  Error::timed_out, Error::busy,
    Error::invalid,    Error::no_space,      Error::out_of_range, Error::removed,   Error::corrupt,
    Error::wrong_kind, Error::not_supported, Error::broken_pipe,  Error::peer_died,
};

auto nanoseconds_now() -> std::int64_t {
  return std::chrono::nanoseconds(Deadline::Clock::now().time_since_epoch()).count();
}

/// The peer's own mapping of the object.
class Grip {
 public:
  Grip(os::BorrowedFd fd, std::size_t size_bytes) : size_(size_bytes) {
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.number(), 0));
    REQUIRE(static_cast<void*>(memory_) != MAP_FAILED);
  }
  Grip(const Grip&) = delete;
  auto operator=(const Grip&) -> Grip& = delete;
  ~Grip() { munmap(memory_, size_); }

  template <class Word>
  [[nodiscard]] auto word(std::size_t offset) const -> volatile Word& {
    return *reinterpret_cast<volatile Word*>(memory_ + offset);
  }

  void restore(const Image& image) const {
    for (std::size_t at = 0; at < image.size(); at += 8) {
      std::uint64_t value = 0;
      std::memcpy(&value, image.data() + at, 8);
      word<std::uint64_t>(at) = value;
    }
  }

 private:
  std::byte* memory_;
  std::size_t size_;
};

auto new_object(std::size_t size_bytes, bool truncatable) -> os::OwnedFd {
  auto fd = os::OwnedFd::from_number(memfd_create("attacked", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(ftruncate(fd.number(), static_cast<off_t>(size_bytes)) == 0);
  constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (!truncatable) REQUIRE(fcntl(fd.number(), F_ADD_SEALS, seals) == 0);
  return fd;
}

/// The images, as if they had been made in this file; so its participants live.
auto adapted(std::vector<Image> images, os::BorrowedFd fd) -> std::vector<Image> {
  struct stat status{};
  REQUIRE(fstat(fd.number(), &status) == 0);
  const std::uint64_t inode = status.st_ino;
  for (auto& image : images) {
    std::memcpy(image.data() + offsetof(shm::SegmentHeader, inode), &inode, sizeof inode);
  }
  return images;
}

/// What may hurt in place of `now`, between two neighbours.
template <class Word>
auto values_for(Word now, Word before, Word after, std::size_t body_bytes) -> std::set<Word> {
  std::set<Word> values{static_cast<Word>(now + 1),
                        static_cast<Word>(now - 1),
                        static_cast<Word>(~now),
                        before,
                        after,
                        static_cast<Word>(body_bytes),
                        static_cast<Word>(body_bytes - 8),
                        static_cast<Word>(shm::dead_life),
                        static_cast<Word>(0x7fff),
                        static_cast<Word>(0x8000),
                        static_cast<Word>(0x8000'0000),
                        static_cast<Word>(0x7fff'ffff)};
  for (Word small = 0; small < 8; ++small) values.insert(small);
  values.insert(static_cast<Word>(~Word{0}));
  values.insert(static_cast<Word>(Word{1} << (sizeof(Word) * 8 - 1)));
  values.insert(static_cast<Word>(~Word{0} << (sizeof(Word) * 8 - 4)));
  values.erase(now);
  return values;
}

auto shared_log() -> std::unique_ptr<Log, void (*)(Log*)> {
  void* const memory =
      mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return {new (memory) Log{}, [](Log* log) { munmap(log, sizeof(Log)); }};
}

/// Forks the victim and looks after it, calling `meanwhile` all the time, which ends it by `stop`.
auto watch(const std::function<void(Log&)>& body, const std::function<void(Log&)>& meanwhile)
    -> Outcome {
  const auto log = shared_log();
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t victim = fork();
  REQUIRE(victim >= 0);
  if (victim == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1);
    if (getppid() == parent) body(*log);
    _exit(0);
  }
  const char* call = nullptr;
  const auto outcome = [&](bool survived, const std::string& how) {
    auto what = how + (call != nullptr ? std::string(" in ") + call : "");
    what += std::string(" after ") + log->strike.data();
    return Outcome{survived && log->complaint[0] == 0,
                   log->complaint[0] == 0 ? what : std::string(log->complaint.data()) + ", " + what,
                   log->strikes, log->calls};
  };
  for (;;) {
    meanwhile(*log);
    call = log->call;
    const auto allowed_until = log->allowed_until.load();
    int status = 0;
    if (waitpid(victim, &status, WNOHANG) == victim) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return outcome(true, "ended");
      return outcome(false, "died, wait status " + std::to_string(status) + ",");
    }
    const std::int64_t late = nanoseconds_now() - allowed_until;
    if (call != nullptr && call == log->call && allowed_until == log->allowed_until && late > 0) {
      kill(victim, SIGKILL);
      waitpid(victim, &status, 0);
      return outcome(false, "overstayed its deadline");
    }
  }
}

}  // namespace

void Victim::begin(const char* name, Deadline deadline) {
  const auto end = deadline.point() + slack;
  log_.allowed_until = std::chrono::nanoseconds(end.time_since_epoch()).count();
  log_.call = name;
}

void Victim::end(Error error) {
  if (std::ranges::find(expected_errors, error) == expected_errors.end()) {
    std::snprintf(log_.complaint.data(), log_.complaint.size(), "%s: %s", log_.call.load(),
                  message(error).c_str());
  }
  log_.call = nullptr;
  ++log_.calls;
}

auto offsets_of(const Target& target, const Image& image) -> std::vector<std::size_t> {
  std::uint32_t places = 0;
  std::memcpy(&places, image.data() + offsetof(shm::SegmentHeader, place_count), sizeof places);
  const std::size_t end_of_places = shm::places_offset + places * sizeof(shm::Place);
  const std::size_t body = shm::body_offset(places);
  const std::size_t end = body + std::min(image.size() - body, target.body_bytes);
  const auto is_of_use = [&](std::size_t at) {
    if (at < body || target.parts.empty()) return true;
    return std::ranges::any_of(target.parts, [&](const auto& part) {
      return at - body >= part.first && at - body < part.second;
    });
  };
  std::vector<std::size_t> offsets;
  for (std::size_t at = 0; at < end; at = at + 8 == end_of_places ? body : at + 8) {
    if (is_of_use(at)) offsets.push_back(at);
  }
  return offsets;
}

auto image_of(os::BorrowedFd object) -> Image {
  struct stat status{};
  REQUIRE(fstat(object.number(), &status) == 0);
  Image image(static_cast<std::size_t>(status.st_size));
  REQUIRE(pread(object.number(), image.data(), image.size(), 0) == status.st_size);
  return image;
}

namespace {

/// One victim that is struck once in each of its lives.
class EachWord {
 public:
  EachWord(const Target& target, Log& log)
      : target_(target),
        log_(log),
        images_(target.make()),
        fd_(new_object(images_.front().size(), false)),
        grip_(fd_, images_.front().size()) {
    images_ = adapted(std::move(images_), fd_);
    shm::patience = patience;
  }

  void run() {
    for (const auto& image : images_) {
      for (const auto offset : offsets_of(target_, image)) {
        strike<std::uint64_t>(image, offset);
        strike<std::uint32_t>(image, offset);
        strike<std::uint32_t>(image, offset + 4);
      }
    }
  }

 private:
  static constexpr std::chrono::milliseconds patience{1};

  template <class Word>
  void strike(const Image& image, std::size_t offset) {
    const auto word_at = [&](std::size_t at) {
      Word word{};
      if (at < image.size() - sizeof(Word)) std::memcpy(&word, image.data() + at, sizeof(Word));
      return word;
    };
    for (const auto value : values_for(word_at(offset), word_at(offset - sizeof(Word)),
                                       word_at(offset + sizeof(Word)), image.size())) {
      for (const bool attached : {false, true}) {
        if (!attached && sizeof(Word) == 4) continue;  // half of a word of 64 bits is less to check
        std::snprintf(log_.strike.data(), log_.strike.size(), "%s: %zu bits at %zu := %llx, %s",
                      target_.name, sizeof(Word) * 8, offset,
                      static_cast<unsigned long long>(value), attached ? "attached" : "before");
        const auto write = [&] {
          grip_.word<Word>(offset) = value;
          ++log_.strikes;
        };
        grip_.restore(image);
        if (!attached) write();
        Victim victim(log_, patience, attached ? std::function<void()>(write) : [] {});
        target_.exercise(os::duplicate(fd_).value(), victim);
      }
    }
  }

  const Target& target_;
  Log& log_;
  std::vector<Image> images_;
  os::OwnedFd fd_;
  Grip grip_;
};

/// The peer that writes all the time.
class Random {
 public:
  Random(const Target& target, const Siege& siege)
      : images_(target.make()),
        siege_(siege),
        size_(images_.front().size()),
        fd_(new_object(size_, siege.truncates)),
        grip_(fd_, size_),
        random_(siege.seed),
        end_(Deadline::after(siege.duration)) {
    images_ = adapted(std::move(images_), fd_);
    offsets_ = offsets_of(target, images_.front());
    grip_.restore(images_.front());
  }

  [[nodiscard]] auto fd() const -> os::BorrowedFd { return fd_; }

  /// Strikes at a few words for a while.
  void strike(Log& log) {
    if (end_.has_passed()) log.stop = true;
    if (siege_.truncates) return truncate(log);
    if (below(3) == 0) grip_.restore(images_[below(images_.size())]);
    std::array<std::size_t, 3> aims{};
    // The first lines of header and body are what most of it hangs on.
    for (auto& aim : aims) {
      const auto at = offsets_[below(below(2) == 0 ? offsets_.size() : 20)];
      aim = (below(2) == 0 ? at : offsets_[offsets_.size() - 1 - below(offsets_.size())]) +
            below(2) * 4;
    }
    std::snprintf(log.strike.data(), log.strike.size(), "strikes at %zu, %zu, %zu", aims[0],
                  aims[1], aims[2]);
    const std::size_t used = 1 + below(aims.size());
    const auto strikes = below(2) == 0 ? below(20) : below(20'000);
    for (std::size_t i = 0; i < strikes; ++i) {
      const auto aim = aims.at(below(used));
      if (aim % 8 == 0 && below(2) == 0) {
        write<std::uint64_t>(aim);
      } else {
        write<std::uint32_t>(aim);
      }
      if (below(64) == 0) {
        syscall(SYS_futex, &grip_.word<std::uint32_t>(aim), FUTEX_WAKE, 1, nullptr, nullptr, 0);
      }
    }
    log.strikes += strikes;
    if (below(4) == 0) usleep(static_cast<unsigned>(below(3000)));
  }

 private:
  auto below(std::size_t bound) -> std::size_t { return random_() % bound; }

  template <class Word>
  void write(std::size_t offset) {
    auto& word = grip_.word<Word>(offset);
    const auto now = word;
    const std::array<Word, 10> values{static_cast<Word>(now + 1),
                                      static_cast<Word>(now - 1),
                                      static_cast<Word>(below(8)),
                                      static_cast<Word>(size_ - 8 * below(600)),
                                      static_cast<Word>(shm::dead_life),
                                      static_cast<Word>(random_()),
                                      static_cast<Word>(0),
                                      static_cast<Word>(~Word{0}),
                                      static_cast<Word>(Word{1} << (sizeof(Word) * 8 - 1)),
                                      static_cast<Word>(below(8))};
    word = values[below(values.size())];
  }

  void truncate(Log& log) {
    const auto size = static_cast<off_t>(below(3) == 0 ? 0 : below(size_ + 1));
    REQUIRE(ftruncate(fd_.number(), size) == 0);
    usleep(static_cast<unsigned>(below(200)));
    const auto& image = images_[below(images_.size())];
    REQUIRE(pwrite(fd_.number(), image.data(), size_, 0) == static_cast<ssize_t>(size_));
    ++log.strikes;
    usleep(static_cast<unsigned>(below(1000)));
  }

  std::vector<Image> images_;
  Siege siege_;
  std::size_t size_;
  os::OwnedFd fd_;
  Grip grip_;
  std::vector<std::size_t> offsets_;
  std::mt19937_64 random_;
  Deadline end_;
};

}  // namespace

auto strike_each_word(const Target& target) -> Outcome {
  return watch([&](Log& log) { EachWord(target, log).run(); }, [](Log&) { usleep(10'000); });
}

auto strike_before_each_system_call(const Target& target, std::size_t offset) -> Outcome {
  class Striker : public seam::Director {
   public:
    Striker(Log& log, volatile std::uint32_t& word) : log_(log), word_(word) {}
    void before(seam::Step step, const volatile void* /*word*/) override {
      if (step != seam::Step::system_call) return;
      word_ = word_ + 1;
      ++log_.strikes;
    }

   private:
    Log& log_;
    volatile std::uint32_t& word_;
  };
  return watch(
      [&](Log& log) {
        auto images = target.make();
        const auto fd = new_object(images.front().size(), false);
        images = adapted(std::move(images), fd);
        const Grip grip(fd, images.front().size());
        Striker striker(log, grip.word<std::uint32_t>(offset));
        for (const auto& image : images) {
          grip.restore(image);
          shm::patience = 2ms;
          Victim victim(log, 100s, [&] {
            shm::patience = 100s;
            seam::director = &striker;
          });
          target.exercise(os::duplicate(fd).value(), victim);
          seam::director = nullptr;
        }
      },
      [](Log&) { usleep(10'000); });
}

namespace {

/// Changes the word that the victim is about to load for the n-th time.
class Liar : public seam::Director {
 public:
  Liar(Log& log, const Target& target, std::size_t size_bytes, std::mt19937_64& random)
      : log_(log), target_(target), size_(size_bytes), random_(random) {}
  void before(seam::Step step, const volatile void* word) override {
    if (step != seam::Step::load || ++loads_ != lie_at) return;
    const auto address = reinterpret_cast<std::uintptr_t>(word);
    if (address % 8 == 0 && random_() % 2 == 0) {
      lie<std::uint64_t>(address);
    } else {
      lie<std::uint32_t>(address);
    }
  }
  /// Whether there was an n-th load; begins anew.
  auto restart() -> bool { return std::exchange(loads_, 0) >= lie_at; }

  std::size_t lie_at = 1;

 private:
  template <class Word>
  void lie(std::uintptr_t address) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    auto& word = *reinterpret_cast<volatile Word*>(address);
    const auto values = values_for<Word>(word, 0, 0, size_);
    const auto value =
        *std::next(values.begin(), static_cast<std::ptrdiff_t>(random_() % values.size()));
    std::snprintf(log_.strike.data(), log_.strike.size(), "%s: load %zu finds %llx", target_.name,
                  lie_at, static_cast<unsigned long long>(value));
    word = value;
    ++log_.strikes;
  }

  Log& log_;
  const Target& target_;
  std::size_t size_;
  std::mt19937_64& random_;
  std::size_t loads_ = 0;
};

}  // namespace

auto strike_before_each_load(const Target& target, std::uint64_t seed, std::size_t values_per_load)
    -> Outcome {
  return watch(
      [&](Log& log) {
        auto images = target.make();
        const auto fd = new_object(images.front().size(), false);
        images = adapted(std::move(images), fd);
        const Grip grip(fd, images.front().size());
        std::mt19937_64 random(seed);
        constexpr std::chrono::milliseconds patience{1};
        shm::patience = patience;
        Liar liar(log, target, images.front().size(), random);
        for (const auto& image : images) {
          bool more = true;
          for (liar.lie_at = 1; more; ++liar.lie_at) {
            for (std::size_t i = 0; more && i < values_per_load; ++i) {
              grip.restore(image);
              Victim victim(log, patience, [] {});
              seam::director = &liar;
              target.exercise(os::duplicate(fd).value(), victim);
              seam::director = nullptr;
              more = liar.restart() && liar.lie_at < loads_at_most;
            }
          }
        }
      },
      [](Log&) { usleep(10'000); });
}

auto strike_at_random(const Target& target, const Siege& siege) -> Outcome {
  Random peer(target, siege);
  return watch(
      [&](Log& log) {
        while (!log.stop) {
          shm::patience = 2ms;  // to attach has no deadline
          Victim victim(log, siege.patience, [&] { shm::patience = siege.patience; });
          target.exercise(os::duplicate(peer.fd()).value(), victim);
        }
      },
      [&](Log& log) { peer.strike(log); });
}

}  // namespace parley::test
