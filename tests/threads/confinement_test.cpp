#include <parley/os/confinement.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <cerrno>

#include <semaphore>
#include <thread>

#include "support/confined.hpp"
#include "support/peer.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::can_be_confined;
using parley::test::Peer;

TEST_CASE("all threads are confined, and Landlock, which would bind only one, says it is busy") {
  if (!can_be_confined()) return;
  Peer peer([] {
    std::binary_semaphore started(0);
    std::binary_semaphore entered(0);
    int fd = 0;
    int error = 0;
    std::thread other([&] {
      started.release();
      entered.acquire();
      fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
      error = errno;
    });
    started.acquire();
    const auto report = Confinement::enter();
    entered.release();
    other.join();
    REQUIRE(report);
    REQUIRE(report->complete());
    REQUIRE(report->landlock_abi.error() == Error::busy);
    REQUIRE(fd == -1);
    REQUIRE(error == EPERM);
  });
}
