#include "crash/crash.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <string_view>

#include <parley/os/descriptor.hpp>

#include "support/long_run.hpp"

namespace parley::test {
namespace {

/// Beyond what a loaded machine needs for a few system calls; a lost wake-up takes for ever.
constexpr std::chrono::seconds patience{20};

using Points = std::vector<std::uint64_t>;

auto text_of(const Points& points) -> std::string {
  std::string text;
  for (const auto point : points) text += (text.empty() ? "" : ",") + std::to_string(point);
  return text;
}

auto number_from(std::string_view text) -> std::uint64_t {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  REQUIRE(error == std::errc());
  REQUIRE(end == text.data() + text.size());
  return number;
}

/// The points of PARLEY_CRASH_POINT=N or N,N; empty where it is not set.
auto chosen_points() -> Points {
  Points points;
  const char* const given = std::getenv("PARLEY_CRASH_POINT");  // NOLINT(concurrency-mt-unsafe)
  for (std::string_view rest = given == nullptr ? "" : given; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    points.push_back(number_from(rest.substr(0, comma)));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return points;
}

/// One body and what is known of it.
class Campaign {
 public:
  explicit Campaign(const std::function<void(Round&)>& body) : body_(body) {}

  /// Runs the body; for each victim whether it lived.
  auto run(const Points& points) -> std::vector<bool> {
    const auto* const test = doctest::getContextOptions()->currentTest;
    const auto repeat = "PARLEY_CRASH_POINT=" + text_of(points) + " PROGRAM -tc=\"" +
                        std::string(test->m_name) + "\"";
    INFO("to repeat: ", repeat);
    Round round(points, paths_);
    body_(round);
    std::vector<bool> lived;
    lived.reserve(points.size());
    for (std::size_t i = 0; i < points.size(); ++i) lived.push_back(round.lived(i));
    if (std::ranges::find(lived, false) != lived.end()) ++deaths_;
    return lived;
  }

  [[nodiscard]] auto steps(std::size_t victim) const -> std::uint64_t {
    return paths_.at(victim).steps;
  }

  void print(bool sampled) const {
    std::printf("killed at %zu points (%s)\n", deaths_, sampled ? "a sample" : "all");
    std::fflush(stdout);
  }

 private:
  const std::function<void(Round&)>& body_;
  std::vector<Path> paths_{2};
  std::size_t deaths_ = 0;
};

/// How many points are run; the others are left out at random.
auto allowed(const Sample& sample) -> std::size_t {
  const bool full = is_full_run();
  if (!Killer::counts_instructions()) return full ? ~std::size_t{0} : sample.of_steps;
  return full ? sample.of_instructions_in_full : sample.of_instructions;
}

}  // namespace

Victim::Victim(Round& round, const std::function<void()>& prepare,
               const std::function<void()>& operation)
    : round_(round),
      index_(round.made_++),
      killer_(index_ < round.points_.size() ? round.points_[index_] : never,
              round.paths_.at(index_)),
      peer_([&] {
        prepare();
        killer_.operate(operation);
      }) {
  killer_.await_ready(peer_.pid());
}

Victim::~Victim() {
  if (struck_) return;
  ::kill(peer_.pid(), SIGKILL);
  static_cast<void>(peer_.wait());
}

void Victim::strike() {
  struck_ = true;
  const int status = killer_.strike(peer_);
  CHECK((status == 0 || status == -SIGKILL));
  if (index_ < round_.lived_.size()) round_.lived_[index_] = status == 0;
}

Blocked::Blocked(const std::function<void()>& prepare, const std::function<void()>& operation)
    : peer_([&] {
        prepare();
        begun_.store(true);
        operation();
      }) {
  await("the peer sleeps", [&] { return begun_.load() && is_asleep(peer_.pid()); });
}

Blocked::~Blocked() {
  kill();
}

void Blocked::kill() {
  if (ended_) return;
  ended_ = true;
  ::kill(peer_.pid(), SIGKILL);
  static_cast<void>(peer_.wait());
}

void Blocked::must_finish() {
  const auto end =
      os::OwnedFd::from_number(static_cast<int>(::syscall(SYS_pidfd_open, peer_.pid(), 0)));
  pollfd ends{.fd = end.number(), .events = POLLIN, .revents = 0};
  const auto limit = std::chrono::milliseconds(patience).count();
  const bool in_time = ::poll(&ends, 1, static_cast<int>(limit)) == 1;
  CHECK_MESSAGE(in_time, "a blocked peer was not served");
  if (!in_time) return;
  ended_ = true;
  CHECK(peer_.wait() == 0);
}

void await(const char* what, const std::function<bool()>& is_so) {
  const auto limit = std::chrono::steady_clock::now() + patience;
  while (!is_so()) {
    usleep(50);
    if (std::chrono::steady_clock::now() > limit) FAIL("waited in vain: ", std::string(what));
  }
}

void crash_at_each_step(const std::function<void(Round&)>& body, const Sample& sample) {
  Campaign campaign(body);
  campaign.run({never});
  const auto steps = campaign.steps(0);
  REQUIRE(steps > 0);
  if (const auto points = chosen_points(); !points.empty()) {
    campaign.run(points);
    return;
  }
  const bool sampled = steps > allowed(sample);
  if (sampled) {
    std::vector<std::uint64_t> all(steps);
    std::iota(all.begin(), all.end(), 1);
    std::vector<std::uint64_t> some;
    std::mt19937_64 random(seed());
    std::ranges::sample(all, std::back_inserter(some), static_cast<std::ptrdiff_t>(allowed(sample)),
                        random);
    for (const auto point : some) campaign.run({point});
  } else {
    // One run may take more steps than another.
    for (std::uint64_t point = 1; !campaign.run({point})[0] || point < steps; ++point) {
    }
  }
  campaign.print(sampled);
}

void crash_at_each_pair(const std::function<void(Round&)>& body, const Sample& sample) {
  Campaign campaign(body);
  campaign.run({never, never});
  const auto firsts = campaign.steps(0);
  if (const auto points = chosen_points(); !points.empty()) {
    if (Killer::counts_instructions()) campaign.run({points.at(0), never});
    campaign.run(points);
    return;
  }
  const auto allowed_points = allowed(sample);
  std::vector<std::uint64_t> order(firsts);
  std::iota(order.begin(), order.end(), 1);
  const bool sampled = allowed_points != ~std::size_t{0};
  std::mt19937_64 random(sampled ? seed() : 0);
  // Of a sample, some steps of the second for each of some steps of the first.
  constexpr std::size_t seconds_at_once = 10;
  if (sampled) std::ranges::shuffle(order, random);
  std::size_t done = 0;
  for (const auto first : order) {
    if (done >= allowed_points) break;
    campaign.run({first, never});
    const auto seconds = campaign.steps(1);
    const auto count = sampled ? std::min<std::uint64_t>(seconds, seconds_at_once) : seconds;
    for (std::uint64_t i = 1; i <= count; ++i, ++done) {
      campaign.run({first, sampled ? random() % seconds + 1 : i});
    }
  }
  campaign.print(sampled);
}

}  // namespace parley::test
