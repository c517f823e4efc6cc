// Names of this process's own, and other processes beside the assertions.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>

namespace posix_test {

/// errno of a call that failed with -1, else 0.
inline auto error_of(long result) -> int {
  return result == -1 ? errno : 0;
}

inline auto own_name() -> std::string {
  return "/parley-posix-test-" + std::to_string(getpid());
}

/// A child that says by its exit status whether the body returned true.
inline auto in_child(const std::function<bool()>& body) -> pid_t {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(body() ? 0 : 1);
  return child;
}

inline auto succeeded(pid_t child) -> bool {
  int status = -1;
  return waitpid(child, &status, 0) == child && status == 0;
}

/// Whether its first thread sleeps, and goes on sleeping.
auto sleeps(pid_t child) -> bool;

constexpr long message_bytes = 16;
constexpr long messages = 3;

/// A new queue of few short messages, whose name is gone again at its end.
class Queue {
 public:
  explicit Queue(int flags = O_RDWR, mode_t mode = 0600) : name_(own_name()) {
    mq_attr attributes{};
    attributes.mq_maxmsg = messages;
    attributes.mq_msgsize = message_bytes;
    number_ = mq_open(name_.c_str(), flags | O_CREAT | O_EXCL, mode, &attributes);
    REQUIRE(number_ >= 0);
  }
  Queue(const Queue&) = delete;
  auto operator=(const Queue&) -> Queue& = delete;
  ~Queue() {
    mq_unlink(name_.c_str());
    mq_close(number_);
  }

  [[nodiscard]] auto number() const -> mqd_t { return number_; }
  [[nodiscard]] auto name() const -> const char* { return name_.c_str(); }

 private:
  std::string name_;
  mqd_t number_ = -1;
};

/// 0, or errno.
inline auto send(mqd_t queue, const std::string& text, unsigned priority = 0) -> int {
  return error_of(mq_send(queue, text.data(), text.size(), priority));
}

/// The message, with its priority behind it; or the error's number.
inline auto receive(mqd_t queue) -> std::string {
  char text[message_bytes];
  unsigned priority = 0;
  const auto size = mq_receive(queue, text, sizeof text, &priority);
  if (size < 0) return std::to_string(errno);
  return std::string(text, static_cast<std::size_t>(size)) + ":" + std::to_string(priority);
}

}  // namespace posix_test
