// A program that is started with shared memory at the descriptor number that is its first argument:
// it reads "question" there and, where it may write, puts "answered" in its place. Exits with 0
// where it found and did all that, with 3 where it could only read, else with 1.
#include <algorithm>
#include <cstdlib>
#include <span>
#include <string_view>
#include <utility>

#include <parley/os/child.hpp>
#include <parley/shared_memory.hpp>

namespace {

auto answer(int number) -> parley::Result<int> {
  auto inherited = PARLEY_TRY(parley::os::Child::inherited(number));
  const auto memory = PARLEY_TRY(parley::SharedMemory::adopt(std::move(inherited)));
  const auto asked = PARLEY_TRY(memory.map_read_only());
  if (!std::ranges::equal(PARLEY_TRY(asked.as<char>()).first(8), std::string_view("question"))) {
    return 1;
  }
  const auto mapping = memory.map();
  if (!mapping) return mapping.error() == parley::Error::access_denied ? 3 : 1;
  std::ranges::copy(std::string_view("answered"), PARLEY_TRY(mapping->as<char>()).begin());
  return 0;
}

}  // namespace

auto main(int count, char** values) -> int {
  const std::span arguments(values, static_cast<std::size_t>(count));
  return arguments.size() == 2 ? answer(std::atoi(arguments[1])).value_or(1) : 1;
}
