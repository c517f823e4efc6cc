#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "process.hpp"
#include "segments.hpp"

namespace {

using conformance::as;
using conformance::Attachment;
using conformance::Child;
using conformance::error_of;
using conformance::fresh_key;
using conformance::nobody;
using conformance::Segment;
using conformance::shared_memory_limits;

const auto page_size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

auto attach_error(int id, const void* address, int flags) -> int {
  auto* const at = shmat(id, address, flags);
  if (error_of(at) != 0) return errno;
  shmdt(at);
  return 0;
}

// Room that is reserved and free again: an address where a segment fits.
auto free_address(std::size_t size) -> char* {
  auto* const at = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(at, size);
  return static_cast<char*>(at);
}

}  // namespace

TEST_CASE("4.1 a new segment of size 0 or over SHMMAX is EINVAL") {
  CHECK(error_of(shmget(IPC_PRIVATE, 0, 0600)) == EINVAL);
  CHECK(error_of(shmget(fresh_key(), 0, 0600 | IPC_CREAT)) == EINVAL);
  CHECK(error_of(shmget(IPC_PRIVATE, shared_memory_limits().shmmax + 1, 0600)) == EINVAL);
}

TEST_CASE("4.1 the size is kept as asked, and memory is whole pages of zeros") {
  const Segment segment(page_size + 1);
  CHECK(segment.status().shm_segsz == page_size + 1);
  const Attachment at(segment.id());
  for (std::size_t index = 0; index < 2 * page_size; ++index) REQUIRE(at.bytes()[index] == 0);
  at.bytes()[2 * page_size - 1] = 1;
}

TEST_CASE("4.1 SHM_NORESERVE is accepted") {
  const auto id = shmget(IPC_PRIVATE, 5000, 0600 | SHM_NORESERVE);
  REQUIRE(id >= 0);
  CHECK(attach_error(id, nullptr, 0) == 0);
  CHECK(shmctl(id, IPC_RMID, nullptr) == 0);
}

TEST_CASE("4.2 address 0 lets the system choose, and all see the same memory") {
  const Segment segment(5000);
  const Attachment first(segment.id());
  const Attachment second(segment.id());
  CHECK(first.bytes() != second.bytes());
  CHECK(reinterpret_cast<std::uintptr_t>(first.bytes()) % page_size == 0);
  first.bytes()[4999] = 7;
  CHECK(second.bytes()[4999] == 7);
  CHECK(segment.status().shm_nattch == 2);
  Child child([&] { return Attachment(segment.id()).bytes()[4999]; });
  CHECK(child.result() == 7);
}

TEST_CASE("4.2 an address that is free is taken") {
  const Segment segment(5000);
  auto* const at = free_address(2 * page_size);
  CHECK(shmat(segment.id(), at, 0) == at);
  CHECK(attach_error(segment.id(), at, 0) == EINVAL);  // not free any more
  CHECK(shmdt(at) == 0);
}

TEST_CASE("4.2 an address that is no multiple of SHMLBA is EINVAL, or rounded with SHM_RND") {
  const Segment segment(5000);
  auto* const at = free_address(2 * page_size);
  CHECK(attach_error(segment.id(), at + 1, 0) == EINVAL);
  CHECK(attach_error(segment.id(), at + page_size - 1, 0) == EINVAL);
  CHECK(shmat(segment.id(), at + page_size - 1, SHM_RND) == at);
  CHECK(segment.status().shm_nattch == 1);
  CHECK(shmdt(at) == 0);
}

TEST_CASE("4.2 SHM_REMAP replaces a mapping, and needs an address") {
  const Segment segment(5000);
  auto* const place =
      mmap(nullptr, 2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memset(place, 5, 2 * page_size);
  CHECK(attach_error(segment.id(), place, 0) == EINVAL);
  CHECK(attach_error(segment.id(), nullptr, SHM_REMAP) == EINVAL);
  CHECK(shmat(segment.id(), place, SHM_REMAP) == place);
  CHECK(*static_cast<char*>(place) == 0);
  CHECK(shmdt(place) == 0);
}

TEST_CASE("4.2 SHM_REMAP over an attachment detaches that") {
  const Segment first(5000);
  const Segment second(5000);
  auto* const at = shmat(first.id(), nullptr, 0);
  CHECK(shmat(second.id(), at, SHM_REMAP) == at);
  CHECK(first.status().shm_nattch == 0);
  CHECK(second.status().shm_nattch == 1);
  CHECK(shmdt(at) == 0);
  CHECK(error_of(shmdt(at)) == EINVAL);
}

TEST_CASE("4.2 SHM_RDONLY cannot be written") {
  const Segment segment(5000);
  Child child([&]() -> long {
    const Attachment at(segment.id(), SHM_RDONLY);
    CHECK(at.bytes()[0] == 0);
    return mprotect(at.bytes(), page_size, PROT_READ | PROT_WRITE) == 0 ? 0 : errno;
  });
  CHECK(child.result() == EACCES);
  Child writes([&]() -> long {
    signal(SIGSEGV, SIG_DFL);
    Attachment(segment.id(), SHM_RDONLY).bytes()[0] = 1;
    return 0;
  });
  CHECK(writes.hear() == -1);  // it died
  writes.wait();
  CHECK(Attachment(segment.id()).bytes()[0] == 0);
}

TEST_CASE("4.2 SHM_EXEC may be executed") {
  const Segment segment(5000, 0700);
  const Attachment at(segment.id(), SHM_EXEC);
  at.bytes()[0] = static_cast<char>(0xc3);
  CHECK(mprotect(at.bytes(), page_size, PROT_READ | PROT_EXEC) == 0);
}

TEST_CASE("4.2 a bad id and a removed segment are EINVAL") {
  CHECK(attach_error(-1, nullptr, 0) == EINVAL);
  const Segment segment(5000);
  segment.remove();
  CHECK(attach_error(segment.id(), nullptr, 0) == EINVAL);
}

TEST_CASE("4.2 shmdt of what is no attachment's start is EINVAL") {
  const Segment segment(2 * page_size);
  const Attachment at(segment.id());
  CHECK(error_of(shmdt(at.bytes() + page_size)) == EINVAL);
  CHECK(error_of(shmdt(at.bytes() + 1)) == EINVAL);
  CHECK(error_of(shmdt(nullptr)) == EINVAL);
  auto* const other = mmap(nullptr, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(error_of(shmdt(other)) == EINVAL);
  CHECK(munmap(other, page_size) == 0);
  CHECK(segment.status().shm_nattch == 1);
}

TEST_CASE("4.2 attaching needs read, to write also write, and to execute execute") {
  if (conformance::skipped_without_root()) return;
  const auto error = [](int mode, int flags) {
    const Segment segment(5000, mode);
    return as(nobody, [&] { return attach_error(segment.id(), nullptr, flags); });
  };
  CHECK(error(0604, SHM_RDONLY) == 0);
  CHECK(error(0604, 0) == EACCES);
  CHECK(error(0606, 0) == 0);
  CHECK(error(0602, 0) == EACCES);
  CHECK(error(0602, SHM_RDONLY) == EACCES);
  CHECK(error(0604, SHM_RDONLY | SHM_EXEC) == EACCES);
  CHECK(error(0605, SHM_RDONLY | SHM_EXEC) == 0);
}

TEST_CASE("4.3 removal marks a segment, which goes with the last detachment") {
  const auto key = fresh_key();
  const Segment segment(5000, 0640, key);
  auto* const at = shmat(segment.id(), nullptr, 0);
  CHECK(shmctl(segment.id(), IPC_RMID, nullptr) == 0);
  const auto status = segment.status();
  CHECK(status.shm_perm.mode == (0640 | SHM_DEST));
  CHECK(status.shm_perm.__key == IPC_PRIVATE);
  CHECK(error_of(shmget(key, 0, 0)) == ENOENT);
  static_cast<char*>(at)[0] = 3;
  CHECK(shmctl(segment.id(), IPC_RMID, nullptr) == 0);  // once more
  CHECK(shmdt(at) == 0);
  shmid_ds gone{};
  CHECK(error_of(shmctl(segment.id(), IPC_STAT, &gone)) == EINVAL);
}

TEST_CASE("4.3 a marked segment can be attached by its id") {
  const Segment segment(5000);
  auto* const first = shmat(segment.id(), nullptr, 0);
  static_cast<char*>(first)[9] = 4;
  CHECK(shmctl(segment.id(), IPC_RMID, nullptr) == 0);
  auto* const second = static_cast<char*>(shmat(segment.id(), nullptr, 0));
  REQUIRE(error_of(static_cast<void*>(second)) == 0);
  CHECK(shmdt(first) == 0);
  CHECK(second[9] == 4);
  CHECK(segment.status().shm_nattch == 1);
  CHECK(shmdt(second) == 0);
  CHECK(attach_error(segment.id(), nullptr, 0) == EINVAL);
}

TEST_CASE("4.3 a marked segment goes with the death of who had attached it") {
  const Segment segment(5000);
  Child child([&](conformance::Link link) -> long {
    link.tell(error_of(shmat(segment.id(), nullptr, 0)));
    return link.hear();
  });
  CHECK(child.hear() == 0);
  segment.remove();
  CHECK(segment.status().shm_nattch == 1);
  child.kill();
  shmid_ds gone{};
  CHECK(conformance::becomes_true(
      [&] { return error_of(shmctl(segment.id(), IPC_STAT, &gone)) == EINVAL; }));
}
