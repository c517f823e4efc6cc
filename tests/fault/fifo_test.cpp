#include <parley/os/fifo.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "support/descriptors.hpp"
#include "support/faults.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using namespace parley::os;
using parley::Deadline;
using parley::test::fail_each_call;
using parley::test::interrupt_each_call;
using parley::test::Outcome;
using parley::test::TempDir;

TEST_CASE("every failing call of making a FIFO gives its error and leaves no FIFO") {
  const TempDir dir;
  CHECK(fail_each_call([&]() -> Outcome {
          CHECK(std::filesystem::is_empty(dir.path()));
          PARLEY_TRY(Fifo::create(dir / "fifo"));
          std::filesystem::remove(dir / "fifo");
          return {};
        }) == 3);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("every failing call of making a duplex gives its error and leaves no FIFO") {
  const TempDir dir;
  CHECK(fail_each_call([&]() -> Outcome {
          CHECK(std::filesystem::is_empty(dir.path()));
          PARLEY_TRY(FifoDuplex::create(dir / "two"));
          std::filesystem::remove(dir / "two.forth");
          std::filesystem::remove(dir / "two.back");
          return {};
        }) == 6);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("every failing call of opening a FIFO gives its error and leaves no descriptor") {
  const TempDir dir;
  const auto duplex = FifoDuplex::create(dir / "two").value();
  const auto fifo = Fifo::open(dir / "two.forth").value();
  const auto forth = fifo.both_ends().value();
  const auto back = Fifo::open(dir / "two.back").value().both_ends().value();
  CHECK(fail_each_call([&]() -> Outcome {
          PARLEY_TRY(Fifo::open(dir / "two.forth"));
          PARLEY_TRY(Fifo::adopt(PARLEY_TRY(duplicate(fifo.fd()))));
          auto found = PARLEY_TRY(Fifo::open(dir / "two.forth"));
          PARLEY_TRY(found.set_mode(0600));
          PARLEY_TRY(found.set_owner(PARLEY_TRY(found.permissions()).owner));
          PARLEY_TRY(fifo.lone_reader());
          PARLEY_TRY(fifo.both_ends());
          PARLEY_TRY(fifo.reader(Deadline::now()));
          PARLEY_TRY(fifo.reader(Deadline::after(10s)));
          PARLEY_TRY(fifo.writer(Deadline::now()));
          PARLEY_TRY(duplex.first_side(Deadline::after(10s)));
          PARLEY_TRY(duplex.second_side(Deadline::after(10s)));
          return {};
        }) >= 34);
}

TEST_CASE("every failing call of waiting for a FIFO's reader gives its error") {
  const TempDir dir;
  const auto fifo = Fifo::create(dir / "fifo").value();
  CHECK(fail_each_call([&]() -> Outcome {
          const auto writer = fifo.writer(Deadline::after(20ms));
          if (writer || writer.error() == parley::Error::timed_out) return {};
          return parley::failure(writer.error());
        }) >= 5);
}

TEST_CASE("every failing call of removing a FIFO gives its error and removes nothing") {
  const TempDir dir;
  REQUIRE(Fifo::create(dir / "fifo"));
  CHECK(fail_each_call([&]() -> Outcome {
          CHECK(std::filesystem::is_fifo(dir / "fifo"));
          return Fifo::unlink(dir / "fifo");
        }) == 2);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("an interrupted opening of a FIFO is made again") {
  const TempDir dir;
  const auto held = Fifo::create(dir / "fifo").value();
  const auto ends = held.both_ends().value();
  CHECK(interrupt_each_call([&]() -> Outcome {
          PARLEY_TRY(held.lone_reader());
          PARLEY_TRY(held.writer(Deadline::now()));
          return {};
        }) == 2);
}
