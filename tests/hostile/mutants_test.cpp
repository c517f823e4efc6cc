// The test of the test: an object with one fault, of the kind that the harness is there for.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>

#include "hostile/harness.hpp"
#include "shm/layout/segment.hpp"
#include "shm/segment.hpp"
#include "support/long_run.hpp"

using namespace std::chrono_literals;
using namespace parley;
using namespace parley::test;

namespace {

enum class Fault : std::uint8_t { none, unchecked_index, index_read_twice, unbounded_loop };

/// An index and a length, and the table that they are about.
struct ToyBody {
  shm::Atomic<std::uint64_t> index;
  shm::Atomic<std::uint64_t> length;
  std::array<shm::Atomic<std::uint64_t>, 6> table;
};

constexpr std::uint32_t toy_version = 7;

auto toy_images() -> std::vector<Image> {
  const auto segment = shm::Segment::create({},
                                            {.kind = shm::ObjectKind::mutex,
                                             .body_version = toy_version,
                                             .participants = 3,
                                             .body_bytes = sizeof(ToyBody)},
                                            [](std::span<std::byte>) {})
                           .value();
  return {image_of(segment.descriptor())};
}

auto use(const ToyBody& body, Fault fault) -> Result<void> {
  const auto index = body.index.load_relaxed();
  if (fault != Fault::unchecked_index && index >= body.table.size()) return failure(Error::corrupt);
  const auto used = fault == Fault::index_read_twice ? body.index.load_relaxed() : index;
  static_cast<void>(body.table.data()[used].load_relaxed());
  const auto length = body.length.load_relaxed();
  if (fault != Fault::unbounded_loop && length > body.table.size()) return failure(Error::corrupt);
  for (std::uint64_t i = 0; i < length; ++i) static_cast<void>(body.table[i % 6].load_relaxed());
  return {};
}

auto toy(Fault fault) -> Target {
  return {"toy", toy_images, [fault](os::OwnedFd fd, Victim& victim) {
            if (fault != Fault::none) {
              // What the sanitizer and doctest have to say was to be expected.
              const auto nowhere = os::OwnedFd::from_number(open("/dev/null", O_WRONLY));
              dup2(nowhere.number(), STDOUT_FILENO);
              dup2(nowhere.number(), STDERR_FILENO);
            }
            auto segment = victim.adopt([&] {
              return shm::Segment::adopt(std::move(fd), shm::ObjectKind::mutex, toy_version);
            });
            if (!segment || segment->body().size() != sizeof(ToyBody)) return;
            victim.is_attached();
            const auto& body = *reinterpret_cast<const ToyBody*>(segment->body().data());
            victim.call("use", [&] { return use(body, fault); });
          }};
}

}  // namespace

TEST_CASE("a sound toy survives the harness") {
  const auto outcome = strike_each_word(toy(Fault::none));
  CAPTURE(outcome.what);
  CHECK(outcome.survived);
  CHECK(strike_before_each_load(toy(Fault::none), seed(), 30).survived);
  CHECK(strike_at_random(toy(Fault::none), {.seed = seed(), .duration = 1s}).survived);
}

TEST_CASE("an index that is not checked is found by the strikes at each word") {
  const auto outcome = strike_each_word(toy(Fault::unchecked_index));
  CHECK_FALSE(outcome.survived);
  CHECK(outcome.what.starts_with("died"));
}

TEST_CASE("an index that is checked and then read again is found by the strikes at each load") {
  CHECK(strike_each_word(toy(Fault::index_read_twice)).survived);
  const auto outcome = strike_before_each_load(toy(Fault::index_read_twice), seed(), 30);
  CHECK_FALSE(outcome.survived);
  CHECK(outcome.what.starts_with("died"));
}

TEST_CASE("a loop as long as a peer says is found by the strikes at each word") {
  const auto outcome = strike_each_word(toy(Fault::unbounded_loop));
  CHECK_FALSE(outcome.survived);
  CHECK(outcome.what.starts_with("overstayed"));
}
