#include <parley/os/features.hpp>

#include <sys/prctl.h>
#include <csignal>

#include <algorithm>
#include <chrono>
#include <type_traits>

#include <parley/os/pipe.hpp>

#include "os/features/probe.hpp"

namespace parley::os {
namespace {

using probe::Entry;
using probe::Fact;

constexpr std::chrono::seconds answer_within{5};

/// What the child of a probe answers.
struct Answer {
  Fact fact;
  int error = 0;  ///< Of the attempt; 0 for none.
};
static_assert(std::is_trivially_copyable_v<Answer>);

/// Whether the error is about this moment and not about the feature.
auto tells_nothing(Error error) -> bool {
  for (const int passing : {EMFILE, ENFILE, ENOMEM, EAGAIN, EINTR, EIO, ETIMEDOUT}) {
    if (error == Error{passing}) return true;
  }
  return false;
}

/// An error as a finding. A limit that others have used up is not a feature that is missing.
auto presence_after(Error error) -> Presence {
  if (tells_nothing(error)) return Presence::unknown;
  return error == Error::no_space ? Presence::limited : Presence::missing;
}

[[noreturn]] void answer_and_end(const Entry& entry, PipeWriter& writer) {
  // Killed by a filter, it is not to leave a core file, nor to run a handler of the program.
  sys::release<::prctl>(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
  sys::release<::prctl>(PR_SET_PDEATHSIG, static_cast<unsigned long>(SIGKILL), 0UL, 0UL, 0UL);
  struct sigaction by_default{};
  by_default.sa_handler = SIG_DFL;
  sys::release<::sigaction>(SIGSYS, &by_default, nullptr);
  Answer answer;
  if (const auto fact = entry.probe()) {
    answer.fact = *fact;
  } else {
    answer.error = static_cast<int>(fact.error());
    answer.fact.presence = presence_after(fact.error());
  }
  const auto told =
      writer.write(std::as_bytes(std::span(&answer, 1)), Deadline::after(answer_within));
  sys::release<::_exit>(told ? 0 : 1);
  __builtin_unreachable();
}

/// How a child ended that did not answer.
auto answer_of_dead(int status) -> Answer {
  if (!WIFSIGNALED(status)) return {.fact = probe::told(Presence::unknown, "no answer")};
  const int signal = WTERMSIG(status);
  const auto presence = signal == SIGSYS ? Presence::missing : Presence::unknown;
  return {.fact = probe::told(presence, "the attempt was killed by signal %d", signal)};
}

auto ask(const Entry& entry) -> Result<Answer> {
  auto pipe = PARLEY_TRY(Pipe::create());
  const pid_t child = PARLEY_TRY(probe::fork_quietly());
  if (child == 0) answer_and_end(entry, pipe.writer);
  static_cast<void>(std::move(pipe.writer).into_fd());
  Answer answer;
  const auto count = pipe.reader.read_all(std::as_writable_bytes(std::span(&answer, 1)),
                                          Deadline::after(answer_within));
  if (!count) sys::release<::kill>(child, SIGKILL);
  const auto status = probe::end_of(child);
  if (!status) sys::release<::waitpid>(child, nullptr, __WALL);
  if (!count) return failure(count.error());
  if (!status) return failure(status.error());
  return *count == sizeof answer ? answer : answer_of_dead(*status);
}

auto examine(const Entry& entry) -> Feature {
  Feature feature{.group = entry.group,
                  .name = entry.name,
                  .is_needed = entry.is_needed,
                  .unit = entry.unit,
                  .used_for = entry.used_for,
                  .without = entry.without};
  const auto answer = ask(entry);
  if (!answer) {
    feature.error = answer.error();
    return feature;
  }
  feature.presence = answer->fact.presence;
  if (answer->fact.has_value) feature.value = answer->fact.value;
  feature.detail = answer->fact.detail.data();
  if (answer->error != 0) feature.error = Error{answer->error};
  return feature;
}

}  // namespace

auto probe_features() -> std::vector<Feature> {
  std::vector<Feature> features;
  for (const Entry& entry : probe::entries()) features.push_back(examine(entry));
  return features;
}

auto has_all_needed(const std::vector<Feature>& features) -> bool {
  return std::ranges::all_of(
      features, [](const Feature& feature) { return !feature.is_needed || is_usable(feature); });
}

}  // namespace parley::os
