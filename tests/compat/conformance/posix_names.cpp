#include "posix_names.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <utility>

#include "process.hpp"

namespace conformance {

auto fresh_name() -> std::string {
  static int count;
  return "/parley-conformance-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

auto QueueDescriptor::send(const std::string& text, unsigned priority) const -> int {
  return error_of(mq_send(descriptor_, text.data(), text.size(), priority));
}

auto QueueDescriptor::receive(unsigned* priority, std::size_t size) const -> std::string {
  std::string into(size, '\0');
  const auto length = mq_receive(descriptor_, into.data(), size, priority);
  return length < 0 ? failure(errno) : into.substr(0, static_cast<std::size_t>(length));
}

auto QueueDescriptor::messages() const -> long {
  mq_attr attributes{};
  CHECK(mq_getattr(descriptor_, &attributes) == 0);
  return attributes.mq_curmsgs;
}

void QueueDescriptor::set_nonblocking(bool nonblocking) const {
  mq_attr attributes{};
  attributes.mq_flags = nonblocking ? O_NONBLOCK : 0;
  CHECK(mq_setattr(descriptor_, &attributes, nullptr) == 0);
}

NamedQueue::NamedQueue(int flags, mode_t mode, std::string name)
    : QueueDescriptor([&] {
        mq_attr attributes{};
        attributes.mq_maxmsg = 3;
        attributes.mq_msgsize = 16;
        return mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | flags, mode, &attributes);
      }()),
      name_(std::move(name)) {
  REQUIRE(get() >= 0);
}

auto NamedQueue::open_error(int flags) const -> int {
  return queue_error(name_, flags);
}

auto queue_error(const std::string& name, int flags, mode_t mode, const mq_attr* attributes)
    -> int {
  const auto descriptor = mq_open(name.c_str(), flags, mode, attributes);
  if (descriptor < 0) return errno;
  mq_close(descriptor);
  if ((flags & O_CREAT) != 0) mq_unlink(name.c_str());
  return 0;
}

auto failure(int error) -> std::string {
  return "errno " + std::to_string(error);
}

}  // namespace conformance
