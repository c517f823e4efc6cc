// Processes that die in msgget(2), msgsnd(2), msgrcv(2) and msgctl(2) of the drop-in.
#include <sys/msg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "crash/compat/own_space.hpp"

namespace parley::test {
namespace {

constexpr Sample with_others{.of_instructions = 200, .of_instructions_in_full = 4000};

struct Message {
  long type;
  std::array<char, 6000> text;
};

auto make_queue() -> int {
  OwnSpace::get();
  const int id = msgget(IPC_PRIVATE, 0600);
  REQUIRE(id >= 0);
  return id;
}

auto send(int id, long type, const std::string& text, int flags = 0) -> int {
  Message message{.type = type, .text = {}};
  text.copy(message.text.data(), text.size());
  return result_of(msgsnd(id, &message, text.size(), flags));
}

/// The text, or the error.
auto receive(int id, long type = 0, int flags = IPC_NOWAIT) -> std::string {
  Message message{};
  const auto got = msgrcv(id, &message, message.text.size(), type, flags);
  return got < 0 ? strerrorname_np(errno)
                 : std::string(message.text.data(), static_cast<std::size_t>(got));
}

auto status(int id) -> msqid_ds {
  msqid_ds told{};
  REQUIRE(msgctl(id, IPC_STAT, &told) == 0);
  return told;
}

void remove(int id) {
  CHECK(result_of(msgctl(id, IPC_RMID, nullptr)) == 0);
  CHECK(OwnSpace::get().files("sysv-messages").empty());
}

const std::string long_text(5000, 'x');

}  // namespace

TEST_CASE("msgsnd: a message is there whole or not at all") {
  for (const auto& text : {std::string("short"), long_text}) {
    crash_at_each_step(
        [&](Round& round) {
          const int id = make_queue();
          REQUIRE(send(id, 1, "first") == 0);
          Victim victim(
              round, [&] { REQUIRE(status(id).msg_qnum == 1); },
              [&] { REQUIRE(send(id, 2, text) == 0); });
          victim.strike();
          CHECK(receive(id) == "first");
          const auto second = receive(id, 2);
          CHECK((second == text || second == "ENOMSG"));
          if (round.lived(0)) CHECK(second == text);
          CHECK(status(id).msg_qnum == 0);
          CHECK(status(id).__msg_cbytes == 0);
          CHECK(send(id, 3, long_text) == 0);
          CHECK(receive(id) == long_text);
          remove(id);
        },
        with_others);
  }
}

TEST_CASE("msgrcv: a message is taken by one, or stays in its place") {
  for (const auto& text : {std::string("short"), long_text}) {
    crash_at_each_step(
        [&](Round& round) {
          const int id = make_queue();
          REQUIRE(send(id, 1, text) == 0);
          REQUIRE(send(id, 2, "second") == 0);
          Victim victim(
              round, [&] { REQUIRE(status(id).msg_qnum == 2); },
              [&] { REQUIRE(receive(id) == text); });
          victim.strike();
          if (status(id).msg_qnum == 2) {
            CHECK_FALSE(round.lived(0));
            CHECK(receive(id) == text);
          }
          CHECK(receive(id) == "second");
          CHECK(receive(id) == "ENOMSG");
          CHECK(status(id).__msg_cbytes == 0);
          remove(id);
        },
        with_others);
  }
}

TEST_CASE("msgsnd: who waits for a message has it from a process that dies, or waits on") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_queue();
        Victim victim(
            round, [&] { REQUIRE(status(id).msg_qnum == 0); },
            [&] { REQUIRE(send(id, 4, "text") == 0); });
        Blocked waiter([&] { REQUIRE(status(id).msg_qnum == 0); },
                       [&] { REQUIRE(receive(id, 4, 0) == "text"); });
        victim.strike();
        // Of a message that was sent the waiter's is already taken.
        if (status(id).msg_lspid == 0) {
          CHECK_FALSE(round.lived(0));
          CHECK(send(id, 4, "text", IPC_NOWAIT) == 0);
        }
        waiter.must_finish();
        remove(id);
      },
      with_others);
}

TEST_CASE("msgget: a key has a whole queue or none") {
  crash_at_each_step(
      [](Round& round) {
        OwnSpace::get();
        constexpr key_t key = 0x5041;
        Victim victim(
            round, [] {}, [&] { REQUIRE(msgget(key, IPC_CREAT | IPC_EXCL | 0600) >= 0); });
        victim.strike();
        const int found = result_of(msgget(key, 0600));
        if (found >= 0) {
          CHECK(status(found).msg_qbytes == 16384);
          CHECK(send(found, 1, "text") == 0);
          remove(found);
        } else {
          CHECK(found == -ENOENT);
          CHECK_FALSE(round.lived(0));
        }
        const int id = result_of(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
        REQUIRE(id >= 0);
        CHECK(id != found);
        CHECK(receive(id) == "ENOMSG");
        remove(id);
      },
      with_others);
}

TEST_CASE("msgctl: a queue is removed for all, or can be") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_queue();
        Victim victim(
            round, [&] { REQUIRE(status(id).msg_qnum == 0); },
            [&] { REQUIRE(msgctl(id, IPC_RMID, nullptr) == 0); });
        Blocked waiter([&] { REQUIRE(status(id).msg_qnum == 0); },
                       [&] { REQUIRE(receive(id, 0, 0) == "EIDRM"); });
        victim.strike();
        const int again = result_of(msgctl(id, IPC_RMID, nullptr));
        CHECK((again == 0 || again == -EINVAL));
        if (round.lived(0)) CHECK(again == -EINVAL);
        waiter.must_finish();
        CHECK(send(id, 1, "text") == -EINVAL);
        CHECK(OwnSpace::get().files("sysv-messages").empty());
      },
      with_others);
}

TEST_CASE("msgctl: a bound, an owner and a mode are set, or can be") {
  crash_at_each_step(
      [](Round& round) {
        const int id = make_queue();
        msqid_ds wanted = status(id);
        wanted.msg_perm.gid = 4242;
        wanted.msg_perm.mode = 0640;
        wanted.msg_qbytes = 2;
        Victim victim(
            round, [&] { REQUIRE(status(id).msg_qnum == 0); },
            [&] { REQUIRE(msgctl(id, IPC_SET, &wanted) == 0); });
        victim.strike();
        const auto seen = status(id);
        const bool changed = seen.msg_perm.mode == 0640;
        CHECK((seen.msg_perm.gid == 4242) == changed);
        CHECK((seen.msg_qbytes == 2 || seen.msg_qbytes == 16384));
        if (changed) CHECK(seen.msg_qbytes == 2);
        if (round.lived(0)) CHECK(changed);
        REQUIRE(msgctl(id, IPC_SET, &wanted) == 0);
        CHECK(send(id, 1, "") == 0);
        CHECK(send(id, 1, "") == 0);
        CHECK(send(id, 1, "", IPC_NOWAIT) == -EAGAIN);
        remove(id);
      },
      with_others);
}

}  // namespace parley::test
