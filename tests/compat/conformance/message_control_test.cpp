#include <doctest/doctest.h>
#include <unistd.h>

#include "messages.hpp"
#include "process.hpp"
#include "sysv_kinds.hpp"

namespace {

using conformance::as;
using conformance::Child;
using conformance::is_since;
using conformance::message_limits;
using conformance::nobody;
using conformance::now_seconds;
using conformance::Queue;

}  // namespace

TEST_CASE("3.5 a new queue is empty, and as large as MSGMNB") {
  const auto before = now_seconds();
  const Queue queue;
  const auto status = queue.status();
  CHECK(status.msg_qnum == 0);
  CHECK(status.msg_cbytes == 0);
  CHECK(status.msg_qbytes == static_cast<msglen_t>(message_limits().msgmnb));
  CHECK(status.msg_lspid == 0);
  CHECK(status.msg_lrpid == 0);
  CHECK(status.msg_stime == 0);
  CHECK(status.msg_rtime == 0);
  CHECK(is_since(before, status.msg_ctime));
}

TEST_CASE("3.5 counts, processes and times follow the messages") {
  const Queue queue;
  const auto before = now_seconds();
  Child sender([&] { return queue.send(1, "abcde"); });
  const auto sender_pid = sender.pid();
  CHECK(sender.result() == 0);
  CHECK(queue.send(2, "fg") == 0);
  auto status = queue.status();
  CHECK(status.msg_qnum == 2);
  CHECK(status.msg_cbytes == 7);
  CHECK(status.msg_lspid == getpid());
  CHECK(sender_pid != getpid());
  CHECK(is_since(before, status.msg_stime));
  CHECK(status.msg_rtime == 0);
  Child receiver([&] { return queue.receive(1).error; });
  const auto receiver_pid = receiver.pid();
  CHECK(receiver.result() == 0);
  status = queue.status();
  CHECK(status.msg_qnum == 1);
  CHECK(status.msg_cbytes == 2);
  CHECK(status.msg_lrpid == receiver_pid);
  CHECK(is_since(before, status.msg_rtime));
}

TEST_CASE("3.5 a message that is handed to a sleeper sets both processes and times") {
  const Queue queue;
  const auto before = now_seconds();
  Child receiver([&] { return queue.receive(1, 0).error; });
  const auto pid = receiver.pid();
  REQUIRE(receiver.blocks());
  CHECK(queue.send(1, "a") == 0);
  CHECK(receiver.result() == 0);
  const auto status = queue.status();
  CHECK(status.msg_lspid == getpid());
  CHECK(status.msg_lrpid == pid);
  CHECK(is_since(before, status.msg_stime));
  CHECK(is_since(before, status.msg_rtime));
  CHECK(status.msg_qnum == 0);
  CHECK(status.msg_cbytes == 0);
}

TEST_CASE("3.5 what fails changes no process and no time") {
  const Queue queue;
  CHECK(queue.send(0, "a") == EINVAL);
  CHECK(queue.receive(0).error == ENOMSG);
  const auto status = queue.status();
  CHECK(status.msg_lspid == 0);
  CHECK(status.msg_lrpid == 0);
  CHECK(status.msg_stime == 0);
  CHECK(status.msg_rtime == 0);
}

TEST_CASE("3.5 IPC_SET changes msg_qbytes and msg_ctime") {
  const Queue queue;
  const auto made = queue.status().msg_ctime;
  conformance::wait_past(made);
  CHECK(queue.send(1, "a") == 0);
  CHECK(queue.status().msg_ctime == made);
  CHECK(queue.set_capacity(77) == 0);
  CHECK(queue.status().msg_qbytes == 77);
  CHECK(queue.status().msg_ctime > made);
}

TEST_CASE("3.5 only the privileged raise msg_qbytes over MSGMNB") {
  if (conformance::skipped_without_root()) return;
  const auto most = static_cast<std::size_t>(message_limits().msgmnb);
  const Queue queue;
  const auto privileged = conformance::has_capability(conformance::cap_sys_resource);
  CHECK(queue.set_capacity(most + 1) == (privileged ? 0 : EPERM));
  CHECK(queue.status().msg_qbytes == (privileged ? most + 1 : most));
  CHECK(queue.set_capacity(most) == 0);
  msqid_ds status = queue.status();
  status.msg_perm.uid = nobody.uid;
  CHECK(msgctl(queue.id(), IPC_SET, &status) == 0);
  CHECK(as(nobody, [&] { return queue.set_capacity(most + 1); }) == EPERM);
  CHECK(queue.status().msg_qbytes == most);
  CHECK(as(nobody, [&] { return queue.set_capacity(most - 1); }) == 0);
  CHECK(queue.status().msg_qbytes == most - 1);
}

TEST_CASE("3.5 sending needs write, and receiving read") {
  if (conformance::skipped_without_root()) return;
  const Queue readable(0604);
  CHECK(readable.send(1, "a") == 0);
  CHECK(as(nobody, [&] { return readable.send(1, "b"); }) == EACCES);
  CHECK(as(nobody, [&] { return readable.receive(0).error; }) == 0);
  const Queue writable(0602);
  CHECK(as(nobody, [&] { return writable.send(1, "b"); }) == 0);
  CHECK(as(nobody, [&] { return writable.receive(0).error; }) == EACCES);
  CHECK(writable.status().msg_qnum == 1);
}

TEST_CASE("3.7 IPC_INFO tells the limits, MSG_INFO also what is used") {
  const Queue queue;
  CHECK(queue.send(1, "abc") == 0);
  const auto limits = message_limits();
  CHECK(limits.msgmni > 0);
  CHECK(limits.msgmax > 0);
  CHECK(limits.msgmnb > 0);
  msginfo used{};
  CHECK(msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&used)) >=
        conformance::index_of(queue.id()));
  CHECK(used.msgmax == limits.msgmax);
  CHECK(used.msgmnb == limits.msgmnb);
  CHECK(used.msgmni == limits.msgmni);
  CHECK(used.msgpool >= 1);  // queues
  CHECK(used.msgmap >= 1);   // messages
  CHECK(used.msgtql >= 3);   // bytes
}

TEST_CASE("3.7 MSG_STAT and MSG_STAT_ANY tell what IPC_STAT does") {
  const Queue queue;
  CHECK(queue.send(1, "abc") == 0);
  for (const int command : {MSG_STAT, MSG_STAT_ANY}) {
    msqid_ds status{};
    CHECK(msgctl(conformance::index_of(queue.id()), command, &status) == queue.id());
    CHECK(status.msg_qnum == 1);
    CHECK(status.msg_cbytes == 3);
    CHECK(status.msg_lspid == getpid());
    CHECK(status.msg_stime == queue.status().msg_stime);
  }
}
