#include <parley/os/fifo.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "support/descriptors.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::Error;
using parley::test::bytes_of;
using parley::test::open_descriptors;
using parley::test::TempDir;
using parley::test::text_of;

namespace {

class Umask {
 public:
  explicit Umask(mode_t mask) : before_(umask(mask)) {}
  Umask(const Umask&) = delete;
  auto operator=(const Umask&) -> Umask& = delete;
  ~Umask() { umask(before_); }

 private:
  mode_t before_;
};

auto directory_fd(const TempDir& dir) -> OwnedFd {
  return OwnedFd::from_number(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

auto read_text(PipeReader& reader) -> std::string {
  std::array<std::byte, 100> buffer{};
  const auto count = reader.read(buffer, Deadline::now()).value();
  return text_of(std::span(buffer).first(count));
}

}  // namespace

TEST_CASE("a FIFO is made with its mode, less the umask") {
  const TempDir dir;
  const Umask umask(027);
  CHECK(Fifo::create(dir / "default").value().permissions().value().mode == 0600);
  CHECK(Fifo::create(dir / "open", {.mode = 0666}).value().permissions().value().mode == 0640);
  CHECK(Fifo::create(dir / "none", {.mode = 0}).value().permissions().value().mode == 0);
}

TEST_CASE(
    "a FIFO's mode and owner are changed for who opens it next, wherever its path is by now") {
  const TempDir dir;
  auto fifo = Fifo::create(dir / "fifo").value();
  const Owner me{.uid = geteuid(), .gid = getegid()};
  CHECK(fifo.permissions().value() == FilePermissions{.owner = me, .mode = 0600});
  std::filesystem::rename(dir / "fifo", dir / "moved");
  REQUIRE(fifo.set_mode(0640));
  REQUIRE(fifo.set_owner(me));
  CHECK(Fifo::open(dir / "moved").value().permissions().value() ==
        FilePermissions{.owner = me, .mode = 0640});
  auto adopted = Fifo::adopt(fifo.lone_reader().value().into_fd()).value();
  REQUIRE(adopted.set_mode(0606));
  REQUIRE(adopted.set_owner(me));
  CHECK(fifo.permissions().value().mode == 0606);
}

TEST_CASE("a mode that says another kind of file is invalid and makes nothing") {
  const TempDir dir;
  CHECK(Fifo::create(dir / "x", {.mode = S_IFREG | 0600}).error() == Error::invalid);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a FIFO is not made over a path that exists, whatever it is") {
  const TempDir dir;
  REQUIRE(Fifo::create(dir / "fifo"));
  std::ofstream(dir / "file") << "text";
  std::filesystem::create_symlink("nowhere", dir / "link");
  for (const auto* name : {"fifo", "file", "link"}) {
    CHECK(Fifo::create(dir / name).error() == Error::exists);
  }
  CHECK(std::filesystem::file_size(dir / "file") == 4);
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(Fifo::create(dir / "no/fifo").error() == Error::not_found);
}

TEST_CASE("a FIFO is made, found and removed relative to a directory's descriptor") {
  const TempDir dir;
  const OwnedFd directory = directory_fd(dir);
  REQUIRE(Fifo::create("fifo", {.directory = directory}));
  CHECK(std::filesystem::is_fifo(dir / "fifo"));
  CHECK(Fifo::open("fifo", {.directory = directory}));
  CHECK(Fifo::unlink("fifo", directory));
  CHECK(std::filesystem::is_empty(dir.path()));
  CHECK(Fifo::open("fifo", {.directory = directory}).error() == Error::not_found);
  CHECK(Fifo::unlink("fifo", directory).error() == Error::not_found);
}

TEST_CASE("what is not a FIFO is neither opened, adopted nor removed") {
  const TempDir dir;
  std::ofstream(dir / "file") << "text";
  std::filesystem::create_symlink("file", dir / "link");
  for (const auto* name : {"file", "link", "."}) {
    CHECK(Fifo::open(dir / name).error() == Error::invalid);
  }
  CHECK(Fifo::open("/dev/null").error() == Error::invalid);
  CHECK(Fifo::unlink(dir / "file").error() == Error::invalid);
  CHECK(std::filesystem::exists(dir / "file"));
  const auto before = open_descriptors();
  CHECK(Fifo::adopt(directory_fd(dir)).error() == Error::invalid);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a symbolic link to a FIFO is followed, unless it may not be") {
  const TempDir dir;
  REQUIRE(Fifo::create(dir / "fifo"));
  std::filesystem::create_symlink("fifo", dir / "link");
  CHECK(Fifo::open(dir / "link"));
  CHECK(Fifo::open(dir / "link", {.follow_link = false}).error() == Error{ELOOP});
  CHECK(Fifo::open(dir / "fifo", {.follow_link = false}));
  CHECK(Fifo::unlink(dir / "link").error() == Error{ELOOP});
  CHECK(std::filesystem::is_symlink(dir / "link"));
}

TEST_CASE("a handle stays with its FIFO when the path becomes another file") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  REQUIRE(Fifo::unlink(dir / "fifo"));
  std::ofstream(dir / "fifo") << "text";
  auto ends = fifo.both_ends().value();
  REQUIRE(ends.writer.write(bytes_of("not for the file"), Deadline::now()));
  CHECK(read_text(ends.reader) == "not for the file");
  CHECK(std::filesystem::file_size(dir / "fifo") == 4);
}

TEST_CASE("without a peer each end is opened until its deadline, and the try form at once") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  const auto before = open_descriptors();
  CHECK(fifo.reader(Deadline::now()).error() == Error::would_block);
  CHECK(fifo.writer(Deadline::now()).error() == Error::would_block);
  CHECK(fifo.reader(Deadline::after(-1s)).error() == Error::timed_out);
  CHECK(fifo.writer(Deadline::after(-1s)).error() == Error::timed_out);
  const auto start = Deadline::Clock::now();
  CHECK(fifo.reader(Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - start >= 20ms);
  const auto middle = Deadline::Clock::now();
  CHECK(fifo.writer(Deadline::after(20ms)).error() == Error::timed_out);
  CHECK(Deadline::Clock::now() - middle >= 20ms);
  CHECK(open_descriptors() == before);
}

TEST_CASE("each end is opened at once where the other is open") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  SUBCASE("a reader where there is a writer") {
    auto ends = fifo.both_ends().value();
    static_cast<void>(std::move(ends.reader).into_fd());
    auto reader = fifo.reader(Deadline::now()).value();
    REQUIRE(ends.writer.write(bytes_of("x"), Deadline::now()));
    CHECK(read_text(reader) == "x");
    CHECK(fifo.reader(Deadline::after(-1s)));
    CHECK(fifo.reader(Deadline::never()));
  }
  SUBCASE("a writer where there is a reader") {
    auto reader = fifo.lone_reader().value();
    auto writer = fifo.writer(Deadline::now()).value();
    REQUIRE(writer.write(bytes_of("x"), Deadline::now()));
    CHECK(read_text(reader) == "x");
    CHECK(fifo.writer(Deadline::after(-1s)));
    CHECK(fifo.writer(Deadline::never()));
  }
}

TEST_CASE("the ends of a FIFO keep deadlines and are closed on exec") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  auto ends = fifo.both_ends().value();
  const auto reader = fifo.reader(Deadline::after(10s)).value();
  const auto writer = fifo.writer(Deadline::after(10s)).value();
  for (const BorrowedFd fd : {ends.reader.fd(), ends.writer.fd(), reader.fd(), writer.fd()}) {
    CHECK(is_nonblocking(fd).value());
    CHECK(closes_on_exec(fd).value());
  }
  CHECK(closes_on_exec(fifo.fd()).value());
}

TEST_CASE("a lone reader is at the end until a writer comes, and again when it leaves") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  auto reader = fifo.lone_reader().value();
  CHECK(read_text(reader).empty());
  auto writer = fifo.writer(Deadline::now()).value();
  std::array<std::byte, 1> buffer{};
  CHECK(reader.read(buffer, Deadline::now()).error() == Error::would_block);
  static_cast<void>(std::move(writer).into_fd());
  CHECK(read_text(reader).empty());
}

TEST_CASE("who holds both ends never comes to the end when the others leave") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  auto server = fifo.both_ends().value();
  {
    auto client = fifo.writer(Deadline::now()).value();
    REQUIRE(client.write(bytes_of("bye"), Deadline::now()));
  }
  CHECK(read_text(server.reader) == "bye");
  std::array<std::byte, 1> buffer{};
  CHECK(server.reader.read(buffer, Deadline::now()).error() == Error::would_block);
  static_cast<void>(std::move(server.writer).into_fd());
  CHECK(server.reader.read(buffer, Deadline::now()).value() == 0);
}

TEST_CASE("an adopted descriptor of a FIFO opens its ends, whatever it was open for") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  auto ends = fifo.both_ends().value();
  CHECK(Fifo::adopt(duplicate(fifo.fd()).value()).value().both_ends());
  const auto from_writer = Fifo::adopt(duplicate(ends.writer.fd()).value()).value();
  CHECK(from_writer.reader(Deadline::now()));
}

TEST_CASE("an end that the mode forbids is access denied") {
  if (geteuid() == 0) {
    REQUIRE(seteuid(65534) == 0);
  }
  {
    const TempDir dir;
    const auto unreadable = Fifo::create(dir / "write", {.mode = 0200}).value();
    CHECK(unreadable.reader(Deadline::now()).error() == Error::access_denied);
    CHECK(unreadable.reader(Deadline::never()).error() == Error::access_denied);
    CHECK(unreadable.both_ends().error() == Error::access_denied);
    const auto unwritable = Fifo::create(dir / "read", {.mode = 0400}).value();
    CHECK(unwritable.writer(Deadline::never()).error() == Error::access_denied);
    CHECK(unwritable.both_ends().error() == Error::access_denied);
  }
  if (getuid() == 0) REQUIRE(seteuid(0) == 0);
}

TEST_CASE("a duplex is two FIFOs, made both or not at all") {
  const TempDir dir;
  SUBCASE("made, found and removed") {
    REQUIRE(FifoDuplex::create(dir / "two", {.mode = 0600}));
    CHECK(std::filesystem::is_fifo(dir / "two.forth"));
    CHECK(std::filesystem::is_fifo(dir / "two.back"));
    CHECK(FifoDuplex::open(dir / "two"));
    CHECK(FifoDuplex::unlink(dir / "two"));
    CHECK(std::filesystem::is_empty(dir.path()));
    CHECK(FifoDuplex::open(dir / "two").error() == Error::not_found);
  }
  SUBCASE("the second name is taken") {
    std::ofstream(dir / "two.back") << "text";
    CHECK(FifoDuplex::create(dir / "two").error() == Error::exists);
    CHECK_FALSE(std::filesystem::exists(dir / "two.forth"));
    CHECK(FifoDuplex::open(dir / "two").error() == Error::not_found);
  }
  SUBCASE("one name is missing when both are to be removed") {
    REQUIRE(FifoDuplex::create(dir / "two"));
    REQUIRE(Fifo::unlink(dir / "two.forth"));
    CHECK(FifoDuplex::unlink(dir / "two").error() == Error::not_found);
    CHECK(std::filesystem::is_empty(dir.path()));
  }
}

TEST_CASE("a side of a duplex without the other ends at its deadline and holds nothing") {
  const TempDir dir;
  const auto duplex = FifoDuplex::create(dir / "two").value();
  const auto before = open_descriptors();
  CHECK(duplex.first_side(Deadline::now()).error() == Error::would_block);
  CHECK(duplex.second_side(Deadline::now()).error() == Error::would_block);
  CHECK(duplex.first_side(Deadline::after(5ms)).error() == Error::timed_out);
  CHECK(duplex.second_side(Deadline::after(5ms)).error() == Error::timed_out);
  CHECK(open_descriptors() == before);
}
