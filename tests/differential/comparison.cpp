#include "differential/comparison.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace parley::test {
namespace {

using namespace std::chrono_literals;

std::size_t steps_compared = 0;

/// Where Parley's contract differs on purpose: what the kernel says of a call in Parley's words.
///
///   the kernel's set                        Parley's
///   EINVAL once it is removed               `removed`: it is not an unknown one
///   then says nothing of the arguments      looks at the arguments first
///   first values are set in a second call   noted as nobody's: so they are set once more
///   notes a time when a process ends that   notes one where something is undone
///     has tried undo, whatever came of it
///   a call that waits for several zeros is  counts where it stands now; so where one waits
///     counted where it stood when a value     only the number of all that wait is compared
///     last became 0, and only then refused    is refused at once: so such calls have no
///     for a `no_wait`                         `no_wait`
auto translate(int kernel_error, int our_error, bool removed) -> int {
  constexpr std::array about_arguments{EINVAL, E2BIG, EFBIG, ERANGE};
  if (!removed || kernel_error != EINVAL) return kernel_error;
  return std::ranges::find(about_arguments, our_error) != about_arguments.end() ? our_error : EIDRM;
}

auto our_options(bool undo) -> SemaphoreSetOptions {
  SemaphoreSetOptions options;
  options.participants = 16;
  options.operations = SemaphoreSet::operations_at_most;  // as SEMOPM
  options.waiters = 16;
  options.undo = undo;
  return options;
}

auto kernel_set(const std::vector<std::uint16_t>& values) -> os::sysv::SemaphoreSet {
  return os::sysv::SemaphoreSet::create(os::sysv::Key::private_key(), values).value();
}

template <class T>
auto text_of(const Result<T>& result) -> std::string {
  if (!result) return message(result.error());
  if constexpr (requires { result->begin(); }) {
    std::string text;
    for (const auto each : *result) text += " " + std::to_string(each);
    return text;
  } else {
    return std::to_string(*result);
  }
}

}  // namespace

auto waits_for_several_zeros(const Command& command) -> bool {
  const auto operations = std::span(command.operations).first(command.count);
  return command.count > 1 &&
         std::ranges::all_of(operations, [](const auto& each) { return each.delta == 0; });
}

auto Comparison::steps() -> std::size_t {
  return steps_compared;
}

Comparison::Comparison(const TempDir& directory, Participants& participants,
                       const std::vector<std::uint16_t>& values, bool undo)
    : participants_(participants),
      path_(directory / "set"),
      kernel_set_(kernel_set(values)),
      our_set_(SemaphoreSet::create(path_, values, our_options(undo)).value()),
      blocked_(participants.size()),
      waits_for_several_zeros_(participants.size()),
      times_are_noted_(undo || values.size() > 1) {
  std::string text = undo ? "values" : "without undo, values";
  for (const auto value : values) text += " " + std::to_string(value);
  history_.push_back(text);
  // The kernel's first values are set in a call of their own, which is noted as the last process's.
  REQUIRE(our_set_.set_values(values));
  for (std::size_t who = 0; who < participants.size(); ++who) attach(who);
}

Comparison::~Comparison() {
  static_cast<void>(kernel_set_.remove());
  static_cast<void>(our_set_.remove());
  static_cast<void>(SemaphoreSet::unlink(path_));
  for (auto& participant : participants_) {
    if (differs_) participant->end();
  }
  if (differs_) return;
  for (const auto world : both_worlds) {
    for (std::size_t who = 0; who < participants_.size(); ++who) {
      while (blocked_[who] && !participants_[who]->answer(world)) sched_yield();
    }
  }
}

void Comparison::attach(std::size_t who) {
  Command command{.verb = Verb::attach, .id = kernel_set_.id()};
  std::strncpy(command.path.data(), path_.c_str(), command.path.size() - 1);
  for (const auto world : both_worlds) {
    participants_[who]->tell(world, command);
    std::optional<int> answer;
    while (!(answer = participants_[who]->answer(world))) sched_yield();
    REQUIRE(*answer == 0);
  }
}

void Comparison::tell(World world, std::size_t who, const Command& command, Answers& answers) {
  if (who != conductor) return participants_[who]->tell(world, command);
  const auto result =
      world == World::kernel ? perform(kernel_set_, command) : perform(our_set_, command);
  answers.back() = result ? 0 : static_cast<int>(result.error());
}

auto Comparison::sleepers(World world) -> std::size_t {
  if (world == World::parley) {
    const auto status = our_set_.status();
    return status ? status->waiting : 0;
  }
  std::size_t asleep = 0;
  for (std::uint16_t i = 0; i < count(); ++i) {
    asleep += kernel_set_.waiting_for_increase(i).value_or(0);
    asleep += kernel_set_.waiting_for_zero(i).value_or(0);
  }
  return asleep;
}

void Comparison::settle(World world, Answers& answers, const Answers* expected) {
  const auto end = Deadline::after(10s);
  // The sleepers are not counted at one moment; but a step changes them at one moment, so of two
  // counts in a row one is right.
  for (int counts = 0; counts < 2;) {
    std::size_t outstanding = 0;
    bool has_expected = !hasty_ || answers[*hasty_];
    for (std::size_t who = 0; who < participants_.size(); ++who) {
      if (!blocked_[who]) continue;
      if (!answers[who]) answers[who] = participants_[who]->answer(world);
      if (answers[who]) continue;
      ++outstanding;
      // Nobody asks Parley's set for anything before those have ended whom the kernel's let go: to
      // ask is to serve.
      if (expected != nullptr && (*expected)[who]) has_expected = false;
    }
    counts = has_expected && outstanding == sleepers(world) ? counts + 1 : 0;
    if (counts != 0) continue;
    if (end.has_passed()) {
      differ(std::string(world == World::kernel ? "kernel" : "parley") +
             " is not at rest: answers" + told(answers) +
             (expected != nullptr ? ", the kernel's" + told(*expected) : "") + ", asleep " +
             std::to_string(sleepers(world)));
    }
    sched_yield();
  }
}

void Comparison::step(std::size_t who, const Command& command) {
  history_.push_back((who == conductor ? "conductor" : "p" + std::to_string(who)) + " " +
                     to_text(command));
  if (who != conductor) blocked_[who] = true;
  if (who != conductor && command.patience == Patience::brief) hasty_ = who;
  if (who != conductor) waits_for_several_zeros_[who] = waits_for_several_zeros(command);
  Answers kernel(participants_.size() + 1);
  Answers ours(participants_.size() + 1);
  tell(World::kernel, who, command, kernel);
  settle(World::kernel, kernel, nullptr);
  tell(World::parley, who, command, ours);
  settle(World::parley, ours, &kernel);
  compare(kernel, ours);
  hasty_.reset();
}

void Comparison::replace(std::size_t who, std::optional<Verb> how) {
  auto& participant = participants_[who];
  history_.push_back("p" + std::to_string(who) + " " + (how ? to_text({.verb = *how}) : "killed"));
  if (how) {
    participant->tell(World::parley, {.verb = *how});
    participant->wait();
  } else {
    participant->end();
  }
  blocked_[who] = false;
  somebody_ended_ = true;
  Answers kernel(participants_.size() + 1);
  Answers ours(participants_.size() + 1);
  settle(World::kernel, kernel, nullptr);
  settle(World::parley, ours, &kernel);
  compare(kernel, ours);
  participant = std::make_unique<Participant>();
  attach(who);
}

void Comparison::compare(const Answers& kernel, const Answers& ours) {
  auto expected = kernel;
  for (std::size_t who = 0; who < expected.size(); ++who) {
    if (expected[who]) expected[who] = translate(*expected[who], ours[who].value_or(0), removed_);
  }
  if (expected != ours) {
    differ("kernel" + told(expected) + ", parley" + told(ours));
  }
  for (std::size_t who = 0; who < participants_.size(); ++who) {
    if (ours[who]) blocked_[who] = false;
  }
  removed_ = !kernel_set_.value(0);
  compare_state();
  ++steps_compared;
}

void Comparison::compare_state() {
  const auto same = [&](const char* what, const auto& kernel, const auto& ours) {
    using Kernel = std::remove_cvref_t<decltype(kernel)>;
    auto translated = kernel;
    if (!kernel) {
      const auto error = translate(static_cast<int>(kernel.error()), 0, removed_);
      translated = Kernel(failure(static_cast<Error>(error)));
    }
    if (translated != ours) {
      differ(std::string(what) + ": kernel " + text_of(translated) + ", parley " + text_of(ours));
    }
  };
  bool counts_are_of_now = true;
  for (std::size_t who = 0; who < participants_.size(); ++who) {
    if (blocked_[who] && waits_for_several_zeros_[who]) counts_are_of_now = false;
  }
  same("values", kernel_set_.values(), our_set_.values());
  for (std::uint16_t i = 0; i < count(); ++i) {
    const auto at = " of [" + std::to_string(i) + "]";
    same(("value" + at).c_str(), kernel_set_.value(i), our_set_.value(i));
    same(("last process" + at).c_str(), kernel_set_.last_process(i), our_set_.last_process(i));
    if (!counts_are_of_now) continue;
    same(("calls that wait for increase" + at).c_str(), kernel_set_.waiting_for_increase(i),
         our_set_.waiting_for_increase(i));
    same(("calls that wait for zero" + at).c_str(), kernel_set_.waiting_for_zero(i),
         our_set_.waiting_for_zero(i));
  }
  const auto kernel = kernel_set_.status();
  const auto ours = our_set_.status();
  // The kernel notes a time also when a process ends that has tried undo, though nothing is undone.
  if (times_are_noted_ && !somebody_ended_ && kernel && ours &&
      kernel->last_operation.has_value() != ours->last_operation.has_value()) {
    differ(std::string("last operation: parley ") + (ours->last_operation ? "knows one" : "none"));
  }
}

auto Comparison::told(const Answers& answers) const -> std::string {
  std::string text;
  for (std::size_t who = 0; who < answers.size(); ++who) {
    if (!answers[who]) continue;
    text += who < participants_.size() ? " p" + std::to_string(who) + ": " : " conductor: ";
    text += *answers[who] == 0 ? "done" : message(static_cast<Error>(*answers[who]));
  }
  return text.empty() ? " (none)" : text;
}

void Comparison::differ(const std::string& what) {
  differs_ = true;
  std::string text;
  for (const auto& line : history_) text += "  " + line + "\n";
  text += "  -> " + what;
  FAIL(text);
  std::abort();
}

}  // namespace parley::test
