// How the command speaks of objects: their names, and what is wrong with them.
#pragma once

#include <string>
#include <string_view>

#include <parley/error.hpp>

namespace parley::cli {

/// Why the object at a path cannot be used as what it is wanted for: "a mutex".
auto why_not(Error error, std::string_view wanted) -> std::string;

/// "SUBCOMMAND: PATH", the beginning of every complaint of an object.
auto naming(std::string_view subcommand, std::string_view path) -> std::string;

}  // namespace parley::cli
