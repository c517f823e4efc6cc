// The same program on System V's message queues and on ours.
//
// Callers have a thread for each world, so a call can be blocked in both. After each step both
// worlds are at rest: every thread has ended its call or sleeps in it. Then what the calls said,
// who is still blocked and what the queue holds must be equal.
//
// Where the contracts differ on purpose:
//   - a removed queue is `invalid` to later calls in the kernel (the id is gone), `removed` to
//   ours;
//   - the kernel's bound in messages is its bound in bytes; ours is of its own, and is set so;
//   - which of several senders that wait proceeds first is a race in the kernel: so one waits at a
//     time. When the bound is changed, the kernel lets receivers line up again in any order: so
//     then one waits at most.
#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/os/sysv/message_queue.hpp>

#include "support/long_run.hpp"
#include "support/peer.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

enum class Act : std::uint8_t { send, receive, peek, limit, remove };

struct Call {
  Act act;
  std::uint64_t tag;  ///< Or the number that is selected by.
  std::size_t size;   ///< Of the message, the buffer, the bound; or the position.
  Selection::Kind kind = Selection::Kind::oldest;
  bool cut = false;
  bool waits = false;
};

auto text_of(const Call& call) -> std::string {
  return "act " + std::to_string(static_cast<int>(call.act)) + " tag " + std::to_string(call.tag) +
         " size " + std::to_string(call.size) + " kind " +
         std::to_string(static_cast<int>(call.kind)) + (call.cut ? " cut" : "") +
         (call.waits ? " waits" : "");
}

/// What a call ended with: an error, or the message.
struct Answer {
  Error error{};
  std::uint64_t tag = 0;
  std::string text;

  auto operator==(const Answer&) const -> bool = default;
};

/// Each message is the letter of its step.
auto message_of(const Call& call, char letter) -> std::string {
  return std::string(call.size, letter);
}

auto deadline_of(const Call& call) -> Deadline {
  return call.waits ? Deadline::never() : Deadline::now();
}

auto answer_of(const Result<void>& result) -> Answer {
  return {.error = result ? Error{} : result.error(), .tag = 0, .text = {}};
}

class KernelWorld {
 public:
  explicit KernelWorld(std::size_t bytes)
      : queue_(os::sysv::MessageQueue::create(os::sysv::Key::private_key()).value()) {
    REQUIRE(queue_.set_capacity_bytes(bytes));
  }
  KernelWorld(const KernelWorld&) = delete;
  auto operator=(const KernelWorld&) -> KernelWorld& = delete;
  ~KernelWorld() { static_cast<void>(queue_.remove()); }

  auto perform(const Call& call, char letter) -> Answer {
    auto answer = attempt(call, letter);
    if (answer.error == Error::invalid) answer.error = Error::removed;
    return answer;
  }

  [[nodiscard]] auto holds() const -> std::pair<std::size_t, std::size_t> {
    const auto status = queue_.status();
    if (!status) return {0, 0};
    return {status->message_count, status->size_bytes};
  }

 private:
  auto attempt(const Call& call, char letter) -> Answer {
    const auto tag = static_cast<long>(call.tag);
    std::vector<std::byte> into(call.size);
    switch (call.act) {
      case Act::send: {
        const auto text = message_of(call, letter);
        return answer_of(queue_.send(tag, std::as_bytes(std::span(text)), deadline_of(call)));
      }
      case Act::limit:
        return answer_of(queue_.set_capacity_bytes(call.size));
      case Act::remove:
        return answer_of(queue_.remove());
      case Act::peek: {
        std::array<std::byte, 100> all{};
        return answer_of(queue_.peek(call.size, all), all);
      }
      case Act::receive:
        break;
    }
    using os::sysv::Selector;
    auto selector = Selector::oldest();
    if (call.kind == Selection::Kind::tag) selector = Selector::of_type(tag);
    if (call.kind == Selection::Kind::up_to) selector = Selector::lowest_up_to(tag);
    if (call.kind == Selection::Kind::except) selector = Selector::except(tag);
    return answer_of(queue_.receive(selector, into, deadline_of(call), {.truncate = call.cut}),
                     into);
  }

  static auto answer_of(const Result<void>& result) -> Answer { return test::answer_of(result); }
  static auto answer_of(const Result<os::sysv::Received>& got, std::span<const std::byte> into)
      -> Answer {
    if (!got) return {.error = got.error(), .tag = 0, .text = {}};
    const auto text = into.first(got->size_bytes);
    return {.error = {},
            .tag = static_cast<std::uint64_t>(got->type),
            .text = {reinterpret_cast<const char*>(text.data()), text.size()}};
  }

  os::sysv::MessageQueue queue_;
};

auto limits_of(std::size_t bytes) -> MessageQueueLimits {
  return {.bytes = bytes, .messages = static_cast<std::uint32_t>(bytes)};
}

class ParleyWorld {
 public:
  explicit ParleyWorld(std::size_t bytes)
      : queue_(MessageQueue::create({.messages = 1000, .bytes = 200}).value()) {
    queue_.set_wait_strategy(WaitStrategy::block);
    REQUIRE(queue_.limit(limits_of(bytes)));
  }

  auto perform(const Call& call, char letter) -> Answer {
    std::vector<std::byte> into(call.act == Act::receive ? call.size : 100);
    const ReceiveOptions options{.selection = selection_of(call), .cut = call.cut};
    switch (call.act) {
      case Act::send: {
        const auto text = message_of(call, letter);
        return answer_of(
            queue_.send(std::as_bytes(std::span(text)), {.tag = call.tag}, deadline_of(call)));
      }
      case Act::limit:
        return answer_of(queue_.limit(limits_of(call.size)));
      case Act::remove:
        return answer_of(queue_.remove());
      case Act::peek:
        return answer_of(queue_.peek_at(call.size, into), into);
      case Act::receive:
        break;
    }
    return answer_of(queue_.receive(into, options, deadline_of(call)), into);
  }

  [[nodiscard]] auto holds() -> std::pair<std::size_t, std::size_t> {
    const auto status = queue_.status();
    if (!status) return {0, 0};
    CHECK(status->taken == 0);
    CHECK(status->reserved == 0);
    return {status->messages, status->bytes};
  }

 private:
  static auto selection_of(const Call& call) -> Selection {
    switch (call.kind) {
      case Selection::Kind::tag:
        return Selection::tag(call.tag);
      case Selection::Kind::up_to:
        return Selection::up_to(call.tag);
      case Selection::Kind::except:
        return Selection::except(call.tag);
      default:
        return Selection::oldest();
    }
  }

  static auto answer_of(const Result<void>& result) -> Answer { return test::answer_of(result); }
  static auto answer_of(const Result<Received>& got, std::span<const std::byte> into) -> Answer {
    if (!got) return {.error = got.error(), .tag = 0, .text = {}};
    const auto text = into.first(got->copied_bytes);
    return {.error = {},
            .tag = got->tag,
            .text = {reinterpret_cast<const char*>(text.data()), text.size()}};
  }

  MessageQueue queue_;
};

/// A thread that makes one call after the other in one world.
class Caller {
 public:
  using Perform = std::function<Answer(const Call&, char)>;

  Caller() : thread_([this] { serve(); }) { started_.acquire(); }
  Caller(const Caller&) = delete;
  auto operator=(const Caller&) -> Caller& = delete;
  ~Caller() {
    perform_ = nullptr;
    go_.release();
    thread_.join();
  }

  void begin(Perform perform, const Call& call, char letter) {
    perform_ = std::move(perform);
    call_ = call;
    letter_ = letter;
    __atomic_store_n(&busy_, true, __ATOMIC_RELEASE);
    go_.release();
  }

  [[nodiscard]] auto is_busy() const -> bool { return __atomic_load_n(&busy_, __ATOMIC_ACQUIRE); }
  /// Has ended its call, or sleeps in it.
  [[nodiscard]] auto is_at_rest() const -> bool { return !is_busy() || is_asleep(id_); }
  [[nodiscard]] auto answer() const -> const Answer& { return answer_; }

 private:
  void serve() {
    id_ = static_cast<pid_t>(::syscall(SYS_gettid));
    started_.release();
    for (;;) {
      go_.acquire();
      if (!perform_) return;
      answer_ = perform_(call_, letter_);
      __atomic_store_n(&busy_, false, __ATOMIC_RELEASE);
    }
  }

  std::binary_semaphore go_{0};
  std::binary_semaphore started_{0};
  Perform perform_;
  Call call_{};
  char letter_ = 0;
  bool busy_ = false;
  Answer answer_;
  pid_t id_ = 0;
  std::thread thread_;
};

constexpr std::size_t callers = 4;
constexpr std::size_t bytes_at_first = 120;

class Comparison {
 public:
  explicit Comparison(std::uint64_t seed) : random_(seed) {}

  auto run(std::size_t steps) -> std::size_t {
    for (std::size_t step = 0; step < steps && !over_; ++step, ++done_) next(step);
    if (!over_) make(free_caller(), {.act = Act::remove, .tag = 0, .size = 0});
    for (const auto& waiting : waiting_) CHECK_FALSE(waiting.has_value());
    return done_;
  }

 private:
  auto below(std::size_t bound) -> std::size_t { return random_() % bound; }

  auto count_waiting(Act act) const -> std::size_t {
    return static_cast<std::size_t>(std::ranges::count_if(
        waiting_, [&](const auto& call) { return call && call->act == act; }));
  }
  auto free_caller() const -> std::size_t {
    const auto free = std::ranges::find_if(waiting_, [](const auto& call) { return !call; });
    return static_cast<std::size_t>(free - waiting_.begin());
  }

  auto some_call() -> Call {
    // The last caller never waits.
    const bool may_wait = count_waiting(Act::send) + count_waiting(Act::receive) < callers - 1;
    Call call{.act = Act::send, .tag = 1 + below(4), .size = below(12) == 0 ? 0 : 1 + below(60)};
    const auto kind = below(100);
    if (kind < 45) {
      call.waits = may_wait && count_waiting(Act::send) == 0 && below(3) != 0;
      return call;
    }
    if (kind < 90) {
      call.act = Act::receive;
      call.kind = static_cast<Selection::Kind>(below(4));
      call.size = below(4) == 0 ? below(60) : 60;
      call.cut = below(6) == 0;
      call.waits = may_wait && below(2) == 0;
      return call;
    }
    call = {.act = Act::peek, .tag = 0, .size = below(5)};
    if (kind < 96 || count_waiting(Act::receive) > 1) return call;
    call.act = kind < 99 ? Act::limit : Act::remove;
    call.size = 80 + below(80);
    return call;
  }

  void next(std::size_t step) {
    letter_ = static_cast<char>('a' + step % 26);
    make(free_caller(), some_call());
  }

  void make(std::size_t who, const Call& call) {
    story_ += text_of(call) + "\n";
    INFO(story_);
    over_ = over_ || call.act == Act::remove;
    ours_[who].begin([&](const auto& c, char letter) { return parley_.perform(c, letter); }, call,
                     letter_);
    theirs_[who].begin([&](const auto& c, char letter) { return kernel_.perform(c, letter); }, call,
                       letter_);
    waiting_[who] = call;
    const auto limit = std::chrono::steady_clock::now() + 20s;
    const auto rests = [](const Caller& caller) { return caller.is_at_rest(); };
    // Who was seen asleep may be woken by one who is looked at after it, and so on.
    for (std::size_t looks = 0; looks <= callers;) {
      const bool rest = std::ranges::all_of(ours_, rests) && std::ranges::all_of(theirs_, rests);
      looks = rest ? looks + 1 : 0;
      if (!rest) std::this_thread::yield();
      if (std::chrono::steady_clock::now() > limit) FAIL("a call neither ends nor sleeps");
    }
    for (std::size_t i = 0; i < callers; ++i) {
      if (!waiting_[i]) continue;
      CAPTURE(i);
      REQUIRE(ours_[i].is_busy() == theirs_[i].is_busy());
      if (ours_[i].is_busy()) continue;
      waiting_[i].reset();
      REQUIRE(ours_[i].answer().error == theirs_[i].answer().error);
      REQUIRE((ours_[i].answer() == theirs_[i].answer()));
    }
    REQUIRE((parley_.holds() == kernel_.holds()));
  }

  std::mt19937_64 random_;
  KernelWorld kernel_{bytes_at_first};
  ParleyWorld parley_{bytes_at_first};
  std::array<Caller, callers> ours_;
  std::array<Caller, callers> theirs_;
  std::array<std::optional<Call>, callers> waiting_;
  char letter_ = 'a';
  bool over_ = false;
  std::size_t done_ = 0;
  std::string story_;
};

}  // namespace

TEST_CASE("random programs of messages do the same as in the kernel") {
  auto seed_of_program = seed();
  const auto end = Deadline::after(time_budget(10s, 10min));
  std::size_t programs = 0;
  std::size_t steps = 0;
  for (; !end.has_passed(); ++seed_of_program, ++programs) {
    CAPTURE(seed_of_program);
    steps += Comparison(seed_of_program).run(100);
  }
  std::printf("%zu steps of %zu random programs of messages compared\n", steps, programs);
}

}  // namespace parley::test
