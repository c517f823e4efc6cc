#include "steps/explorer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <condition_variable>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <thread>
#include <utility>

#include "base/seam.hpp"
#include "shm/layout/segment.hpp"

namespace parley::test {
namespace {

/// A word of a shared object, whichever mapping it is seen through: inode and offset.
using WordName = std::pair<std::uint64_t, std::uint64_t>;

/// What is mapped where: read once for each run.
class Mappings {
 public:
  Mappings() {
    std::ifstream file("/proc/self/maps");
    for (std::string line; std::getline(file, line);) {
      if (!line.contains("memfd:parley")) continue;
      Mapping mapping{};
      char dash = 0;
      std::string flags;
      std::string device;
      std::istringstream(line) >> std::hex >> mapping.begin >> dash >> mapping.end >> flags >>
          mapping.offset >> device >> std::dec >> mapping.inode;
      all_.push_back(mapping);
    }
  }

  [[nodiscard]] auto name_of(const volatile void* address) const -> WordName {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    for (const auto& mapping : all_) {
      if (at >= mapping.begin && at < mapping.end) {
        return {mapping.inode, mapping.offset + (at - mapping.begin)};
      }
    }
    return {0, at};
  }

 private:
  struct Mapping {
    std::uintptr_t begin;
    std::uintptr_t end;
    std::uint64_t offset;
    std::uint64_t inode;
  };
  std::vector<Mapping> all_;
};

/// One choice of a run: how many options there were, which was taken.
struct Choice {
  std::size_t options;
  std::size_t taken;
};

enum class Move { go_on, die };

struct Option {
  std::size_t thread;
  Move move;
  bool preempts;
};

class Stepper {
 public:
  /// Beyond the prefix the first option is taken, or with `random` any.
  Stepper(SteppedRun& run, const Search& search, std::vector<std::size_t> prefix,
          std::minstd_rand* random)
      : run_(run),
        search_(search),
        prefix_(std::move(prefix)),
        random_(random),
        threads_(run.threads.size()) {}

  /// True when every thread came to its end or died; false when all others sleep for ever.
  auto play() -> bool {
    std::vector<std::thread> running;
    running.reserve(threads_.size());
    for (std::size_t i = 0; i < threads_.size(); ++i) running.emplace_back([this, i] { live(i); });
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return started_ == threads_.size(); });
      choose(lock, threads_.size());
      changed_.wait(lock, [&] { return over_; });
    }
    for (auto& thread : running) thread.join();
    return !stuck_;
  }

  [[nodiscard]] auto choices() const -> const std::vector<Choice>& { return choices_; }

 private:
  enum class State { runs, sleeps, ended };
  struct Thread {
    State state = State::runs;
    bool has_deadline = false;
    bool woken = false;
    std::vector<WordName> words;
    std::size_t slept_at = 0;
    std::jmp_buf end{};
  };

  class Director : public seam::Director {
   public:
    Director(Stepper& stepper, std::size_t self) : stepper_(stepper), self_(self) {}
    void before(seam::Step /*step*/, const volatile void* /*word*/) override {
      stepper_.step(self_);
    }
    auto sleep(std::span<const seam::WatchedWord> words, bool has_deadline)
        -> std::optional<bool> override {
      return stepper_.sleep(self_, words, has_deadline);
    }
    auto wake(const std::uint32_t* word, unsigned count) -> bool override {
      stepper_.step(self_);
      stepper_.wake(word, count);
      return true;
    }
    auto time_is_over() -> std::optional<bool> override { return stepper_.breaks_off(); }

   private:
    Stepper& stepper_;
    std::size_t self_;
  };

  void live(std::size_t self) {
    Director director(*this, self);
    {
      std::unique_lock lock(mutex_);
      ++started_;
      changed_.notify_all();
      await_turn(lock, self);
    }
    // A thread that dies leaves its frames as they are: no destructor runs, as for a killed
    // process.
    if (setjmp(threads_[self].end) == 0) {
      seam::director = &director;
      run_.threads[self].body();
    }
    seam::director = nullptr;
    std::unique_lock lock(mutex_);
    if (over_) return;
    threads_[self].state = State::ended;
    choose(lock, self);
  }

  void step(std::size_t self) {
    std::unique_lock lock(mutex_);
    choose(lock, self);
    await_turn(lock, self);
  }

  auto sleep(std::size_t self, std::span<const seam::WatchedWord> words, bool has_deadline)
      -> bool {
    step(self);
    for (const auto& word : words) {
      if (__atomic_load_n(word.word, __ATOMIC_SEQ_CST) != word.expected) return true;
    }
    std::unique_lock lock(mutex_);
    auto& thread = threads_[self];
    thread.state = State::sleeps;
    thread.has_deadline = has_deadline;
    thread.woken = false;
    thread.slept_at = ++clock_;
    thread.words.clear();
    for (const auto& word : words) thread.words.push_back(mappings_.name_of(word.word));
    choose(lock, self);
    await_turn(lock, self);
    thread.state = State::runs;
    return thread.woken;
  }

  auto breaks_off() -> bool {
    const std::scoped_lock lock(mutex_);
    if (breaks_ >= search_.breaks) return false;
    constexpr std::size_t options = 2;
    const bool breaks = pick(options) != 0;
    if (breaks) ++breaks_;
    return breaks;
  }

  void wake(const std::uint32_t* word, unsigned count) {
    const std::scoped_lock lock(mutex_);
    if (!search_.loses_wakes) wake_locked(word, count);
  }

  /// In the order in which they fell asleep, as the kernel does.
  void wake_locked(const std::uint32_t* word, unsigned count) {
    const auto name = mappings_.name_of(word);
    for (; count > 0; --count) {
      Thread* first = nullptr;
      for (auto& thread : threads_) {
        const bool waits = thread.state == State::sleeps && !thread.woken &&
                           std::ranges::find(thread.words, name) != thread.words.end();
        if (waits && (first == nullptr || thread.slept_at < first->slept_at)) first = &thread;
      }
      if (first == nullptr) return;
      first->woken = true;
    }
  }

  void await_turn(std::unique_lock<std::mutex>& lock, std::size_t self) {
    changed_.wait(lock, [&] { return over_ || turn_ == self; });
    if (over_) end(lock, self);
    if (move_ == Move::go_on) return;
    // Killed: no destructor runs, and the kernel marks the life word and wakes one sleeper.
    auto* const life = run_.threads[self].life;
    __atomic_store_n(life, shm::dead_life, __ATOMIC_SEQ_CST);
    wake_locked(life, 1);
    mortals_dead_ = true;
    end(lock, self);
  }

  [[noreturn]] void end(std::unique_lock<std::mutex>& lock, std::size_t self) {
    lock.unlock();
    std::longjmp(threads_[self].end, 1);  // NOLINT(cert-err52-cpp)
  }

  [[nodiscard]] static auto can_go_on(const Thread& thread) -> bool {
    return thread.state == State::runs || (thread.state == State::sleeps && thread.woken);
  }

  /// Those who may take the next step; first the one that took the last, last those whose time may
  /// be over.
  [[nodiscard]] auto options(std::size_t last) const -> std::vector<Option> {
    std::vector<Option> all;
    const bool last_goes_on = last < threads_.size() && threads_[last].state == State::runs;
    const auto add = [&](std::size_t i, bool preempts) {
      if (can_go_on(threads_[i])) all.push_back({i, Move::go_on, preempts});
      const bool may_die =
          run_.threads[i].life != nullptr && !mortals_dead_ && threads_[i].state != State::ended;
      if (may_die && i == last) all.push_back({i, Move::die, false});
    };
    if (last < threads_.size()) add(last, false);
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (i == last) continue;
      if (last_goes_on && preemptions_ >= search_.preemptions) continue;
      add(i, last_goes_on);
    }
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto& thread = threads_[i];
      const bool may_time_out = thread.state == State::sleeps && !thread.woken &&
                                thread.has_deadline &&
                                (all.empty() || time_outs_ < search_.time_outs);
      if (may_time_out) all.push_back({i, Move::go_on, false});
    }
    return all;
  }

  /// Makes a choice.
  auto pick(std::size_t options) -> std::size_t {
    std::size_t taken = 0;
    if (choices_.size() < prefix_.size()) {
      taken = prefix_[choices_.size()];
    } else if (random_ != nullptr) {
      // Mostly straight on: what is found with few switches is found soon.
      constexpr unsigned straight_on = 8;
      if ((*random_)() % straight_on == 0) taken = (*random_)() % options;
    }
    REQUIRE(taken < options);
    choices_.push_back({.options = options, .taken = taken});
    return taken;
  }

  /// Gives the turn to the next; whoever calls this has just come to a step, slept or ended.
  void choose(std::unique_lock<std::mutex>& /*lock*/, std::size_t last) {
    if (over_) return;
    const auto all = options(last);
    if (all.empty()) {
      stuck_ = std::ranges::any_of(
          threads_, [](const auto& thread) { return thread.state == State::sleeps; });
      over_ = true;
      changed_.notify_all();
      return;
    }
    const std::size_t taken = all.size() > 1 ? pick(all.size()) : 0;
    if (all[taken].preempts) ++preemptions_;
    const auto& next = threads_[all[taken].thread];
    if (next.state == State::sleeps && !next.woken && all[taken].move == Move::go_on) ++time_outs_;
    turn_ = all[taken].thread;
    move_ = all[taken].move;
    if (turn_ != last || move_ == Move::die) changed_.notify_all();
  }

  SteppedRun& run_;
  const Search& search_;
  std::vector<std::size_t> prefix_;
  std::minstd_rand* random_;
  std::vector<Thread> threads_;
  std::vector<Choice> choices_;
  Mappings mappings_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t started_ = 0;
  std::size_t turn_ = ~std::size_t{0};
  Move move_ = Move::go_on;
  std::size_t clock_ = 0;
  int preemptions_ = 0;
  int time_outs_ = 0;
  int breaks_ = 0;
  bool mortals_dead_ = false;
  bool over_ = false;
  bool stuck_ = false;
};

auto as_text(const std::vector<Choice>& choices) -> std::string {
  std::string text;
  for (const auto& choice : choices) {
    if (!text.empty()) text += ' ';
    text += std::to_string(choice.taken);
  }
  return text;
}

/// The choices of the next run in depth-first order; empty when all were made.
auto next_prefix(const std::vector<Choice>& made) -> std::optional<std::vector<std::size_t>> {
  auto last = made.size();
  while (last > 0 && made[last - 1].taken + 1 == made[last - 1].options) --last;
  if (last == 0) return std::nullopt;
  std::vector<std::size_t> prefix;
  prefix.reserve(last);
  for (std::size_t i = 0; i < last; ++i) prefix.push_back(made[i].taken);
  ++prefix.back();
  return prefix;
}

auto seed_of_the_day() -> unsigned {
  const char* const text = std::getenv("PARLEY_SEED");  // NOLINT(concurrency-mt-unsafe)
  if (text != nullptr) return static_cast<unsigned>(std::strtoul(text, nullptr, 10));
  return std::random_device()() % 1'000'000;
}

auto chosen_by_hand() -> std::optional<std::vector<std::size_t>> {
  const char* const text = std::getenv("PARLEY_CHOICES");  // NOLINT(concurrency-mt-unsafe)
  if (text == nullptr) return std::nullopt;
  std::istringstream stream(text);
  std::vector<std::size_t> choices;
  for (std::size_t choice = 0; stream >> choice;) choices.push_back(choice);
  return choices;
}

}  // namespace

auto explore(const char* name, const std::function<SteppedRun()>& make, const Search& search)
    -> Found {
  Found found;
  const auto play = [&](std::vector<std::size_t> prefix, std::minstd_rand* random) {
    auto run = make();
    Stepper stepper(run, search, std::move(prefix), random);
    const bool ended = stepper.play();
    ++found.runs;
    const auto choices = as_text(stepper.choices());
    CAPTURE(choices);
    if (ended) {
      run.check();
    } else {
      found.stuck = choices;
    }
    return stepper.choices();
  };

  if (const auto by_hand = chosen_by_hand()) {
    play(*by_hand, nullptr);
  } else {
    std::optional<std::vector<std::size_t>> prefix(std::in_place);
    while (prefix && !found.stuck && found.runs < search.runs) {
      prefix = next_prefix(play(*prefix, nullptr));
    }
    found.complete = !prefix;
    const auto seed = seed_of_the_day();
    std::minstd_rand random(seed);
    const auto end = found.complete ? 0 : found.runs + search.random_runs;
    if (end != 0) std::printf("%s: PARLEY_SEED=%u\n", name, seed);
    while (!found.stuck && found.runs < end) play({}, &random);
  }
  std::printf("%s: %zu interleavings%s\n", name, found.runs, found.complete ? ", all" : "");
  if (found.stuck) std::printf("  stuck: PARLEY_CHOICES=\"%s\"\n", found.stuck->c_str());
  return found;
}

}  // namespace parley::test
