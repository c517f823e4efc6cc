#include "os/seals.hpp"

#include <fcntl.h>

#include <array>
#include <utility>

#include "os/sys.hpp"

namespace parley::os {
namespace {

constexpr int seal_exec = 0x20;  // younger than some C libraries that this is built with

constexpr std::array<std::pair<bool Seals::*, int>, 6> seal_bits{{
    {&Seals::shrink, F_SEAL_SHRINK},
    {&Seals::grow, F_SEAL_GROW},
    {&Seals::write, F_SEAL_WRITE},
    {&Seals::future_write, F_SEAL_FUTURE_WRITE},
    {&Seals::exec, seal_exec},
    {&Seals::seal, F_SEAL_SEAL},
}};

}  // namespace

auto add_seals(BorrowedFd memory, const Seals& seals) -> Result<void> {
  int bits = 0;
  for (const auto& [seal, bit] : seal_bits) bits |= seals.*seal ? bit : 0;
  PARLEY_TRY(sys::call<::fcntl>(memory.number(), F_ADD_SEALS, bits));
  return {};
}

auto seals_of(BorrowedFd memory) -> Result<Seals> {
  const int bits = PARLEY_TRY(sys::call<::fcntl>(memory.number(), F_GET_SEALS));
  Seals seals;
  for (const auto& [seal, bit] : seal_bits) seals.*seal = (bits & bit) != 0;
  return seals;
}

}  // namespace parley::os
