#include <parley/os/sysv/key.hpp>

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "os/sys.hpp"
#include "support/temp_dir.hpp"

using parley::Error;
using parley::os::sysv::Key;
using parley::test::TempDir;
namespace sys = parley::os::sys;

TEST_CASE("a key made of a file holds the project and the low bits of device and inode") {
  const TempDir directory;
  const std::string path = directory / "common";
  std::ofstream(path).put('x');
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  const auto number = static_cast<unsigned>(Key::from_file(path, 0x42).value().number());
  CHECK(number / (1U << 24) == 0x42);
  CHECK(((number >> 16) & 0xff) == (status.st_dev & 0xff));
  CHECK((number & 0xffff) == (status.st_ino & 0xffff));
}

TEST_CASE("a key depends on the file, not on its name, and on the project") {
  const TempDir directory;
  std::ofstream(directory / "one").put('x');
  std::filesystem::create_hard_link(directory / "one", directory / "same");
  const Key key = Key::from_file(directory / "one", 1).value();
  CHECK(Key::from_file(directory / "one", 1).value() == key);
  CHECK(Key::from_file(directory / "same", 1).value() == key);
  CHECK(Key::from_file(directory / "one", 2).value() != key);
  CHECK_FALSE(key.is_private());
}

TEST_CASE("a key of a file that is missing, or of project 0, is an error") {
  const TempDir directory;
  CHECK(Key::from_file(directory / "missing", 1).error() == Error::not_found);
  CHECK(Key::from_file("", 1).error() == Error::not_found);
  CHECK(Key::from_file("/dev/null/below", 1).error() == static_cast<Error>(ENOTDIR));
  CHECK(Key::from_file(directory.path(), 0).error() == Error::invalid);
}

TEST_CASE("a failing ftok gives its error") {
  sys::injection = {.calls_until_failure = 1, .error = Error::io};
  CHECK(Key::from_file("/", 1).error() == Error::io);
  CHECK(sys::injection.fired);
}

TEST_CASE("the private key is a key of its own") {
  static_assert(Key::private_key().is_private());
  static_assert(Key::from_number(0) == Key::private_key());
  static_assert(!Key::from_number(-1).is_private());
  CHECK(Key::from_number(7).number() == 7);
}
