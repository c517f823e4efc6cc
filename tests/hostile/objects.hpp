// Parley's objects as targets of the harness.
#pragma once

#include <vector>

#include "hostile/harness.hpp"

namespace parley::test {

auto set_with_undo() -> Target;
auto set_of_one_without_undo() -> Target;
auto mutex() -> Target;

/// All of them.
auto every_object() -> std::vector<Target>;

}  // namespace parley::test
