#include "segments.hpp"

#include <doctest/doctest.h>

#include "process.hpp"

namespace conformance {

Segment::Segment(std::size_t size, int mode, key_t key)
    : id_(shmget(key, size, mode | IPC_CREAT | IPC_EXCL)) {
  REQUIRE(id_ >= 0);
}

auto Segment::status() const -> shmid_ds {
  shmid_ds status{};
  CHECK(shmctl(id_, IPC_STAT, &status) == 0);
  return status;
}

Attachment::Attachment(int id, int flags) : bytes_(static_cast<char*>(shmat(id, nullptr, flags))) {
  REQUIRE(error_of(bytes_) == 0);
}

auto shared_memory_limits() -> shminfo {
  shminfo limits{};
  CHECK(shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&limits)) >= 0);
  return limits;
}

}  // namespace conformance
