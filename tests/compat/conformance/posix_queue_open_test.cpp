#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "posix_names.hpp"
#include "process.hpp"

namespace {

using conformance::as;
using conformance::Child;
using conformance::error_of;
using conformance::failure;
using conformance::fresh_name;
using conformance::Link;
using conformance::NamedQueue;
using conformance::nobody;
using conformance::queue_error;
using conformance::QueueDescriptor;

// Tells whether a descriptor is open.
const conformance::Role looks("looks_at_descriptor", [](const std::vector<long>& numbers) {
  const Link link(static_cast<int>(numbers.at(0)));
  link.tell(fcntl(static_cast<int>(numbers.at(1)), F_GETFD) == -1 ? errno : 0);
  return 0;
});

auto of_length(std::size_t length) -> std::string {
  auto name = fresh_name();
  name.resize(length + 1, 'x');  // and the slash
  return name;
}

}  // namespace

TEST_CASE("5.1 a name has one slash, at its start") {
  constexpr auto make = O_RDWR | O_CREAT;
  CHECK(queue_error("no-slash", make) == EINVAL);
  CHECK(queue_error("", make) == EINVAL);
  CHECK(queue_error("/", make) == ENOENT);
  CHECK(queue_error("/a/b", make) == EACCES);
  CHECK(queue_error("//a", make) == EACCES);
  CHECK(error_of(mq_unlink("no-slash")) == EINVAL);
  CHECK(error_of(mq_unlink("/")) == ENOENT);
}

TEST_CASE("5.1 a name of 255 characters can be used, and of 256 is ENAMETOOLONG") {
  CHECK(queue_error(of_length(255), O_RDWR | O_CREAT) == 0);
  CHECK(queue_error(of_length(256), O_RDWR | O_CREAT) == ENAMETOOLONG);
  CHECK(error_of(mq_unlink(of_length(256).c_str())) == ENAMETOOLONG);
}

TEST_CASE("5.1 a queue is missing, made, found, and not made again") {
  const auto name = fresh_name();
  CHECK(queue_error(name, O_RDWR) == ENOENT);
  const NamedQueue queue(0, 0600, name);
  CHECK(queue.open_error(O_RDWR) == 0);
  CHECK(queue.open_error(O_RDWR | O_EXCL) == 0);
  CHECK(mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr) == -1);
  CHECK(errno == EEXIST);
  const QueueDescriptor again(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, nullptr));
  CHECK(queue.send("a") == 0);
  CHECK(again.receive() == "a");
}

TEST_CASE("5.1 the direction is enforced with EBADF") {
  const NamedQueue queue;
  const QueueDescriptor reader(mq_open(queue.name(), O_RDONLY));
  const QueueDescriptor writer(mq_open(queue.name(), O_WRONLY));
  CHECK(reader.send("a") == EBADF);
  CHECK(writer.send("a") == 0);
  CHECK(writer.receive() == failure(EBADF));
  CHECK(reader.receive() == "a");
}

TEST_CASE("5.1 a descriptor that is none is EBADF") {
  const QueueDescriptor none(-1);
  CHECK(none.send("a") == EBADF);
  CHECK(none.receive() == failure(EBADF));
  mq_attr attributes{};
  CHECK(error_of(mq_getattr(-1, &attributes)) == EBADF);
  CHECK(error_of(mq_setattr(-1, &attributes, nullptr)) == EBADF);
  CHECK(error_of(mq_notify(-1, nullptr)) == EBADF);
  CHECK(error_of(mq_close(-1)) == EBADF);
  const auto file = open("/dev/null", O_RDWR);
  CHECK(QueueDescriptor(file).send("a") == EBADF);
}

TEST_CASE("5.1 the mode is less the umask, and decides who may open how") {
  if (conformance::skipped_without_root()) return;
  const auto old = umask(0026);
  const NamedQueue queue(O_NONBLOCK, 0666);
  umask(old);
  CHECK(as(nobody, [&] { return queue.open_error(O_RDONLY); }) == EACCES);
  CHECK(as({1, 0, {}}, [&] { return queue.open_error(O_RDONLY); }) == 0);
  CHECK(as({1, 0, {}}, [&] { return queue.open_error(O_WRONLY); }) == EACCES);
  CHECK(queue.open_error(O_RDWR) == 0);
}

TEST_CASE("5.1 only the owner and root unlink a queue") {
  if (conformance::skipped_without_root()) return;
  const NamedQueue queue(O_NONBLOCK, 0666);
  CHECK(as(nobody, [&] { return error_of(mq_unlink(queue.name())); }) != 0);
  CHECK(queue.open_error(O_RDWR) == 0);
}

TEST_CASE("5.1 O_NONBLOCK belongs to the open description, which a child shares") {
  const NamedQueue queue;
  const QueueDescriptor other(mq_open(queue.name(), O_RDWR));
  mq_attr attributes{};
  CHECK(mq_getattr(other.get(), &attributes) == 0);
  CHECK(attributes.mq_flags == 0);
  CHECK(mq_getattr(queue.get(), &attributes) == 0);
  CHECK(attributes.mq_flags == O_NONBLOCK);
  Child child([&] {
    queue.set_nonblocking(false);
    return 0;
  });
  CHECK(child.result() == 0);
  CHECK(mq_getattr(queue.get(), &attributes) == 0);
  CHECK(attributes.mq_flags == 0);
}

TEST_CASE("5.1 the descriptor is close-on-exec") {
  const NamedQueue queue;
  CHECK((fcntl(queue.get(), F_GETFD) & FD_CLOEXEC) != 0);
  Child child([&](Link link) {
    return conformance::execute_role("looks_at_descriptor", {link.descriptor(), queue.get()});
  });
  CHECK(child.hear() == EBADF);
}

TEST_CASE("5.2 attributes are positive and within limits") {
  const auto error = [](long messages, long size) {
    mq_attr attributes{};
    attributes.mq_maxmsg = messages;
    attributes.mq_msgsize = size;
    return queue_error(fresh_name(), O_RDWR | O_CREAT, 0600, &attributes);
  };
  CHECK(error(0, 16) == EINVAL);
  CHECK(error(-1, 16) == EINVAL);
  CHECK(error(3, 0) == EINVAL);
  CHECK(error(3, -1) == EINVAL);
  CHECK(error(1L << 40, 16) == EINVAL);
  CHECK(error(3, 1L << 40) == EINVAL);
  CHECK(error(1, 1) == 0);
}

TEST_CASE("5.2 the defaults are the system's, and what was asked for is told") {
  const auto name = fresh_name();
  const QueueDescriptor plain(mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr));
  CHECK(mq_unlink(name.c_str()) == 0);
  mq_attr attributes{};
  CHECK(mq_getattr(plain.get(), &attributes) == 0);
  CHECK(attributes.mq_maxmsg == 10);
  CHECK(attributes.mq_msgsize == 8192);
  CHECK(attributes.mq_curmsgs == 0);
  const NamedQueue queue;
  CHECK(queue.send("a") == 0);
  CHECK(mq_getattr(queue.get(), &attributes) == 0);
  CHECK(attributes.mq_flags == O_NONBLOCK);
  CHECK(attributes.mq_maxmsg == 3);
  CHECK(attributes.mq_msgsize == 16);
  CHECK(attributes.mq_curmsgs == 1);
}

TEST_CASE("5.2 mq_setattr changes O_NONBLOCK alone and gives back the old") {
  const NamedQueue queue;
  CHECK(queue.send("a") == 0);
  mq_attr wanted{};
  wanted.mq_maxmsg = 7;
  wanted.mq_msgsize = 99;
  wanted.mq_curmsgs = 5;
  mq_attr old{};
  CHECK(mq_setattr(queue.get(), &wanted, &old) == 0);
  CHECK(old.mq_flags == O_NONBLOCK);
  CHECK(old.mq_maxmsg == 3);
  CHECK(old.mq_curmsgs == 1);
  mq_attr now{};
  CHECK(mq_getattr(queue.get(), &now) == 0);
  CHECK(now.mq_flags == 0);
  CHECK(now.mq_maxmsg == 3);
  CHECK(now.mq_msgsize == 16);
  CHECK(now.mq_curmsgs == 1);
  wanted.mq_flags = O_NONBLOCK | O_APPEND;
  CHECK(error_of(mq_setattr(queue.get(), &wanted, nullptr)) == EINVAL);
  CHECK(mq_getattr(queue.get(), &now) == 0);
  CHECK(now.mq_flags == 0);
}

TEST_CASE("5.6 the name goes at once, the queue with the last descriptor") {
  const NamedQueue queue;
  CHECK(queue.send("a") == 0);
  CHECK(mq_unlink(queue.name()) == 0);
  CHECK(error_of(mq_unlink(queue.name())) == ENOENT);
  CHECK(queue.open_error(O_RDWR) == ENOENT);
  const NamedQueue next(O_NONBLOCK, 0600, queue.name());
  CHECK(next.messages() == 0);
  CHECK(queue.receive() == "a");
}

TEST_CASE("5.6 a queue keeps its messages while nobody has it open") {
  const auto name = fresh_name();
  Child child([&] {
    mq_attr attributes{};
    attributes.mq_maxmsg = 2;
    attributes.mq_msgsize = 9;
    const auto made = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &attributes);
    return error_of(mq_send(made, "kept", 4, 0));
  });
  CHECK(child.result() == 0);
  const QueueDescriptor queue(mq_open(name.c_str(), O_RDWR | O_NONBLOCK));
  CHECK(mq_unlink(name.c_str()) == 0);
  CHECK(queue.receive() == "kept");
}

TEST_CASE("5.6 a child of fork has its parent's descriptors") {
  const NamedQueue queue(0);
  Child child([&] { return queue.receive() == "a" ? queue.send("b") : -1; });
  CHECK(queue.send("a") == 0);
  CHECK(child.result() == 0);
  CHECK(queue.receive() == "b");
}
