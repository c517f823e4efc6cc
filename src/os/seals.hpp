// The seals of memory, for whoever has only a descriptor.
#pragma once

#include <parley/os/memfd.hpp>

namespace parley::os {

/// As Memfd::add_seals.
auto add_seals(BorrowedFd memory, const Seals& seals) -> Result<void>;

/// `invalid` for what has no seals.
auto seals_of(BorrowedFd memory) -> Result<Seals>;

}  // namespace parley::os
