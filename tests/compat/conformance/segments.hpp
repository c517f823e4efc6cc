// A System V segment that is removed with it, and an attachment that is detached with it.
#pragma once

#include <sys/ipc.h>
#include <sys/shm.h>

#include <cstddef>

#include "sysv_kinds.hpp"

namespace conformance {

class Segment {
 public:
  explicit Segment(std::size_t size, int mode = 0600, key_t key = IPC_PRIVATE);
  Segment(const Segment&) = delete;
  auto operator=(const Segment&) -> Segment& = delete;
  ~Segment() { remove(); }

  [[nodiscard]] auto id() const { return id_; }
  void remove() const { shmctl(id_, IPC_RMID, nullptr); }
  [[nodiscard]] auto status() const -> shmid_ds;

 private:
  int id_;
};

class Attachment {
 public:
  explicit Attachment(int id, int flags = 0);
  Attachment(const Attachment&) = delete;
  auto operator=(const Attachment&) -> Attachment& = delete;
  ~Attachment() { shmdt(bytes_); }
  [[nodiscard]] auto bytes() const -> char* { return bytes_; }

 private:
  char* bytes_;
};

auto shared_memory_limits() -> shminfo;

}  // namespace conformance
