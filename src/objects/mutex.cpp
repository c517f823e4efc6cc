#include <parley/mutex.hpp>

#include <new>
#include <utility>

#include "objects/spins.hpp"
#include "os/keeper.hpp"
#include "shm/latch.hpp"
#include "shm/layout/mutex.hpp"
#include "shm/segment.hpp"

namespace parley {

class Mutex::State {
 public:
  static auto of(shm::Segment segment) -> Result<std::unique_ptr<State>> {
    if (segment.body().size() != sizeof(shm::MutexBody)) return failure(Error::corrupt);
    std::unique_ptr<State> state(new State(std::move(segment)));
    PARLEY_TRY(state->claim_place());
    return state;
  }

  auto acquire(Deadline deadline, bool heir = false) -> Result<void>;
  auto release() -> Result<void>;
  [[nodiscard]] auto inherited() const noexcept -> bool {
    return latch().is_mine() && body().inherited.load_relaxed() != 0;  // written by the holder
  }

  [[nodiscard]] auto segment() const noexcept -> const shm::Segment& { return segment_; }
  void set_wait_strategy(WaitStrategy strategy) noexcept { spins_ = spins_of(strategy); }

 private:
  explicit State(shm::Segment segment) noexcept : segment_(std::move(segment)) {}

  [[nodiscard]] auto body() const noexcept -> shm::MutexBody& {
    return *std::launder(reinterpret_cast<shm::MutexBody*>(segment_.body().data()));
  }
  [[nodiscard]] auto latch() const noexcept -> shm::Latch { return {segment_, body().latch}; }

  auto claim_place() -> Result<void> {
    return segment_.claim([this]() -> Result<void> {
      PARLEY_TRY(acquire(Deadline::after(shm::patience), true));
      latch().release();  // `inherited` stays as it is, for whoever comes to use the lock
      return {};
    });
  }
  auto bury_the_dead() -> Result<void>;

  shm::Segment segment_;
  std::uint32_t spins_ = spins_of(WaitStrategy::adaptive);
};

auto Mutex::State::acquire(Deadline deadline, bool heir) -> Result<void> {
  if (!segment_.is_current()) PARLEY_TRY(claim_place());
  const auto found = PARLEY_TRY(latch().acquire(spins_, deadline, heir));
  // Whoever dies before this is stored leaves the latch to be taken over once more.
  if (found == shm::Latch::Found::left_by_the_dead) body().inherited.store_release(1);
  if (segment_.next_dead(0) < segment_.place_count()) [[unlikely]] {
    if (const auto buried = bury_the_dead(); !buried) {
      latch().release();
      return buried;
    }
  }
  return segment_.is_lost() ? failure(Error::corrupt) : Result<void>();
}

auto Mutex::State::bury_the_dead() -> Result<void> {
  const auto end = segment_.place_count();
  for (auto at = segment_.next_dead(0); at < end; at = segment_.next_dead(at + 1)) {
    if (at == segment_.place()) return failure(Error::corrupt);
    os::await_stillness();
    segment_.free_place(at);
  }
  // One of them may have been woken. Now that they are still, they do not undo this.
  latch().expect_sleepers();
  return {};
}

auto Mutex::State::release() -> Result<void> {
  if (segment_.is_lost()) return failure(Error::corrupt);
  if (!segment_.is_current() || !latch().is_mine()) return failure(Error::not_permitted);
  if (body().inherited.load_relaxed() != 0) body().inherited.store_release(0);
  latch().release();
  return {};
}

namespace {

auto make(std::string_view name, const MutexOptions& options) -> Result<shm::Segment> {
  return shm::Segment::create({.name = name, .mode = options.mode},
                              {.kind = shm::ObjectKind::mutex,
                               .body_version = shm::mutex_version,
                               .participants = options.participants,
                               .body_bytes = sizeof(shm::MutexBody)},
                              [](std::span<std::byte>) {});
}

}  // namespace

Mutex::Mutex(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Mutex::Mutex(Mutex&&) noexcept = default;
auto Mutex::operator=(Mutex&&) noexcept -> Mutex& = default;
Mutex::~Mutex() = default;

auto Mutex::create(const MutexOptions& options) -> Result<Mutex> {
  return Mutex(PARLEY_TRY(State::of(PARLEY_TRY(make({}, options)))));
}

auto Mutex::create(std::string_view name, const MutexOptions& options) -> Result<Mutex> {
  if (name.empty()) return failure(Error::invalid);
  auto state = PARLEY_TRY(State::of(PARLEY_TRY(make(name, options))));
  PARLEY_TRY(state->segment().publish(name));
  return Mutex(std::move(state));
}

auto Mutex::open(std::string_view name) -> Result<Mutex> {
  return Mutex(PARLEY_TRY(
      State::of(PARLEY_TRY(shm::Segment::open(name, shm::ObjectKind::mutex, shm::mutex_version)))));
}

auto Mutex::open_or_create(std::string_view name, const MutexOptions& options) -> Result<Mutex> {
  return shm::open_or_create([&] { return open(name); }, [&] { return create(name, options); });
}

auto Mutex::adopt(os::OwnedFd fd) -> Result<Mutex> {
  return Mutex(PARLEY_TRY(State::of(
      PARLEY_TRY(shm::Segment::adopt(std::move(fd), shm::ObjectKind::mutex, shm::mutex_version)))));
}

auto Mutex::unlink(std::string_view name) -> Result<void> {
  return shm::Segment::unlink(name);
}

auto Mutex::descriptor() const noexcept -> os::BorrowedFd {
  return state_->segment().descriptor();
}

void Mutex::set_wait_strategy(WaitStrategy strategy) noexcept {
  state_->set_wait_strategy(strategy);
}

auto Mutex::acquire(Deadline deadline) -> Result<void> {
  return state_->acquire(deadline);
}

auto Mutex::release() -> Result<void> {
  return state_->release();
}

auto Mutex::peer_died() const noexcept -> bool {
  return state_->inherited();
}

}  // namespace parley
