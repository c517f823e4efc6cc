#include "objects.hpp"

#include <fmt/format.h>

#include "terminal.hpp"

namespace parley::cli {

auto why_not(Error error, std::string_view wanted) -> std::string {
  switch (error) {
    case Error::invalid:
      return "is no Parley object";
    case Error::wrong_kind:
      return fmt::format("is another kind of object, not {}", wanted);
    case Error::not_supported:
      return "is of a format that this version does not know, or cannot be made there";
    case Error::corrupt:
      return "is damaged: what it says of itself cannot be";
    case Error::busy:
      return "somebody holds it up in the middle of a change";
    case Error::removed:
      return "was removed";
    default:
      return message(error);
  }
}

auto naming(std::string_view subcommand, std::string_view path) -> std::string {
  return fmt::format("{}: {}", subcommand, path.empty() ? "''" : printable(path));
}

}  // namespace parley::cli
