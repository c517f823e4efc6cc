#include "signals.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

namespace parley::cli {
namespace {

struct WriteSignal {
  int signal;
  sighandler_t before;
};
constinit std::array<WriteSignal, 2> write_signals{WriteSignal{SIGPIPE, SIG_DFL},
                                                   WriteSignal{SIGXFSZ, SIG_DFL}};

}  // namespace

auto Signals::block(std::initializer_list<int> more) -> Result<Signals> {
  sigset_t ours{};
  sigset_t before{};
  sigemptyset(&ours);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    struct sigaction action{};
    // One that is ignored (nohup, a job in the background) would come all the same once blocked.
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
      sigaddset(&ours, signal);
    }
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
