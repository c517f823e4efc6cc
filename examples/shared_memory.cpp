// A parent writes a table and seals it; a child gets the descriptor and reads it as it is typed.
#include <parley/os/child.hpp>
#include <parley/shared_memory.hpp>

#include <cstdint>
#include <cstdio>

using namespace std::chrono_literals;
using parley::Deadline;
using parley::Error;
using parley::SharedMemory;

struct Town {
  double latitude;
  std::uint32_t people;
  std::uint32_t founded;
};

auto main() -> int {
  auto memory = SharedMemory::create({.size_bytes = 2 * sizeof(Town)}).value();
  {
    const auto mapping = memory.map().value();
    const auto towns = mapping.as<Town>().value();
    towns[0] = {.latitude = 59.3, .people = 984'748, .founded = 1252};
    towns[1] = {.latitude = 41.9, .people = 2'748'109, .founded = 0};
  }  // Nobody may have it mapped while it is sealed.
  memory.seal().value();

  // Any process that is handed the descriptor can do what this one does.
  const auto count_people = [&] {
    const auto received =
        SharedMemory::adopt(parley::os::duplicate(memory.descriptor()).value()).value();
    // Sealed: what is checked now stays so.
    if (!received.is_sealed().value()) return 1;
    if (received.map().error() != Error::not_permitted) return 1;
    const auto mapping = received.map_read_only().value();
    const auto towns = mapping.as<Town>().value();
    std::uint32_t people = 0;
    for (const Town& town : towns) people += town.people;
    std::printf("%u people\n", people);
    std::fflush(stdout);
    return 0;
  };
  auto child = parley::os::Child::fork(count_people).value();
  return child.wait(Deadline::after(10s)).value().succeeded() ? 0 : 1;
}
