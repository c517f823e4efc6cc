#include <parley/os/confinement.hpp>

#include <doctest/doctest.h>

#include <parley/os/pipe.hpp>

#include "support/descriptors.hpp"

using namespace parley::os;
using parley::Error;

TEST_CASE("a report is complete when no part is missing, and tells why one is") {
  ConfinementReport report;
  CHECK(report.complete());
  CHECK_FALSE(report.why_not(ConfinementPart::privileges));
  report.missing.back() = Error::invalid;
  CHECK_FALSE(report.complete());
  CHECK(report.why_not(ConfinementPart::privileges) == Error::invalid);
  CHECK_FALSE(report.why_not(ConfinementPart::paths));
}

TEST_CASE("asking what capability mode would enforce leaves no descriptor") {
  const auto before = parley::test::open_descriptors();
  const auto report = Confinement::probe();
  CHECK(parley::test::open_descriptors() == before);
  if (report.landlock_abi) CHECK(*report.landlock_abi >= 1);
}

TEST_CASE("a descriptor's rights can be limited where descriptors have rights") {
  const auto pipe = Pipe::create().value();
  const auto limited = limit_rights(pipe.reader.fd(), {.read = true, .poll = true});
#ifdef __FreeBSD__
  CHECK(limited);
#else
  CHECK(limited.error() == Error::not_supported);
#endif
}
