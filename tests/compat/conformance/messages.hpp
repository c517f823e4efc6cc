// A System V queue that is removed with it, and its calls as they are tested.
#pragma once

#include <sys/ipc.h>
#include <sys/msg.h>

#include <string>

namespace conformance {

/// What msgrcv gave: the type and text, or only errno.
struct Received {
  int error = 0;
  long type = 0;
  std::string text;
  auto operator==(const Received&) const -> bool = default;
};

class Queue {
 public:
  explicit Queue(int mode = 0600, key_t key = IPC_PRIVATE);
  Queue(const Queue&) = delete;
  auto operator=(const Queue&) -> Queue& = delete;
  ~Queue() { remove(); }

  [[nodiscard]] auto id() const { return id_; }
  void remove() const { msgctl(id_, IPC_RMID, nullptr); }
  /// 0, or errno.
  [[nodiscard]] auto send(long type, const std::string& text, int flags = IPC_NOWAIT) const -> int;
  [[nodiscard]] auto receive(long type, int flags = IPC_NOWAIT, std::size_t size = 8192) const
      -> Received;
  [[nodiscard]] auto status() const -> msqid_ds;
  [[nodiscard]] auto set_capacity(std::size_t bytes) const -> int;

 private:
  int id_;
};

auto message_limits() -> msginfo;

}  // namespace conformance
