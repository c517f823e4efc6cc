// POSIX queues and names that are gone with their handle.
#pragma once

#include <fcntl.h>
#include <mqueue.h>
#include <sys/types.h>

#include <string>

namespace conformance {

/// "/parley…", which no other process of these tests uses, and this one only once.
auto fresh_name() -> std::string;

/// A descriptor of a queue, closed with it.
class QueueDescriptor {
 public:
  explicit QueueDescriptor(mqd_t descriptor) : descriptor_(descriptor) {}
  QueueDescriptor(const QueueDescriptor&) = delete;
  auto operator=(const QueueDescriptor&) -> QueueDescriptor& = delete;
  ~QueueDescriptor() { close(); }

  [[nodiscard]] auto get() const { return descriptor_; }
  void close() {
    if (descriptor_ >= 0) mq_close(descriptor_);
    descriptor_ = -1;
  }
  /// 0, or errno.
  [[nodiscard]] auto send(const std::string& text, unsigned priority = 0) const -> int;
  /// The text, or "errno N".
  [[nodiscard]] auto receive(unsigned* priority = nullptr, std::size_t size = 64) const
      -> std::string;
  [[nodiscard]] auto messages() const -> long;
  void set_nonblocking(bool nonblocking) const;

 private:
  mqd_t descriptor_;
};

/// A queue of a name, unlinked with it: 3 messages of 16 bytes.
class NamedQueue : public QueueDescriptor {
 public:
  explicit NamedQueue(int flags = O_NONBLOCK, mode_t mode = 0600, std::string name = fresh_name());
  ~NamedQueue() { mq_unlink(name_.c_str()); }
  [[nodiscard]] auto name() const { return name_.c_str(); }
  /// errno of opening it so, or 0.
  [[nodiscard]] auto open_error(int flags) const -> int;

 private:
  std::string name_;
};

/// errno of opening a queue of that name, or 0; it is closed again.
auto queue_error(const std::string& name, int flags, mode_t mode = 0600,
                 const mq_attr* attributes = nullptr) -> int;

auto failure(int error) -> std::string;

}  // namespace conformance
