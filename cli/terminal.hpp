// What the command says and to whom: results on standard output, trouble on standard error.
#pragma once

#include <string>
#include <string_view>

#include <parley/error.hpp>
#include <parley/os/descriptor.hpp>

namespace parley::cli {

/// What stands at the end of a descriptor, as far as writing for people is concerned.
struct Terminal {
  bool is_terminal = false;  ///< One that understands escape sequences: TERM is not "dumb".
  bool has_colour = false;   ///< A terminal, and NO_COLOR is not set.
  bool has_unicode = false;  ///< The locale's characters are UTF-8.
  int columns = 80;          ///< COLUMNS if set, else the terminal's own width, else 80.
};
auto terminal_at(int fd) -> Terminal;

/// The text with what is not UTF-8 and with control characters, which could command the terminal,
/// spelled as \xNN. For names of files.
auto printable(std::string_view text) -> std::string;

/// Writes everything, however long it takes: a blocking descriptor.
auto write_all(os::BorrowedFd fd, std::string_view text) -> Result<void>;

/// Writes everything to standard output, at once. `broken_pipe` when nobody reads any more.
auto write_output(std::string_view text) -> Result<void>;

/// One line on standard error: "parley: " and then what, which object, why.
void complain(std::string_view line);

/// Sees to it that descriptors 0 to 2 are taken, so that nothing that is opened later becomes
/// standard output by accident. Those that were closed then fail to read or to write.
void occupy_standard_descriptors();

}  // namespace parley::cli
