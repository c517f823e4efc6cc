#include <parley/os/pipe.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <thread>
#include <vector>

#include "support/descriptors.hpp"

using namespace parley::os;
using parley::Deadline;

TEST_CASE("one thread writes what another reads, through a pipe smaller than the data") {
  auto pipe = Pipe::create({.capacity_bytes = 4096}).value();
  constexpr std::size_t total_bytes = 1 << 20;
  std::jthread writer([&] {
    std::vector<std::byte> data(total_bytes);
    for (std::size_t i = 0; i < total_bytes; ++i) data[i] = static_cast<std::byte>(i * 31);
    CHECK(pipe.writer.write(data, Deadline::never()));
  });
  std::vector<std::byte> data(total_bytes);
  CHECK(pipe.reader.read_all(data, Deadline::never()).value() == total_bytes);
  bool same = true;
  for (std::size_t i = 0; i < total_bytes; ++i) same &= data[i] == static_cast<std::byte>(i * 31);
  CHECK(same);
}
