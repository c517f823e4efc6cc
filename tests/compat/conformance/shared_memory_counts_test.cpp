#include <doctest/doctest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "process.hpp"
#include "segments.hpp"

namespace {

using conformance::Attachment;
using conformance::becomes_true;
using conformance::Child;
using conformance::error_of;
using conformance::index_of;
using conformance::is_since;
using conformance::Link;
using conformance::nobody;
using conformance::now_seconds;
using conformance::Segment;
using conformance::shared_memory_limits;

auto attached(const Segment& segment, unsigned long count) -> bool {
  return becomes_true([&] { return segment.status().shm_nattch == count; });
}

// Says that it is there, and ends when it is told to.
const conformance::Role is_there("is_there", [](const std::vector<long>& numbers) {
  const Link link(static_cast<int>(numbers.at(0)));
  link.tell(1);
  return static_cast<int>(link.hear());
});

}  // namespace

TEST_CASE("4.4 processes, times and counts follow the attachments") {
  const auto before = now_seconds();
  const Segment segment(5000);
  auto status = segment.status();
  CHECK(status.shm_segsz == 5000);
  CHECK(status.shm_cpid == getpid());
  CHECK(status.shm_lpid == 0);
  CHECK(status.shm_nattch == 0);
  CHECK(status.shm_atime == 0);
  CHECK(status.shm_dtime == 0);
  CHECK(is_since(before, status.shm_ctime));
  Child child([&](Link link) -> long {
    auto* const at = shmat(segment.id(), nullptr, 0);
    link.tell(0);
    link.hear();
    return error_of(shmdt(at));
  });
  const auto pid = child.pid();
  CHECK(child.hear() == 0);
  status = segment.status();
  CHECK(status.shm_nattch == 1);
  CHECK(status.shm_lpid == pid);
  CHECK(status.shm_cpid == getpid());
  CHECK(is_since(before, status.shm_atime));
  CHECK(status.shm_dtime == 0);
  {
    const Attachment at(segment.id());
    CHECK(segment.status().shm_lpid == getpid());
    CHECK(segment.status().shm_nattch == 2);
  }
  CHECK(is_since(before, segment.status().shm_dtime));
  child.tell(0);
  CHECK(child.result() == 0);
  CHECK(segment.status().shm_lpid == pid);
  CHECK(segment.status().shm_nattch == 0);
}

TEST_CASE("4.4 attaching sets the attachment's time alone, detaching its own") {
  const Segment segment(5000);
  const auto made = segment.status().shm_ctime;
  conformance::wait_past(made);
  auto* const at = shmat(segment.id(), nullptr, 0);
  const auto attached_at = segment.status().shm_atime;
  CHECK(attached_at > made);
  conformance::wait_past(attached_at);
  CHECK(shmdt(at) == 0);
  const auto status = segment.status();
  CHECK(status.shm_dtime > attached_at);
  CHECK(status.shm_atime == attached_at);
  CHECK(status.shm_ctime == made);
}

TEST_CASE("4.4 what fails to attach counts nothing") {
  const Segment segment(5000);
  CHECK(error_of(shmat(segment.id(), reinterpret_cast<void*>(1), 0)) == EINVAL);
  CHECK(segment.status().shm_nattch == 0);
  CHECK(segment.status().shm_atime == 0);
}

TEST_CASE("4.5 IPC_INFO tells the limits, SHM_INFO what is used") {
  const Segment segment(5000);
  const Attachment at(segment.id());
  at.bytes()[0] = 1;
  const auto limits = shared_memory_limits();
  CHECK(limits.shmmin == 1);
  CHECK(limits.shmmni > 0);
  CHECK(limits.shmmax > 0);
  CHECK(limits.shmall > 0);
  shm_info used{};
  CHECK(shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&used)) >= index_of(segment.id()));
  CHECK(used.used_ids >= 1);
  CHECK(used.shm_tot >= 2);
  CHECK(used.shm_rss >= 1);
}

TEST_CASE("4.5 SHM_STAT and SHM_STAT_ANY tell what IPC_STAT does") {
  const Segment segment(5000);
  const Attachment at(segment.id());
  for (const int command : {SHM_STAT, SHM_STAT_ANY}) {
    shmid_ds status{};
    CHECK(shmctl(index_of(segment.id()), command, &status) == segment.id());
    CHECK(status.shm_segsz == 5000);
    CHECK(status.shm_nattch == 1);
    CHECK(status.shm_cpid == getpid());
    CHECK(status.shm_atime == segment.status().shm_atime);
  }
}

TEST_CASE("4.5 SHM_LOCK marks a segment as locked until SHM_UNLOCK") {
  if (conformance::skipped_without_root()) return;
  const Segment segment(5000);
  CHECK(shmctl(segment.id(), SHM_LOCK, nullptr) == 0);
  CHECK(segment.status().shm_perm.mode == (0600 | SHM_LOCKED));
  CHECK(shmctl(segment.id(), SHM_UNLOCK, nullptr) == 0);
  CHECK(segment.status().shm_perm.mode == 0600);
  CHECK(error_of(shmctl(-1, SHM_LOCK, nullptr)) == EINVAL);
}

TEST_CASE("4.5 SHM_LOCK and SHM_UNLOCK of another's segment are EPERM") {
  if (conformance::skipped_without_root()) return;
  const Segment segment(5000, 0666);
  for (const int command : {SHM_LOCK, SHM_UNLOCK}) {
    CHECK(conformance::as(
              nobody, [&] { return error_of(shmctl(segment.id(), command, nullptr)); }) == EPERM);
  }
}

TEST_CASE("4.5 IPC_SET of a marked segment keeps the mark") {
  const Segment segment(5000);
  const Attachment at(segment.id());
  segment.remove();
  auto status = segment.status();
  status.shm_perm.mode = 0640;
  CHECK(shmctl(segment.id(), IPC_SET, &status) == 0);
  CHECK(segment.status().shm_perm.mode == (0640 | SHM_DEST));
}

TEST_CASE("4.6 a child of fork inherits attachments, which count, and exit detaches them") {
  const Segment segment(5000);
  const Attachment first(segment.id());
  const Attachment second(segment.id());
  Child child([&](Link link) -> long {
    first.bytes()[0] = 5;
    link.tell(second.bytes()[0]);
    return link.hear();
  });
  CHECK(child.hear() == 5);
  CHECK(attached(segment, 4));
  child.tell(0);
  child.wait();
  CHECK(attached(segment, 2));
  CHECK(first.bytes()[0] == 5);
}

TEST_CASE("4.6 a child detaches its own attachment and not its parent's") {
  const Segment segment(5000);
  const Attachment at(segment.id());
  Child child([&] { return error_of(shmdt(at.bytes())); });
  CHECK(child.result() == 0);
  CHECK(attached(segment, 1));
  at.bytes()[0] = 1;
}

TEST_CASE("4.6 exec detaches all") {
  const Segment segment(5000);
  const Attachment inherited(segment.id());
  Child child([&](Link link) -> long {
    if (error_of(shmat(segment.id(), nullptr, 0)) != 0) return 2;
    return conformance::execute_role("is_there", {link.descriptor()});
  });
  CHECK(child.hear() == 1);
  CHECK(attached(segment, 1));
  child.tell(0);
  child.wait();
  CHECK(attached(segment, 1));
}

TEST_CASE("4.6 the count is right after kill -9, also of several generations") {
  const Segment segment(5000);
  Child child([&](Link link) -> long {
    const auto error = error_of(shmat(segment.id(), nullptr, 0));
    const auto grandchild = fork();
    if (grandchild == 0) {
      link.tell(error);
      link.hear();
      kill(getpid(), SIGKILL);
    }
    waitpid(grandchild, nullptr, 0);
    link.tell(error_of(shmat(segment.id(), nullptr, 0)));
    return link.hear();
  });
  CHECK(child.hear() == 0);
  CHECK(attached(segment, 2));
  child.tell(0);
  CHECK(child.hear() == 0);
  CHECK(attached(segment, 2));
  child.kill();
  CHECK(attached(segment, 0));
}

TEST_CASE("4.1 over SHMMNI is ENOSPC") {
  if (conformance::skipped_without_root()) return;
  Child child([&]() -> long {
    (void)!unshare(CLONE_NEWIPC);  // in the way of nobody, where there is such a thing
    std::vector<int> ids;
    int error = 0;
    while (error == 0 && ids.size() <= shared_memory_limits().shmmni) {
      const auto id = shmget(IPC_PRIVATE, 1, 0600);
      error = error_of(id);
      if (id >= 0) ids.push_back(id);
    }
    for (const auto id : ids) shmctl(id, IPC_RMID, nullptr);
    return error;
  });
  CHECK(child.result() == ENOSPC);
}
