#include "signals.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

namespace parley::cli {
namespace {

struct WriteSignal {
  int signal;
  sighandler_t before;
};
constinit std::array<WriteSignal, 2> write_signals{WriteSignal{SIGPIPE, SIG_DFL},
                                                   WriteSignal{SIGXFSZ, SIG_DFL}};

constexpr std::array ending_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

auto is_ignored(int signal) -> bool {
  struct sigaction action{};
  return sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN;
}

/// For `end_at_once`, which can make none: what to say of each of `ending_signals`.
std::array<std::string, ending_signals.size()> last_words;

void end_at_once(int signal) {
  for (std::size_t i = 0; i < ending_signals.size(); ++i) {
    if (ending_signals[i] != signal) continue;
    [[maybe_unused]] const auto written =
        write(STDERR_FILENO, last_words[i].data(), last_words[i].size());
  }
  _exit(128 + signal);
}

}  // namespace

auto Signals::block(std::initializer_list<int> more) -> Result<Signals> {
  sigset_t ours{};
  sigset_t before{};
  sigemptyset(&ours);
  for (const int signal : ending_signals) {
    // One that is ignored (nohup, a job in the background) would come all the same once blocked.
    if (!is_ignored(signal)) sigaddset(&ours, signal);
  }
  for (const int signal : more) sigaddset(&ours, signal);
  auto fd = os::OwnedFd::from_number(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.is_open()) return failure(last_error());
  sigprocmask(SIG_BLOCK, &ours, &before);
  return Signals(std::move(fd), before);
}

Signals::~Signals() {
  if (fd_.is_open()) sigprocmask(SIG_SETMASK, &before_, nullptr);
}

auto Signals::take() -> std::optional<Taken> {
  signalfd_siginfo info{};
  if (read(fd_.number(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return Taken{.signal = static_cast<int>(info.ssi_signo), .by_kernel = info.ssi_code > 0};
}

auto Signals::taken() -> std::optional<int> {
  const auto signal = take();
  return signal ? std::optional(signal->signal) : std::nullopt;
}

auto Signals::taken_until(Deadline deadline) -> std::optional<int> {
  while (!deadline.has_passed()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining()).count();
    pollfd entry{.fd = fd_.number(), .events = POLLIN, .revents = 0};
    poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left, 1'000'000)));
    if (const auto signal = taken()) return signal;
  }
  return std::nullopt;
}

void end_when_interrupted(std::string_view who) {
  for (std::size_t i = 0; i < ending_signals.size(); ++i) {
    const int signal = ending_signals[i];
    last_words[i] =
        fmt::format("parley: {}: interrupted by signal {} ({})\n", who, signal, strsignal(signal));
    if (!is_ignored(signal)) std::signal(signal, end_at_once);
  }
}

void ignore_write_signals() {
  for (auto& [signal, before] : write_signals) before = std::signal(signal, SIG_IGN);
}

WriteSignalsAsBefore::WriteSignalsAsBefore() {
  for (const auto& [signal, before] : write_signals) std::signal(signal, before);
}

WriteSignalsAsBefore::~WriteSignalsAsBefore() {
  for (const auto& [signal, before] : write_signals) std::signal(signal, SIG_IGN);
}

}  // namespace parley::cli
