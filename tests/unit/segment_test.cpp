#include "shm/segment.hpp"

#include <doctest/doctest.h>

using namespace parley;

TEST_CASE("an object without a name that is larger than the machine's memory is refused") {
  constexpr std::size_t too_large = std::size_t{1} << 50U;
  const auto segment = shm::Segment::create({},
                                            {.kind = shm::ObjectKind::mutex,
                                             .body_version = 1,
                                             .participants = 1,
                                             .body_bytes = too_large},
                                            [](std::span<std::byte>) {});
  CHECK(segment.error() == Error::no_space);
}
