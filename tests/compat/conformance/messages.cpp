#include "messages.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "process.hpp"

namespace conformance {

Queue::Queue(int mode, key_t key) : id_(msgget(key, mode | IPC_CREAT | IPC_EXCL)) {
  REQUIRE(id_ >= 0);
}

auto Queue::send(long type, const std::string& text, int flags) const -> int {
  std::vector<char> message(sizeof(long) + text.size());
  std::memcpy(message.data(), &type, sizeof type);
  std::copy(text.begin(), text.end(), message.begin() + sizeof type);
  return error_of(msgsnd(id_, message.data(), text.size(), flags));
}

auto Queue::receive(long type, int flags, std::size_t size) const -> Received {
  std::vector<char> message(sizeof(long) + size);
  const auto length = msgrcv(id_, message.data(), size, type, flags);
  Received received{.error = error_of(length), .type = 0, .text = {}};
  if (length < 0) return received;
  std::memcpy(&received.type, message.data(), sizeof(long));
  received.text.assign(message.data() + sizeof(long), static_cast<std::size_t>(length));
  return received;
}

auto Queue::status() const -> msqid_ds {
  msqid_ds status{};
  CHECK(msgctl(id_, IPC_STAT, &status) == 0);
  return status;
}

auto Queue::set_capacity(std::size_t bytes) const -> int {
  msqid_ds status{};
  if (msgctl(id_, IPC_STAT, &status) != 0) return errno;
  status.msg_qbytes = bytes;
  return error_of(msgctl(id_, IPC_SET, &status));
}

auto message_limits() -> msginfo {
  msginfo limits{};
  CHECK(msgctl(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&limits)) >= 0);
  return limits;
}

}  // namespace conformance
