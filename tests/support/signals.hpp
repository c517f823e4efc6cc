// Puts the signal mask and the actions of the real-time signals back when a test ends.
#pragma once

#include <pthread.h>
#include <csignal>

#include <vector>

namespace parley::test {

class SignalsRestored {
 public:
  SignalsRestored() {
    pthread_sigmask(SIG_BLOCK, nullptr, &mask_);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
      sigaction(signal, nullptr, &actions_.emplace_back());
    }
  }
  SignalsRestored(const SignalsRestored&) = delete;
  auto operator=(const SignalsRestored&) -> SignalsRestored& = delete;
  ~SignalsRestored() {
    int signal = SIGRTMIN;
    for (const auto& action : actions_) sigaction(signal++, &action, nullptr);
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }

 private:
  sigset_t mask_{};
  std::vector<struct sigaction> actions_;
};

}  // namespace parley::test
