#include "tour/signals.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

namespace parley::cli {

auto Signals::block() -> Result<Signals> {
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
  auto fd = os::OwnedFd::from_number(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.is_open()) return failure(last_error());
  sigprocmask(SIG_BLOCK, &ours, &before);
  return Signals(std::move(fd), before);
}

Signals::~Signals() {
  if (fd_.is_open()) sigprocmask(SIG_SETMASK, &before_, nullptr);
}

auto Signals::taken() -> std::optional<int> {
  signalfd_siginfo info{};
  if (read(fd_.number(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace parley::cli
