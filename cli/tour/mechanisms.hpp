// Each mechanism of the tour: one function that prepares it, defined in a file of its own.
#pragma once

#include <memory>

#include "tour/mechanism.hpp"

namespace parley::cli {

auto pipe_pair() -> std::unique_ptr<Mechanism>;

}  // namespace parley::cli
